"""What a run is to do, drawn from its seed: the orders that clients place, the settings, and what goes wrong."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final, Literal

from lab.simulate import faults
from lab.simulate.coupons import FREE, OFF, RULED
from lab.simulate.faults import Fault, Trigger
from lab.simulate.templates import FEW, PLENTY

Then = Literal["", "cancel", "pay", "both", "stranger"]
SCENARIOS: Final = ("card", "card", "card", "decline", "callback", "silent", "twice", "never", "late", "page")
"""How the provider is to behave; see docs/payments.md, and `lab.simulate.provider`."""

RETURNED_WITHIN: Final = 12.0
"""Seconds after it was paid, for which an order may be returned."""

Twin = Literal["", "same", "other"]

_MOST_ORDERS: Final = 5
_USERS: Final = 3
_PLACED_WITHIN: Final = 8.0  # seconds from the beginning
_CHECKS: Final = 15
_SWEEPS: Final = 0.5
"""Of all runs, how many have a sweep: it mends much, and so hides much."""
_SWEEPS_EVERY: Final = (5.0, 15.0, 15.0)
"""Seconds; a sweep costs as much as a few orders, so that few runs have many."""
_FOR_EVER: Final = 100_000.0  # seconds: no order expires while a run lasts
_SHORT: Final = 0.25
"""Of all runs, how many have short leases, two processes of order, or a last order; with a sweep, short records."""
_LEASE, _SHORT_LEASE = 600.0, 6.0  # seconds; the long one is not renewed while a run lasts
_RETENTION, _SHORT_RETENTION = 7 * 24 * 3600.0, 7.0  # seconds
_LONGER: Final = 3.0
"""How many times longer all is held up where records are kept for a short time: until fences are purged too."""
_PAYS: Final = 0.25
"""Of all runs, how many have a pay service: one takes twice as long then."""
_MORE_PAY: Final = 0.5
"""Of clients that would do nothing more, how many pay where there is one."""
_PAID_WITHIN: Final = 25  # seconds that a person takes on the provider's page
_RETURNS: Final = 0.2
"""Of all runs, how many have clients that return what they paid for."""
_RETURN: Final = 0.7
"""Of clients that may have paid, how many return their order in such a run."""
_TWICE: Final = 0.3
"""Of those, how many ask for it twice at once."""
_LAST_AT: Final = 48.0
"""Seconds from the beginning, when a last order is placed: what was held up goes on by then, and nothing goes wrong."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One client's order; times in seconds: `at` from the beginning, `then_after` from the answer.

    `twin`: its key is used by another request at once, for the same order or another one. `again_after`: so long after
    all else it asks once more under its key, and for another order under it. `must`: it has to get its order.
    `scenario`: how the provider behaves where it pays. `returns_after`: so long after that it returns its order,
    `returns_twice`: asking for it twice at once.
    """

    number: int
    at: float
    goods_id: int
    quantity: int
    coupon_id: int | None
    has_key: bool
    then: Then
    then_after: float
    user: str = "user-0"
    twin: Twin = ""
    again_after: float | None = None
    must: bool = False
    scenario: str = "card"
    returns_after: float | None = None
    returns_twice: bool = False

    def __str__(self) -> str:
        """Tell it in words."""
        through = f" ({self.scenario})" if self.scenario != "card" else ""
        with_coupon = "" if self.coupon_id is None else f" with coupon {self.coupon_id}"
        then = f", then {self.then}{through} after {self.then_after:.1f} s" if self.then else ""
        key = ", asked again under its key" if self.has_key else ""
        twin = f", twice at once for {self.twin}" if self.twin else ""
        again = "" if self.again_after is None else f", once more after {self.again_after:.1f} s"
        back = "" if self.returns_after is None else f", returned after {self.returns_after:.1f} s"
        back += ", twice at once" if self.returns_twice else ""
        what = f"{self.quantity} of goods {self.goods_id}{with_coupon}"
        return f"at {self.at:.1f} s for {self.user} {what}{key}{twin}{then}{back}{again}"


@dataclass(frozen=True, slots=True)
class Plan:
    """A run; times in seconds. `check_max`: how often the broker asks about a half message.

    `sweeps`: or messages alone have to bring all to rest, of which the broker loses none then, and gives none up.
    `processes`: of the order service. `lease`: of worker ids. `retention`: of transaction records.
    `pays`: there is a pay service, and its provider; else messages alone say that an order is paid.
    """

    seed: int
    wishes: Sequence[Wish]
    faults: Sequence[Fault]
    pay_timeout: float
    check_max: int
    sweeps: bool = True
    sweep_every: float = 15.0
    processes: int = 1
    lease: float = _LEASE
    retention: float = _RETENTION
    pays: bool = False

    @property
    def services(self) -> Sequence[str]:
        """Which services there are."""
        return (*faults.SERVICES, *([faults.PAY] if self.pays else []))

    @property
    def returns(self) -> bool:
        """Whether any client returns its order."""
        return any(wish.returns_after is not None for wish in self.wishes)

    @property
    def keeps_records(self) -> bool:
        """Whether no record of a transaction is purged while the run lasts."""
        return self.retention == _RETENTION


def plan_of(seed: int) -> Plan:
    """Return the run of a seed: what some have of pay, and of returns, is drawn beside all the rest."""
    return _with_returns(_with_pay(_without_pay(seed)))


def _with_pay(plan: Plan) -> Plan:
    seed = plan.seed
    chance = Random(f"pay {seed}")
    if chance.random() >= _PAYS:
        return plan
    wishes = [wish if wish.must else _paying(chance, wish) for wish in plan.wishes]
    drawn = [one for one in faults.drawn_of_pay(chance) if plan.sweeps or one.kind != "forget"]
    return replace(plan, pays=True, wishes=wishes, faults=[*plan.faults, *drawn])


def _with_returns(plan: Plan) -> Plan:
    chance = Random(f"returns {plan.seed}")
    if chance.random() >= _RETURNS:
        return plan
    wishes = [wish if wish.must else _returning(chance, wish) for wish in plan.wishes]
    drawn = [one for one in faults.drawn_of_returns(chance) if plan.sweeps or one.kind != "forget"]
    with_returns = replace(plan, wishes=wishes, faults=[*plan.faults, *drawn])
    return with_returns if with_returns.returns else plan


def _returning(chance: Random, wish: Wish) -> Wish:
    """Return a wish of a client that may return its order: one that pays, now and then too late or not at all."""
    after = round(chance.choice((0.02, 1.0, chance.uniform(0, 10), chance.uniform(10, 20))), 3)
    if chance.random() >= _RETURN:
        return wish
    then = wish.then or chance.choice(("", "pay", "pay"))
    return replace(wish, returns_after=after, returns_twice=chance.random() < _TWICE, then=then)


def _paying(chance: Random, wish: Wish) -> Wish:
    """Return a wish of a client that knows how it pays; more of them do."""
    word = chance.choice(SCENARIOS)
    if word in {"late", "page"}:
        word = f"{word}:{chance.randint(1, _PAID_WITHIN)}"
    does_pay = not wish.then and chance.random() < _MORE_PAY
    return replace(wish, scenario=word, then="pay" if does_pay else wish.then)


def _without_pay(seed: int) -> Plan:
    chance = Random(f"plan {seed}")
    wishes = [_wish(chance, number) for number in range(chance.randint(1, _MOST_ORDERS))]
    if chance.random() < _SHORT:
        wishes.append(Wish(len(wishes), _LAST_AT, PLENTY, 1, None, has_key=True, then="", then_after=0.0, must=True))
    drawn = faults.drawn(chance)
    pay_timeout, check_max = chance.choice((3.0, 7.0, 16.0, _FOR_EVER)), chance.choice((2, _CHECKS))
    lease = _SHORT_LEASE if chance.random() < _SHORT else _LEASE
    processes = 2 if chance.random() < _SHORT else 1
    if chance.random() < _SWEEPS:
        retention = _RETENTION
        if chance.random() < _SHORT:
            retention, drawn = _SHORT_RETENTION, [_longer(one) for one in drawn]
        every = chance.choice(_SWEEPS_EVERY)
        return Plan(seed, wishes, drawn, pay_timeout, check_max, True, every, processes, lease, retention)
    kept = [one for one in drawn if one.kind != "forget"]
    return Plan(seed, wishes, kept, pay_timeout, _CHECKS, sweeps=False, processes=processes, lease=lease)


def _longer(fault: Fault) -> Fault:
    is_held_up = (fault.trigger is Trigger.FAILPOINT and fault.kind in {"delay", "forget"}) or fault.kind == "freeze"
    return replace(fault, seconds=round(_LONGER * fault.seconds, 3)) if is_held_up else fault


def _wish(chance: Random, number: int) -> Wish:
    has_key = chance.random() < 0.5  # noqa: PLR2004 - one of two
    return Wish(
        number,
        round(chance.choice((0.5, 0.5, chance.uniform(0, _PLACED_WITHIN))), 3),
        chance.choice((PLENTY, FEW)),
        chance.randint(1, 3),
        chance.choice((None, None, None, OFF, OFF, FREE, chance.choice(RULED))),
        has_key,
        chance.choice(("", "cancel", "pay", "pay", "both", "stranger")),
        round(chance.choice((0.05, 2.0, chance.uniform(0, 20), chance.uniform(14, 26))), 3),
        f"user-{chance.randrange(_USERS)}",
        chance.choice(("", "", "same", "other")) if has_key else "",
        round(chance.uniform(0, 8), 3) if has_key and chance.random() < 0.5 else None,  # noqa: PLR2004
    )
