"""The contract of stores of pieces: what a test needs, and the model that any of them must agree with."""
