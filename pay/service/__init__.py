"""The use cases of paying: what is owed, what providers said, and what became of the money."""
