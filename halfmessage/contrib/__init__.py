"""What fits the library to other tools; each module needs the extra of its name."""
