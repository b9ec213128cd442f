"""The use cases of the flash service."""
