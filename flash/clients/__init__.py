"""The services that the flash service calls."""
