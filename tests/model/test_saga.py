"""The model of sagas: consistent in every state, and no flaw planted in it goes unseen."""

import pytest

from halfmessage.failpoints import of_saga
from tests.model.exploring import Mutant, Scenario
from tests.model.saga import MODEL, MUTANTS, SCENARIOS, World


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_consistent(scenario: Scenario[World]) -> None:
    """Whatever is killed, late or doubled: done means that each step stands once, undone that none does."""
    result = MODEL.explore(scenario)
    assert result.why is None, " > ".join(result.trail)
    assert result.states > 5000
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
    """What the engine writes down is a step of the model, under the name of its failpoint."""
    written = {"saga.claimed", "saga.recorded", "saga.turned"}
    assert written <= of_saga("saga")
    assert written <= MODEL.explore(SCENARIOS[1]).names
