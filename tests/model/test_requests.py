"""The model of order requests: consistent in every state, and no flaw planted in it goes unseen."""

import pytest

from common.failpoints import POINTS
from tests.model.requests import MODEL, SCENARIOS
from tests.model.suite import ModelSuite

pytestmark = pytest.mark.P2


class TestRequests(ModelSuite):
    """Whatever happens, in whatever order: a request is decided once, and its client was told the truth."""

    model = MODEL


def test_steps_are_named_as_in_the_code() -> None:
    """Every failpoint of taking in and working off that changes anything is a step."""
    names = MODEL.explore(SCENARIOS[0]).names
    assert {point for point in POINTS if point.startswith("request.") and "before" not in point} <= names
