"""The use cases of the sandbox provider."""
