"""What goes wrong in a run: drawn from a seed, each at one passage of one place, so that any may be left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

from common.failpoints import POINTS

SERVICES: Final = ("order", "stock", "coupon")
_PREFIXES: Final = frozenset(
    {*SERVICES, "close", "paying", "payment", "timeout", "check", "sweep"} - {"request", "purchase"}
)
FAILPOINTS: Final = tuple(sorted(point for point in POINTS if point.partition(".")[0] in _PREFIXES))
"""Those of what is simulated."""
_OFTEN: Final = tuple(point for point in FAILPOINTS if point.partition(".")[0] in {"order", "close"})
_SHARE: Final = 0.5
"""Of what strikes at failpoints, what does so while orders are placed and closed: there most of the protocol is."""

_MOST: Final = 6  # faults of one run
_LONGEST: Final = 12.0  # seconds of a delay: longer than any deadline
_BUSY: Final = {"order": 600, "stock": 250, "coupon": 200}  # statements in a usual run
_CALMS_AT: Final = 30.0  # seconds after the beginning: later nothing strikes by itself


class Trigger(StrEnum):
    """Where a fault strikes."""

    FAILPOINT = "failpoint"
    STATEMENT = "statement"
    COMMIT = "commit"
    CALL = "call"
    TIME = "time"


_KINDS: Final = {
    Trigger.FAILPOINT: ("crash", "crash", "raise", "delay", "delay"),
    Trigger.STATEMENT: ("crash", "fail", "delay"),
    Trigger.COMMIT: ("crash-before", "crash-after", "fail-before", "fail-after"),
    Trigger.CALL: ("refused", "lost", "answer-lost", "cut", "twice", "late"),
    Trigger.TIME: ("crash", "freeze", "forget"),
}
_WEIGHTS: Final = {
    Trigger.FAILPOINT: 8,
    Trigger.STATEMENT: 2,
    Trigger.COMMIT: 4,
    Trigger.CALL: 4,
    Trigger.TIME: 2,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, at the `nth` passage of a place; of a time, `nth` counts seconds from the beginning.

    `seconds`: how long it delays, or freezes.
    """

    trigger: Trigger
    place: str
    nth: int
    kind: str
    seconds: float = 0.0

    def __str__(self) -> str:
        """Tell it in words."""
        lasts = f" for {self.seconds:.1f} s" if self.kind in {"delay", "late", "freeze"} else ""
        when = f"{self.nth} s after the beginning" if self.trigger is Trigger.TIME else f"no. {self.nth}"
        return f"{self.kind}{lasts} at {self.trigger} {self.place}, {when}"


def drawn(chance: Random) -> Sequence[Fault]:
    """Draw the faults of a run, of which there may be none."""
    return [_one(chance) for _ in range(chance.randint(0, _MOST))]


def _one(chance: Random) -> Fault:
    (trigger,) = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
    kind = chance.choice(_KINDS[trigger])
    seconds = round(chance.uniform(0.05, 1.0) * chance.choice((0.5, _LONGEST, _LONGEST)), 3)
    if trigger is Trigger.FAILPOINT:
        place = chance.choice(_OFTEN if chance.random() < _SHARE else FAILPOINTS)
        nth = chance.choice((1, 1, 1, 2, 2, 3))
    else:
        place = chance.choice(("order", "order", *SERVICES))
        most = {Trigger.STATEMENT: _BUSY[place], Trigger.COMMIT: _BUSY[place] // 5, Trigger.CALL: 30}
        nth = chance.randint(1, most.get(trigger, int(_CALMS_AT)))
    if trigger is Trigger.CALL:
        place = chance.choice(("stock", "stock", "coupon", "goods"))
    return Fault(trigger, place, nth, kind, seconds)
