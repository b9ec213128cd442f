"""Bugs that no one thought of: small changes made by rule to every function of the core, one at a time.

`expressions` and `blocks` what may stand instead of a piece of code · `mutation` every change of a file, and how one is
planted · `tests_of` which test runs which line, kept in a file · `forks` pytest's plugin that runs each change's tests
in a child of one warm process · `justified` the changes that may survive, each with its reason · `campaign` which
changes are tried, and what became of them
"""
