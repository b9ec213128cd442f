"""The model of sagas: consistent in every state, and no flaw planted in it goes unseen."""

from halfmessage.failpoints import of_saga
from tests.model.saga import MODEL, SCENARIOS
from tests.model.suite import ModelSuite


class TestSaga(ModelSuite):
    """Whatever is killed, late or doubled: done means that each step stands once, undone that none does."""

    model = MODEL


def test_steps_are_named_as_in_the_code() -> None:
    """What the engine writes down is a step of the model, under the name of its failpoint."""
    written = {"saga.claimed", "saga.recorded", "saga.turned"}
    assert written <= of_saga("saga")
    assert written <= MODEL.explore(SCENARIOS[1]).names
