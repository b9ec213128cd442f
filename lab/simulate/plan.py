"""What a run is to do, drawn from its seed: the orders that clients place, the settings, and what goes wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

from lab.simulate import faults
from lab.simulate.faults import Fault
from lab.simulate.templates import FEW, FREE, OFF, PLENTY

Then = Literal["", "cancel", "pay"]

_MOST_ORDERS: Final = 5
_PLACED_WITHIN: Final = 8.0  # seconds from the beginning
_CHECKS: Final = 15
_SWEEPS: Final = 0.5
"""Of all runs, how many have a sweep: it mends much, and so hides much."""
_FOR_EVER: Final = 100_000.0  # seconds: no order expires while a run lasts


@dataclass(frozen=True, slots=True)
class Wish:
    """One client's order; times in seconds: `at` from the beginning, `then_after` from the answer."""

    number: int
    at: float
    goods_id: int
    quantity: int
    coupon_id: int | None
    has_key: bool
    then: Then
    then_after: float

    def __str__(self) -> str:
        """Tell it in words."""
        with_coupon = "" if self.coupon_id is None else f" with coupon {self.coupon_id}"
        then = f", then {self.then} after {self.then_after:.1f} s" if self.then else ""
        key = ", asked again under its key" if self.has_key else ""
        return f"at {self.at:.1f} s {self.quantity} of goods {self.goods_id}{with_coupon}{key}{then}"


@dataclass(frozen=True, slots=True)
class Plan:
    """A run; `pay_timeout` in seconds, `check_max`: how often the broker asks about a half message.

    `sweeps`: or messages alone have to bring all to rest, of which the broker loses none then, and gives none up.
    """

    seed: int
    wishes: Sequence[Wish]
    faults: Sequence[Fault]
    pay_timeout: float
    check_max: int
    sweeps: bool = True


def plan_of(seed: int) -> Plan:
    """Return the run of a seed."""
    chance = Random(f"plan {seed}")
    wishes = [_wish(chance, number) for number in range(chance.randint(1, _MOST_ORDERS))]
    drawn = faults.drawn(chance)
    pay_timeout, check_max = chance.choice((7.0, 16.0, _FOR_EVER)), chance.choice((2, _CHECKS))
    if chance.random() < _SWEEPS:
        return Plan(seed, wishes, drawn, pay_timeout, check_max)
    kept = [one for one in drawn if one.kind != "forget"]
    return Plan(seed, wishes, kept, pay_timeout, _CHECKS, sweeps=False)


def _wish(chance: Random, number: int) -> Wish:
    return Wish(
        number,
        round(chance.choice((0.5, chance.uniform(0, _PLACED_WITHIN))), 3),
        chance.choice((PLENTY, FEW)),
        chance.randint(1, 3),
        chance.choice((None, None, OFF, FREE)),
        chance.random() < 0.5,  # noqa: PLR2004 - one of two
        chance.choice(("", "cancel", "pay")),
        round(chance.choice((0.05, 2.0, chance.uniform(0, 20))), 3),
    )
