"""The model of an order's payment: consistent in every state, and no flaw planted in it goes unseen."""

import pytest

from tests.model.exploring import Mutant, Scenario
from tests.model.payments import MODEL, MUTANTS, SCENARIOS
from tests.model.payments_world import World

pytestmark = pytest.mark.P7


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_consistent(scenario: Scenario[World]) -> None:
    """Whatever happens, in whatever order: a paid order has its money, any other gets it back once."""
    result = MODEL.explore(scenario)
    assert result.why is None, " > ".join(result.trail)
    assert result.states > 1000
    assert result.finals


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.flaw)
def test_flaw_is_caught(mutant: Mutant) -> None:
    """A planted flaw breaks a promise, and the model says how to get there."""
    result = MODEL.explore_mutant(mutant)
    assert result.why is not None
    assert result.trail


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.without], ids=lambda mutant: mutant.flaw)
def test_flaw_alone_is_caught(mutant: Mutant) -> None:
    """Where a flaw shows only without the second line of defence, taking that away alone breaks nothing."""
    result = MODEL.explore_mutant(mutant, healthy=True)
    assert result.why is None, " > ".join(result.trail)
