"""What the pages need, without Flask."""
