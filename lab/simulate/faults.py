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
PAY: Final = "pay"
"""The service that a quarter of the runs has as well."""
FAILPOINTS: Final = tuple(sorted(point for point in POINTS if point.partition(".")[0] in _PREFIXES))
"""Those of what every run has."""
PAY_FAILPOINTS: Final = tuple(
    sorted(point for point in POINTS if point.partition(".")[0] in {PAY, "event", "success", "attempt", "refund"})
)
"""Those of the pay service."""
RETURN_FAILPOINTS: Final = tuple(sorted(point for point in POINTS if point.startswith("return.")))
"""Those of returns."""
_BEFORE_COMMIT: Final = ".before_commit"
"""How the names of failpoints end at which a lock is held, and after which the thread's next step is COMMIT."""
_OFTEN: Final = tuple(
    point
    for point in FAILPOINTS
    if point.partition(".")[0] in {"order", "close"}
    for _ in range(3 if point.endswith(_BEFORE_COMMIT) else 1)
)
_SHARE: Final = 0.5
"""Of what strikes at failpoints, what does so while orders are placed and closed: there most of the protocol is."""

_MOST: Final = 6  # faults of one run, each of which may have a companion
_PAIRED: Final = 0.3
"""Of what strikes at failpoints, what has a companion at another one, at the same passage: mostly of the same order."""
_LONGEST: Final = 12.0  # seconds of a delay: longer than any deadline
_AT_DEADLINES: Final = (4.5, 10.0)
"""Seconds of a delay that ends while a check-back, a fence, a lock or a call is just about to be given up, or made."""
_BUSY: Final = {"order": 600, "stock": 250, "coupon": 200, PAY: 250}  # statements in a usual run
_CALMS_AT: Final = 30.0  # seconds after the beginning: later nothing strikes by itself


class Trigger(StrEnum):
    """Where a fault strikes."""

    FAILPOINT = "failpoint"
    STATEMENT = "statement"
    COMMIT = "commit"
    CALL = "call"
    TIME = "time"
    PROVIDER = "provider"


_AT_COMMIT: Final = ("crash-before", "crash-after", "fail-before", "fail-after")
_KINDS: Final = {
    Trigger.FAILPOINT: ("crash", "crash", "raise", "delay", "delay", "forget"),
    Trigger.STATEMENT: ("crash", "fail", "delay"),
    Trigger.COMMIT: _AT_COMMIT,
    Trigger.CALL: ("refused", "lost", "answer-lost", "cut", "twice", "late"),
    Trigger.TIME: ("crash", "freeze", "forget", "database-fails", "broker-fails", "cut-off"),
}
"""`forget` at a failpoint: the broker forgets what it has, and the thread that comes there is held up as well.

`database-fails`, `broker-fails`: for a while every other statement does. `cut-off`: no call arrives for a while.
"""
OF_PROVIDER: Final = {
    "begin": ("fails", "fails-done", "no-and-takes"),
    "ask": ("fails",),
    "close": ("fails",),
    "charge": ("other-amount", "other-currency", "sent-back"),
    "refund": ("fails", "fails-done", "pending", "refused", "refused-done"),
    "callback": ("lost", "late", "twice", "forged"),
}
"""What the provider does wrong, by what it is at.

`fails`: 503, and nothing was done; `fails-done`: 503, though it was. `no-and-takes`: it says no, and takes the money
later. `sent-back`: unasked, and it tells so before it tells that it was taken. `refused-done`: it is done later all
the same. `forged`: a stranger calls pay back as well.
"""
_LASTING: Final = frozenset(
    {"delay", "late", "twice", "no-and-takes", "sent-back", "freeze", "database-fails", "broker-fails", "cut-off"}
)
_PAY_WEIGHTS: Final = {
    Trigger.PROVIDER: 8,
    Trigger.FAILPOINT: 5,
    Trigger.STATEMENT: 1,
    Trigger.COMMIT: 2,
    Trigger.CALL: 3,
    Trigger.TIME: 2,
}
_MOST_OF_PAY: Final = 4  # faults of the pay service and its provider
_MOST_OF_RETURNS: Final = 3  # faults while orders are returned
_RETURN_WEIGHTS: Final = {Trigger.FAILPOINT: 6, Trigger.CALL: 4, Trigger.TIME: 2}
_WEIGHTS: Final = {
    Trigger.FAILPOINT: 8,
    Trigger.STATEMENT: 2,
    Trigger.COMMIT: 4,
    Trigger.CALL: 4,
    Trigger.TIME: 3,
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

    @property
    def lasts(self) -> float:
        """For how many seconds; 0 for what is done at once."""
        return self.seconds if self.kind in _LASTING else 0.0

    def __str__(self) -> str:
        """Tell it in words."""
        lasts = f" for {self.seconds:.1f} s" if self.kind in _LASTING else ""
        when = f"{self.nth} s after the beginning" if self.trigger is Trigger.TIME else f"no. {self.nth}"
        return f"{self.kind}{lasts} at {self.trigger} {self.place}, {when}"


def drawn(chance: Random) -> Sequence[Fault]:
    """Draw the faults of a run, of which there may be none."""
    return [fault for _ in range(chance.randint(0, _MOST)) for fault in _some(chance)]


def _some(chance: Random) -> Sequence[Fault]:
    """Draw one, or two that belong together."""
    fault = _one(chance)
    if fault.trigger is not Trigger.FAILPOINT or chance.random() >= _PAIRED:
        return [fault]
    return [fault, _at_failpoint(chance, chance.choice(_OFTEN), fault.nth)]


def _one(chance: Random) -> Fault:
    (trigger,) = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
    if trigger is Trigger.FAILPOINT:
        place = chance.choice(_OFTEN if chance.random() < _SHARE else FAILPOINTS)
        return _at_failpoint(chance, place, chance.choice((1, 1, 1, 2, 2, 3)))
    kind = chance.choice(_KINDS[trigger])
    place = chance.choice(("order", "order", *SERVICES))
    most = {Trigger.STATEMENT: _BUSY[place], Trigger.COMMIT: _BUSY[place] // 5, Trigger.CALL: 30}
    nth = chance.randint(1, most.get(trigger, int(_CALMS_AT)))
    if trigger is Trigger.CALL:
        place = chance.choice(("stock", "stock", "coupon", "goods"))
    return Fault(trigger, place, nth, kind, _seconds(chance))


def drawn_of_pay(chance: Random) -> Sequence[Fault]:
    """Draw what goes wrong at the pay service, and at its provider; it may be nothing."""
    return [_one_of_pay(chance) for _ in range(chance.randint(0, _MOST_OF_PAY))]


def _one_of_pay(chance: Random) -> Fault:
    (trigger,) = chance.choices(list(_PAY_WEIGHTS), list(_PAY_WEIGHTS.values()))
    nth = chance.choice((1, 1, 1, 2, 2, 3))
    if trigger is Trigger.FAILPOINT:
        return _at_failpoint(chance, chance.choice(PAY_FAILPOINTS), nth)
    if trigger is Trigger.PROVIDER:
        place = chance.choice(list(OF_PROVIDER))
        return Fault(trigger, place, nth, chance.choice(OF_PROVIDER[place]), _seconds(chance))
    kind, place = chance.choice(_KINDS[trigger]), PAY
    if trigger is Trigger.CALL:
        place, nth = chance.choice((PAY, "sandbox")), chance.randint(1, 10)
    else:
        most = {Trigger.STATEMENT: _BUSY[PAY], Trigger.COMMIT: _BUSY[PAY] // 5}
        nth = chance.randint(1, most.get(trigger, int(_CALMS_AT)))
    return Fault(trigger, place, nth, kind, _seconds(chance))


def drawn_of_returns(chance: Random) -> Sequence[Fault]:
    """Draw what goes wrong while orders are returned; it may be nothing."""
    return [_one_of_returns(chance) for _ in range(chance.randint(0, _MOST_OF_RETURNS))]


def _one_of_returns(chance: Random) -> Fault:
    (trigger,) = chance.choices(list(_RETURN_WEIGHTS), list(_RETURN_WEIGHTS.values()))
    if trigger is Trigger.FAILPOINT:
        return _at_failpoint(chance, chance.choice(RETURN_FAILPOINTS), chance.choice((1, 1, 2, 3, 4)))
    kind = chance.choice(_KINDS[trigger])
    if trigger is Trigger.CALL:
        return Fault(trigger, chance.choice(("stock", "coupon", PAY)), chance.randint(3, 25), kind, _seconds(chance))
    return Fault(trigger, "order", chance.randint(3, int(_CALMS_AT)), kind, _seconds(chance))


def _at_failpoint(chance: Random, place: str, nth: int) -> Fault:
    kinds = _KINDS[Trigger.FAILPOINT] + (_AT_COMMIT if place.endswith(_BEFORE_COMMIT) else ())
    return Fault(Trigger.FAILPOINT, place, nth, chance.choice(kinds), _seconds(chance))


def _seconds(chance: Random) -> float:
    drawn = (chance.uniform(0.02, 0.5), chance.uniform(0.5, _LONGEST), chance.uniform(*_AT_DEADLINES))
    return round(chance.choice(drawn), 3)
