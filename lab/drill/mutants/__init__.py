"""Planted bugs, each of which a named test must catch: tests that test the tests.

`mutant` what a bug is and how it gets into the running code · `catalogue` all of them · `plant` pytest's plugin that
plants one · `runner` runs the tests with and without
"""
