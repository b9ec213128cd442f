"""Asks the suite of each scenario and of each planted flaw of its model."""

import pytest

from tests.model.suite import ModelSuite


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Name each test by the scenario or by the flaw."""
    suite = metafunc.cls
    if suite is None or not issubclass(suite, ModelSuite):
        return
    model = suite.model
    if "scenario" in metafunc.fixturenames:
        metafunc.parametrize("scenario", model.scenarios, ids=[one.name for one in model.scenarios])
    if "mutant" in metafunc.fixturenames:
        metafunc.parametrize("mutant", model.mutants, ids=[one.flaw for one in model.mutants])
    if "guarded" in metafunc.fixturenames:
        guarded = [one for one in model.mutants if one.without]
        metafunc.parametrize("guarded", guarded, ids=[one.flaw for one in guarded])
