"""The use cases of the stock service."""
