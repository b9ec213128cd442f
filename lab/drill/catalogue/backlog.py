"""Rollbacks and timeouts that pile up while stock is away, and are worked off while orders are placed."""

import os
from collections.abc import Iterator

from common.registry import ROLLBACK_TOPIC, TIMEOUT_TOPIC
from halfmessage.clock import now_ms
from halfmessage.participant.event import OrderEvent
from lab.drill.drill import Drill, ServerKind
from lab.drill.drill_run import DrillRun
from lab.drill.parallel import spread
from lab.drill.profiles import DEFAULTS

_PILED_UP = "ORDERS_DRILL_BACKLOG"  # how many orders of each kind; 100000: as after an outage on a busy day
_BY_DEFAULT = 8_000
_GROUP = 400  # orders in one message
_A_SECOND = 400  # at least so many are worked off, on a machine that is busy with other things
_CREATED = 201
_MEANWHILE = 20  # orders placed


def _backlog(run: DrillRun) -> None:
    number = int(os.environ.get(_PILED_UP, _BY_DEFAULT))
    run.placed()
    run.take_down("stock")
    events = list(_events(run, number))
    for topic in (ROLLBACK_TOPIC, TIMEOUT_TOPIC):
        spread(lambda event, topic=topic: _send(run, topic, event), events, threads=16)  # type: ignore[misc]
    run.fault(f"{number:,} rollbacks and {number:,} timeouts lie in {2 * len(events)} messages")
    run.bring_back("stock")
    run.supervisor.wait_ready("stock")
    run.mended("stock is ready, and works the rollbacks off")
    answers = [run.place() for _ in range(_MEANWHILE)]
    run.claim(
        f"all of {_MEANWHILE} orders placed meanwhile are accepted",
        all(answer is not None and answer.status == _CREATED for answer in answers),
    )
    run.settle(limit=run.limit + 2 * number / _A_SECOND)
    run.same("dead letters", run.console.stats().dead, 0)
    views = [view for topic in (ROLLBACK_TOPIC, TIMEOUT_TOPIC) for view in run.console.find(topic=topic, limit=10_000)]
    piled_up = {str(event.order_ids[0]) for event in events}
    most = max(group.attempts for view in views if view.message.keys[0] in piled_up for group in view.groups)
    run.same("times that a message was delivered, at most", most, 1)
    run.stands(*["created"] * (_MEANWHILE + 1))


def _events(run: DrillRun, number: int) -> Iterator[OrderEvent]:
    """Yield messages about orders that never came to be, of transactions that are past their deadline."""
    first = int(run.unused_id())
    for begin in range(0, number, _GROUP):
        order_ids = tuple(range(first + begin, first + min(begin + _GROUP, number)))
        yield OrderEvent(tx_id=order_ids[0], order_ids=order_ids)


def _send(run: DrillRun, topic: str, event: OrderEvent) -> None:
    message = event.to_message(topic)
    if topic == TIMEOUT_TOPIC:
        run.producer.send_at(message, now_ms())
    else:
        run.producer.send(message)


DRILLS = (
    Drill(
        "backlog-while-placing",
        "thousands of rollbacks and timeouts, 400 orders to a message, pile up while stock is away",
        "in the broker; they are worked off while orders are placed",
        "orders are accepted meanwhile, no message is delivered twice, none is dead",
        _backlog,
        servers=ServerKind.EMBEDDED,
        profile=DEFAULTS,
    ),
)
