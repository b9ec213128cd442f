"""A short selection of the named drills for every change; all of them: ./scripts/drill --all."""

import pytest

from tests.drills.conftest import Play

pytestmark = [pytest.mark.drill, pytest.mark.P1, pytest.mark.P2, pytest.mark.P3, pytest.mark.P4, pytest.mark.P5]


@pytest.mark.in_turn
@pytest.mark.parametrize(
    "name",
    [
        "full-batch-order.deducted",
        "full-batch-order.committed",
        "full-batch-stock.deducted",
        "full-batch-stock.released",
        "full-batch-close.committed",
        "resolve-lost",
        "close-resolve-lost",
        "commit-answer-lost",
        "rollback-100-times",
        "rollbacks-out-of-order",
        "rollback-before-deduction",
        "timeout-before-its-order",
        "timeout-100-times",
        "deduction-answered-too-late",
        "broker-gone-at-order.half_sent",
        "clock-steps-back",
        "clock-back-an-hour",
        "disk-failing",
        "restore-stock",
        "restore-order",
        "restore-coupon",
        "restore-pay",
        "restore-flash",
        "restore-user",
        "restore-broker",
        "restore-goods",
        "stopped-longer-than-records-are-kept",
        "two-supervisors",
        "parked-half-message",
        "dead-letter-resent",
        "poison-message",
        "broker-lost",
        "default-redelivery",
        "killed-again-and-again",
    ],
)
def test_drill(name: str, drill: Play) -> None:
    """What its line of `./scripts/drill --list` says must hold, holds, and is settled within its limit."""
    drill(name)
