"""kill -9 at every failpoint, with real processes: what is open is settled by check-back and redelivery alone."""

from dataclasses import replace

import pytest

from common.failpoints import POINTS
from halfmessage.clock import now_ms
from lab.drill.catalogue import kills
from lab.drill.catalogue.situations import SITUATIONS
from lab.drill.profiles import QUICK
from lab.drill.runner import play
from lab.drill.slot import Slot
from ops.waiting import wait_for
from tests.drills.conftest import Play
from tests.stack import REAL

pytestmark = [
    pytest.mark.drill,
    pytest.mark.P1,
    pytest.mark.P2,
    pytest.mark.P3,
    pytest.mark.P4,
    pytest.mark.P5,
    pytest.mark.P6,
    pytest.mark.P7,
]


def test_every_failpoint_has_its_kills() -> None:
    """A failpoint that no drill kills at is a promise that no drill tests: each has one of itself, one of the other."""
    assert kills.POINTS_KILLED == POINTS
    assert len(kills.DRILLS) == 2 * len(POINTS)


# In the catalogue's order: a process that dies before it acknowledges a message leaves it to come again, which RocketMQ
# does not tell when; it must not come to a process that is to die of the next one.
@pytest.mark.in_turn
@pytest.mark.parametrize("point", [point for situation in SITUATIONS for point in situation.left])
def test_killed_at(point: str, drill: Play) -> None:
    """Whichever process dies there, its client was told the truth, and order and stock agree within the limit."""
    drill(f"kill-{point}")


@pytest.mark.parametrize(
    ("other", "point"),
    [
        ("stock", "order.half_sent"),
        ("stock", "order.deducted"),
        ("stock", "request.received"),
        ("stock", "close.committed"),
        ("order", "stock.before_commit"),
        ("order", "stock.rollback_received"),
    ],
)
def test_the_other_one_killed_at(other: str, point: str, drill: Play) -> None:
    """The same when the process dies that the one at the failpoint is talking to."""
    drill(f"kill-{other}-at-{point}")


@pytest.mark.skipif(REAL, reason="of the drill itself, which is the same on any servers")
@pytest.mark.parametrize("point", ["sweep.settled", "coupon.settled"])
def test_a_sweep_is_killed_over_its_orphan(point: str, slot: Slot) -> None:
    """Of one order that stands and one that was closed all have still to be told: nothing is killed over these."""
    (drill,) = (found for found in kills.DRILLS if found.name == f"kill-{point}")
    sweeps_late = replace(QUICK, name="sweeps-late", extra={**QUICK.extra, "transaction_deadline": 3.0})
    sut = slot.sut(sweeps_late)
    user, goods = sut.user(), sut.new_goods()
    coupon_id = sut.new_coupon()
    stands, placed = (sut.place(user, goods, coupon_id=coupon_id) for _ in range(2))
    assert stands is not None
    assert placed is not None
    closed = sut.call(user, f"/orders/{placed.body['order_id']}/cancel")
    assert closed is not None
    assert (stands.status, closed.status) == (201, 200)
    due = now_ms() + 3000
    wait_for("the sweep to look after what was closed", lambda: now_ms() > due, within=10.0)
    result = play(replace(drill, profile=sweeps_late), slot, stretch=6.0)
    assert result.passed, result.reason
