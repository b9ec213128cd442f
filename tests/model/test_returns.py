"""The model of returns: consistent in every state, and no flaw planted in it goes unseen."""

import pytest

from common.failpoints import POINTS
from tests.model.returns import MODEL, SCENARIOS
from tests.model.suite import ModelSuite

pytestmark = pytest.mark.P7


class TestReturns(ModelSuite):
    """Whatever happens, in whatever order: what a returned order held comes back, once, and the return ends."""

    model = MODEL


def test_steps_are_named_as_in_the_code() -> None:
    """Every failpoint of a return that changes anything is a step."""
    names = {name.split(" ")[0] for name in MODEL.explore(SCENARIOS[0]).names}
    assert {point for point in POINTS if point.startswith("return.") and "before" not in point} <= names
