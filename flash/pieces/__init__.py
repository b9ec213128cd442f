"""The pieces of a sale: who takes one first, decided by one store (docs/decisions/0037)."""
