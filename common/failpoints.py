"""Named points after every durable step, where drills kill, delay or fail a process.

Inert unless ORDERS_FAILPOINTS is set, for example ``order.deducted=kill;stock.released=delay:0.5``.
Actions: ``kill`` (SIGKILL to itself), ``raise`` (`FailpointRaised`), ``delay:SECONDS``; ``@N`` after the action
lets the first N-1 passages through, e.g. ``kill@3``. Idea: the failpoints of FreeBSD (fail(9)) and etcd's gofail.
"""

import os
import re
import signal
import threading
import time
from dataclasses import dataclass
from typing import Final

import structlog

from common.errors import FailpointRaised, OrdersError
from common.registry import PARTICIPANTS

_OF_PARTICIPANT: Final = (
    *("deduct_received", "before_commit", "deducted"),
    *("rollback_received", "released"),
    "settled",
)


def of_participant(name: str) -> frozenset[str]:
    """Return the points of what `common.participant` does for the participant of that name."""
    return frozenset(f"{name}.{step}" for step in _OF_PARTICIPANT)


POINTS: Final = frozenset[str]().union(*map(of_participant, PARTICIPANTS)) | frozenset(
    {
        # placing an order
        "order.half_sent",
        "order.timeout_scheduled",
        "order.deducted",
        "order.before_commit",
        "order.committed",
        "order.before_resolve",
        "order.resolved",
        # closing one (timeout or cancel)
        "close.half_sent",
        "close.before_commit",
        "close.committed",
        "close.before_resolve",
        "close.resolved",
        # paying
        "pay.committed",
        # the timeout consumer, the checker and the sweep, on the order side
        "timeout.received",
        "timeout.handled",
        "check.received",
        "check.fenced",
        "sweep.fenced",
        "sweep.settled",
    }
)
_SPEC = re.compile(r"^(?P<point>[a-z_.]+)=(?P<action>kill|raise|delay:(?P<seconds>\d+(\.\d+)?))(@(?P<nth>\d+))?$")


@dataclass(slots=True)
class _Armed:
    action: str
    seconds: float
    passages_left: int


_armed: dict[str, _Armed] = {}
_lock = threading.Lock()


def arm(spec: str, *, production: bool) -> None:
    """Arm what `spec` names (see the module). Raise `OrdersError` if it is wrong, or in production."""
    armed = {}
    for part in filter(None, (p.strip() for p in spec.split(";"))):
        match = _SPEC.match(part)
        if match is None or match["point"] not in POINTS:
            raise OrdersError(f"ORDERS_FAILPOINTS: {part!r} is no failpoint; known: {', '.join(sorted(POINTS))}")
        armed[match["point"]] = _Armed(
            match["action"].split(":")[0], float(match["seconds"] or 0), int(match["nth"] or 1)
        )
    if armed and production:
        raise OrdersError("ORDERS_FAILPOINTS is set, but ORDERS_ENVIRONMENT says production: refusing to start")
    _armed.clear()
    _armed.update(armed)


def hit(point: str) -> None:
    """Pass a named point: nothing happens unless it is armed."""
    if _armed:
        _act(point)


def _act(point: str) -> None:
    with _lock:
        armed = _armed.get(point)
        if armed is None:
            return
        armed.passages_left -= 1
        if armed.passages_left > 0:
            return
    if armed.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if armed.action == "delay":
        structlog.get_logger().warning("held up", failpoint=point, pid=os.getpid())  # drills strike when they read it
        time.sleep(armed.seconds)
    if armed.action == "raise":
        raise FailpointRaised(f"failpoint {point} raised")
