"""`./scripts/bench orders`: orders placed a second, and how long each takes."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

from lab.bench.bench import Bench, fresh_keys
from lab.bench.figures import Measured

_KINDS = 100  # goods there are
_LADDER = (0.25, 0.5, 0.7, 0.8, 0.9, 1.0)  # shares of what the closed loop reached
_BEYOND = 1.15  # from rate to rate after these
_KEPT_UP = 0.97  # of the rate asked for; below, the knee is behind us


_WITH = ", a coupon each"


class Coupons(StrEnum):
    """Whether the orders of a load have coupons; `both`: of two loads that take turns, those of one have."""

    NONE = "none"
    EACH = "each"
    BOTH = "both"


class Through(StrEnum):
    """Where orders are sent: to the order service, to the gateway, or of two loads that take turns one to each."""

    DIRECT = "direct"
    GATEWAY = "gateway"
    BOTH = "both"


class OrdersBench:
    """Puts loads of new orders on the system under test."""

    def __init__(
        self,
        bench: Bench,
        *,
        keys: bool = False,
        coupons: Coupons = Coupons.NONE,
        through: Through = Through.DIRECT,
    ) -> None:
        """Take the bench; with `keys`, each order has an Idempotency-Key. `coupons`: whether each has one, too."""
        self._bench, self._keys, self._coupons = bench, keys, coupons
        self._ways = [way for way in (Through.DIRECT, Through.GATEWAY) if through in {way, Through.BOTH}]
        self._goods = bench.sut.new_goods(_KINDS)
        self._of_users = [] if coupons is Coupons.NONE else bench.sut.new_coupons()

    def closed(self, clients: Sequence[int], kinds: Sequence[int]) -> list[Measured]:
        """Measure with so many clients, each sending its next order when it has its answer; the runs take turns."""
        loads = [
            (
                Measured(
                    f"{number} clients, {goods} goods{_WITH if coupons else ''}{_BY[way]}", "closed", number, goods
                ),
                coupons,
                way,
            )
            for goods in kinds
            for number in clients
            for coupons in self._variants()
            for way in self._ways
        ]
        for _ in range(self._bench.effort.runs):
            for measured, coupons, way in loads:
                self._run(measured, coupons, way)
        return [measured for measured, _, _ in loads]

    def open(self, rates: Iterable[float], clients: int) -> Iterator[Measured]:
        """Measure at fixed rates, rising, on so many connections; end after the first that is not kept up with."""
        for rate in rates:
            coupons, way = self._variants()[-1], self._ways[-1]
            title = f"{rate:,.0f}/s, {_KINDS} goods{_WITH if coupons else ''}{_BY[way]}"
            measured = Measured(title, "open", clients, _KINDS, rate=rate)
            for _ in range(self._bench.effort.runs):
                self._run(measured, coupons, way)
            yield measured
            if measured.per_second.median < rate * _KEPT_UP:
                return

    def _variants(self) -> list[list[str]]:
        """Return the coupons of each kind of load: none, one for each user, or both in turns."""
        if self._coupons is Coupons.BOTH:
            return [[], self._of_users]
        return [self._of_users]

    def _run(self, measured: Measured, coupons: Sequence[str], way: Through) -> None:
        keys = fresh_keys() if self._keys else ""
        goods = self._goods[: measured.goods]
        sut = self._bench.sut
        addresses = sut.gateway() if way is Through.GATEWAY else sut.addresses()
        self._bench.measure(measured, sut.orders(goods, keys=keys, coupons=coupons), addresses=addresses)


_BY = {Through.DIRECT: "", Through.GATEWAY: ", at the gateway"}


def ladder(closed: Sequence[Measured]) -> Iterator[float]:
    """Return rates that rise without end, past the best that a closed loop reached."""
    best = max(1.0, *(measured.per_second.median for measured in closed))
    yield from (round(best * share, 1) for share in _LADDER)
    yield from (round(best * _BEYOND**step, 1) for step in itertools.count(1))
