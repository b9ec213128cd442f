"""The use cases of the order service."""
