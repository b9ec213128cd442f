"""A plugin of pytest: plants the mutant that the environment names, before any test is imported."""

import os

import structlog

from lab.drill.mutants.catalogue import named

VARIABLE = "ORDERS_MUTANT"


def pytest_configure() -> None:
    """Plant it. What it raises ends pytest with a status that is not that of a failing test.

    What is logged meanwhile is written plainly: drawing one traceback in colours costs more than most of the tests.
    """
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()])
    name = os.environ.get(VARIABLE)
    if name is not None:
        (mutant,) = named([name])
        mutant.plant()
