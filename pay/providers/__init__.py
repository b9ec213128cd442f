"""Providers: who takes the money. Each is a `Provider`; adding one is a class, and `tests/contract/provider.py`."""
