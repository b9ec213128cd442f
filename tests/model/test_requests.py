"""The model of order requests: consistent in every state, and no flaw planted in it goes unseen."""

import pytest

from common.failpoints import POINTS
from tests.model.exploring import Mutant, Scenario
from tests.model.requests import MODEL, MUTANTS, SCENARIOS, World

pytestmark = pytest.mark.P2


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_consistent(scenario: Scenario[World]) -> None:
    """Whatever happens, in whatever order: a request is decided once, and its client was told the truth."""
    result = MODEL.explore(scenario)
    assert result.why is None, " > ".join(result.trail)
    assert result.states > 500
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


def test_steps_are_named_as_in_the_code() -> None:
    """Every failpoint of taking in and working off that changes anything is a step."""
    names = MODEL.explore(SCENARIOS[0]).names
    assert {point for point in POINTS if point.startswith("request.") and "before" not in point} <= names
