"""The protocol's model: consistent in every state, and no flaw planted in it goes unseen."""

from dataclasses import replace

import pytest

from common.failpoints import POINTS
from common.registry import PARTICIPANTS
from tests.model.exploring import Mutant
from tests.model.protocol import MODEL, MUTANTS, SCENARIOS
from tests.model.suite import ModelSuite

pytestmark = [pytest.mark.P1, pytest.mark.P2, pytest.mark.P3, pytest.mark.P4, pytest.mark.P5]

_ELSEWHERE = {"stock.released", "stock.settled", "payment.handled"}  # the model's deliveries and `sweep.settled`
_EXPLORED_ELSEWHERE = (  # by tests/model/payments.py, requests.py, flash.py and returns.py
    *("attempt.", "event.", "success.", "refund."),
    "request.",
    "return.",
    *("purchase.", "purchase_check.", "sale.", "selling."),
)


class TestProtocol(ModelSuite):
    """Whatever happens, in whatever order: no promise is broken, and in the end all agrees."""

    model = MODEL


def test_steps_are_named_as_in_the_code() -> None:
    """Every failpoint of placing, closing, paying, checking and sweeping that changes anything is a step."""
    names: set[str] = set()
    for scenario in SCENARIOS[:7]:
        names |= MODEL.explore(scenario).names
    points = {_as_stock(point) for point in POINTS if not point.startswith(_EXPLORED_ELSEWHERE)}
    unmodelled = {  # before a step, or after an answer: nothing changes there
        point for point in points if "before" in point or point.endswith("received") or point in _ELSEWHERE
    }
    assert {point for point in points - unmodelled if not any(point in name for name in names)} == set()


def _as_stock(point: str) -> str:
    """Return the point as the model has it: every participant runs the same code, and the model's is stock."""
    service, _, step = point.partition(".")
    return f"stock.{step}" if service in PARTICIPANTS else point


def test_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    """The command says what it found, and fails if that is not what it should be."""
    few = replace(MODEL, scenarios=SCENARIOS[:2], mutants=MUTANTS[:1])
    assert few.main([]) == 0
    assert "all consistent" in capsys.readouterr().out
    assert few.main(["--mutants"]) == 0
    assert "stock held by no order: timeout on its way > " in capsys.readouterr().out
    assert replace(few, mutants=(Mutant("no such flaw"),)).main(["--mutants"]) == 1
