"""`./scripts/bench growth`: the same load on a database that grows tenfold, and tenfold again."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from halfmessage.clock import now_ms
from lab.bench.bench import Bench
from lab.bench.figures import Measured
from lab.bench.fill import Filling, Kind, Series
from lab.bench.sut import SystemUnderTest
from lab.bench.wire import Requests, make_request
from ops.client import Client

_KINDS = 100
_SPAN = 2 * 86_400_000  # ms over which the orders were placed; records are kept for longer
_PAGE = 20
_SWEEP_WITHIN = 600.0  # seconds
_OK = 200


@dataclass(frozen=True, slots=True)
class Swept:
    """How long a sweep took, and how many orders it found something to do for: its work, whatever else there is."""

    seconds: float
    orders: int


class GrowthBench:
    """Fills the databases with settled orders and measures at each power of ten."""

    def __init__(self, bench: Bench, up_to: int) -> None:
        """Take the bench, and how many orders there are to be in the end."""
        self._bench, self._up_to = bench, up_to
        self._goods = bench.sut.new_goods(_KINDS)
        self._series = Series(Kind.SETTLED, now_ms() - _SPAN, gap=max(1, _SPAN // up_to // 2))
        self.sweeps: dict[int, Swept] = {}  # by the number of orders that were there

    def measure(self, first: int, clients: int) -> Iterator[Measured]:
        """Measure at `first` orders and each ten times as many; placing, listing, and how long a sweep takes."""
        there = 0
        number = min(first, self._up_to)
        while True:
            self._fill(there, number)
            there = number
            yield from self._at(number, clients)
            if number >= self._up_to:
                return
            number = min(10 * number, self._up_to)

    def _fill(self, begin: int, end: int) -> None:
        sut, tell = self._bench.sut, self._bench.tell
        with Filling.open(*sut.filled, self._goods, self._series) as filling:
            filling.add(begin, end, _seldom(lambda done: tell(f"filling in: {done:,} of {end:,} orders")))

    def _at(self, number: int, clients: int) -> Iterator[Measured]:
        bench, sut = self._bench, self._bench.sut
        self.sweeps[number] = _sweep(sut)
        placing = Measured(f"{number:,} orders there, {clients} clients", "closed", clients, _KINDS)
        listing = Measured(f"{number:,} orders there, GET {_PAGE} orders", "closed", clients, _KINDS)
        pages = [make_request("GET", f"/orders?limit={_PAGE}", token) for token in sut.tokens]
        for _ in range(bench.effort.runs):
            bench.measure(placing, sut.orders(self._goods))
        for _ in range(bench.effort.runs):
            bench.measure(listing, Requests(pages), expect=_OK)
        yield from (placing, listing)


def _sweep(sut: SystemUnderTest) -> Swept:
    deployment = sut.deployment
    with Client(deployment.plan.urls, deployment.token("bench", ["admin"]), timeout=_SWEEP_WITHIN) as client:
        began = time.monotonic()
        found = client.post("order", "/sweep")
        seconds = time.monotonic() - began
    return Swept(seconds, sum(found[name] for name in ("verified", "released", "confirmed", "closed")))


def _seldom(tell: Callable[[int], None]) -> Callable[[int], None]:
    """Tell of every hundredth chunk only."""
    count = iter(range(1_000_000_000))
    return lambda done: tell(done) if next(count) % 100 == 0 else None
