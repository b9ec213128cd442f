"""The model of flash sales: consistent in every state, and no flaw planted in it goes unseen."""

import pytest

from tests.model.exploring import Mutant, Scenario
from tests.model.flash import MODEL, MUTANTS, SCENARIOS, World

pytestmark = pytest.mark.P2


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_consistent(scenario: Scenario[World]) -> None:
    """Whatever happens and is lost: no more is sold than there is, buyers are told the truth, the counts are right."""
    result = MODEL.explore(scenario)
    assert result.why is None, " > ".join(result.trail)
    assert result.states > 300
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
