"""kill -9 while a whole batch of orders is under way: it stands whole, or nothing of it does.

The first order forms a batch of its own, which is held up; what comes meanwhile is the next batch, and that is hit.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from common.registry import PARTICIPANTS, ROLLBACK_TOPIC
from lab.drill.catalogue import kills
from lab.drill.catalogue.situations import SITUATIONS
from lab.drill.drill import Drill
from lab.drill.drill_run import PIECES, DrillRun
from lab.drill.event_log import NotStaged, in_words
from lab.drill.parallel import at_once
from lab.drill.result import Kind
from ops.client import Answer
from ops.errors import NotInTime

_CROWD = 48
_ENOUGH = 24  # orders in the batch that is hit; a client that comes late is in the next one
_STOCK = 1000
_HELD_FOR = 0.8  # seconds, for the crowd to come; less than a call to stock may take
_PAY_TIMEOUT = 3.0  # seconds; longer than it takes to place them all
_CREATED = 201


@dataclass(frozen=True, slots=True)
class _Way:
    """How a batch comes to a point: what is armed where besides, and what is left of it after a kill there."""

    service: str
    point: str
    holds: str
    also: str = ""
    passage: int = 2
    stands: bool = False
    closed: bool = False

    @property
    def held_at(self) -> str:
        return "order.half_sent" if self.point != "order.half_sent" else "order.deducted"


def _play(run: DrillRun, way: _Way) -> None:
    run.stock(_STOCK)
    if way.service in PARTICIPANTS:
        run.needing(way.service)
    kill, hold = f"{way.point}=kill@{way.passage}", f"{way.held_at}=delay:{_HELD_FOR}"
    settings = {"placing_lanes": 1} | ({"pay_timeout": _PAY_TIMEOUT} if way.closed else {})
    if way.service == "order":
        pid = run.arm("order", f"{hold};{kill}", **settings)
    else:
        pid = run.arm(way.service, kill)
        run.arm("order", f"{hold};{way.also}", **settings)
    with run.meanwhile(partial(run.place)) as first:
        run.reached("order", way.held_at)
        answers = [*_crowd(run), first()]
    try:
        run.died(way.service, pid, way.point)
    except NotInTime as error:
        raise NotStaged(f"The batch never came to {way.point}: {error.detail}") from error
    batch = _size_of_batch(run, way, answers)
    if batch < _ENOUGH:
        raise NotStaged(f"Only {batch} of {_CROWD} orders were in the batch that was hit at {way.point}.")
    run.say(f"{batch} orders were in the batch that it hit")
    run.back(way.service, pid)
    run.settle()
    accepted = sum(answer is not None and answer.status == _CREATED for answer in answers)
    left = 1 + batch if way.stands else accepted
    run.stands_with_stock(_STOCK, *["closed" if way.closed else "created"] * left)


def _size_of_batch(run: DrillRun, way: _Way, answers: Sequence[Answer | None]) -> int:
    if way.point == "order.timeout_scheduled":
        # Perhaps no half message came, and RocketMQ shows no timeout that waits: count who lost their connection.
        return answers.count(None)
    sent = [view for view in run.console.find(topic=ROLLBACK_TOPIC) if view.born_at >= run.began_at]
    return max(len(view.message.keys) for view in sent)


def _crowd(run: DrillRun) -> list[Answer | None]:
    answers = at_once([partial(run.sut.place, run.user, run.goods_id, coupon_id=run.coupon_id)] * _CROWD)
    for words, times in Counter(in_words(answer) for answer in answers).items():
        run.say(f"POST /orders, {times} clients at once: {words}", Kind.ANSWER)
    return answers


_WHOLE = "the whole batch stands with its stock"
_NONE = "nothing of the batch was created, all its stock is back"
_CLOSED = "every order of the batch is closed, and its stock came back once"
_ROLLED_BACK = "order.deducted=raise@2"
_AFTER_COMMIT = ("order.committed", "order.before_resolve", "order.resolved")


def _way(service: str, point: str) -> _Way:
    if point in _AFTER_COMMIT:
        return _Way(service, point, _WHOLE, stands=True)
    if point.startswith(("close.", "timeout.")):
        return _Way(service, point, _CLOSED, passage=1, closed=True)
    if point.endswith((".rollback_received", ".released")):
        return _Way(service, point, _NONE, passage=1, also=_ROLLED_BACK)
    return _Way(service, point, _NONE)


_PAYING = ("paying.", "payment.", "attempt.", "event.", "success.", "refund.")
_SALES = ("purchase.", "purchase_check.", "selling.", "sale.", "flash.")
_ALONE = (*_PAYING, *_SALES, "check.", "sweep.")  # nothing there is of a whole batch, nor where a participant settles
# Timeouts first: a process that dies of the others may leave one that comes again, which RocketMQ never shows; it must
# not come to a process that is to die of a timeout.
_WAYS = tuple(
    sorted(
        (
            _way(situation.service, point)
            for situation in SITUATIONS
            for point in situation.left
            if not point.startswith(_ALONE) and not point.endswith(".settled")
        ),
        key=lambda way: not way.point.startswith("timeout."),
    )
)
assert PIECES * (1 + _CROWD) <= _STOCK  # noqa: S101 - no order is to be refused for want of stock

DRILLS = tuple(
    Drill(
        f"full-batch-{way.point}",
        f"{way.service} is killed (kill -9) with a batch of {_CROWD} orders",
        f"at {way.point}: {kills.WORDS[way.point]}",
        way.holds,
        partial(_play, way=way),
        point=way.point,
    )
    for way in _WAYS
)
