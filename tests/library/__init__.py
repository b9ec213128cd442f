"""The library as a distribution of its own, where nothing of ours is installed."""
