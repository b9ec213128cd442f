"""Named points after every durable step, where drills kill, delay or fail a process.

Inert until `arm` is told some, for example ``order.deducted=kill;stock.released=delay:0.5``.
Actions: ``kill`` (SIGKILL to itself), ``raise`` (`FailpointRaised`), ``crash`` (`Crashed`, for tests in one process),
``delay:SECONDS``; ``@N`` after the action lets the first N-1 passages through, e.g. ``kill@3``.
Idea: the failpoints of FreeBSD (fail(9)) and etcd's gofail.
"""

import os
import re
import signal
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from halfmessage.errors import FailpointRaised, Misconfigured

_OF_PARTICIPANT: Final = (
    *("deduct_received", "before_commit", "deducted"),
    *("rollback_received", "released"),
    "settled",
)
_OF_SAGA: Final = ("started", "claimed", "answered", "before_commit", "recorded", "turned", "put_off")


def of_participant(name: str) -> frozenset[str]:
    """Return the points of what `halfmessage.participant` does for the participant of that name."""
    return frozenset(f"{name}.{step}" for step in _OF_PARTICIPANT)


def of_saga(name: str) -> frozenset[str]:
    """Return the points of what an engine of `halfmessage.saga` of that name does."""
    return frozenset(f"{name}.{step}" for step in _OF_SAGA)


_SPEC = re.compile(
    r"^(?P<point>[a-zA-Z0-9_.-]+)=(?P<action>kill|raise|crash|delay:(?P<seconds>\d+(\.\d+)?))(@(?P<nth>\d+))?$"
)


class Crashed(BaseException):
    """The process would have died here. No `except Exception` takes it for a failure that it could handle."""


@dataclass(slots=True)
class _Armed:
    action: str
    seconds: float
    passages_left: int


_armed: dict[str, _Armed] = {}
_passed: list[str] | None = None  # while `recorded`
_lock = threading.Lock()


def arm(spec: str, known: Collection[str]) -> None:
    """Arm what `spec` names (see the module), of the points that are known. Raise `Misconfigured` if it is wrong."""
    armed = {}
    for part in filter(None, (p.strip() for p in spec.split(";"))):
        match = _SPEC.match(part)
        if match is None or match["point"] not in known:
            raise Misconfigured(f"{part!r} is no failpoint; known: {', '.join(sorted(known))}")
        armed[match["point"]] = _Armed(
            match["action"].split(":")[0], float(match["seconds"] or 0), int(match["nth"] or 1)
        )
    _armed.clear()
    _armed.update(armed)


def hit(point: str) -> None:
    """Pass a named point: nothing happens unless it is armed."""
    if _armed or _passed is not None:
        _act(point)


@contextmanager
def recorded() -> Iterator[list[str]]:
    """Note every point that any thread passes meanwhile, in the order of passing, each as often as it is passed."""
    global _passed  # noqa: PLW0603 - as the points themselves
    passed: list[str] = []
    _passed = passed
    try:
        yield passed
    finally:
        _passed = None


def _act(point: str) -> None:
    with _lock:
        if _passed is not None:
            _passed.append(point)
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
    if armed.action == "crash":
        raise Crashed(point)
    if armed.action == "raise":
        raise FailpointRaised(f"failpoint {point} raised")
