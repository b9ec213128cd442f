"""`./scripts/bench burst`: orders submitted far faster than they can be placed, and how fast they are worked off."""

import time
from collections.abc import Sequence
from typing import Final

from sqlalchemy import text

from halfmessage.clock import now_ms
from halfmessage.ids import first_of
from lab.bench.bench import JUDGED_WITHIN, Bench
from lab.bench.figures import Measured
from lab.bench.load import Sample
from ops.waiting import wait_for

_KINDS = 100  # goods there are
_ACCEPTED = 202
_WAITING: Final = "SELECT count(*) FROM order_requests WHERE state = 'queued'"
_STATES: Final = "SELECT state, count(*) FROM order_requests WHERE request_id >= :first GROUP BY state"
_ORDERS: Final = "SELECT count(*) FROM orders WHERE order_id >= :first"


class BurstBench:
    """Submits orders for a while, and waits until all of them are placed."""

    def __init__(self, bench: Bench, within: float) -> None:
        """Take the bench, and how long working off one burst may take (seconds)."""
        self._bench, self._within = bench, within
        self._goods = bench.sut.new_goods(_KINDS)
        self.worked_off: list[float] = []
        """Orders a second, of each run, from its beginning until nothing waited any more."""

    def measure(self, clients: int) -> Measured:
        """Measure with so many clients, each submitting its next order when it has its answer."""
        measured = Measured(f"{clients} clients, {_KINDS} goods, submitted", "closed", clients, _KINDS)
        for number in range(self._bench.effort.runs):
            self._bench.tell(f"{measured.title}: run {number + 1} of {self._bench.effort.runs}")
            self._run(measured)
        return measured

    def _run(self, measured: Measured) -> None:
        first, began = first_of(now_ms()), time.monotonic()
        requests = self._bench.sut.orders(self._goods, headers={"Prefer": "respond-async"})

        def check(sample: Sample) -> list[str]:
            self._bench.tell(f"{measured.title}: {self._waiting():,} wait to be placed")
            wait_for("the requests to be placed", lambda: self._waiting() == 0, within=self._within, every=0.2)
            self.worked_off.append(len(sample.times) / (time.monotonic() - began))
            judged = self._bench.sut.judge.settle([], since=first, within=JUDGED_WITHIN)
            return [*self._wrong(first, len(sample.times)), *judged]

        job = self._bench.job(measured, requests, expect=_ACCEPTED)
        measured.runs.append(self._bench.runner.run(job, self._bench.sut.pids, check))

    def _wrong(self, first: int, taken_in: int) -> Sequence[str]:
        """Compare what clients were told with the requests, and these with the orders, from an id on."""
        with self._bench.sut.database("order").read() as connection:
            states = {state: int(n) for state, n in connection.execute(text(_STATES), {"first": first})}
            orders = int(connection.scalar(text(_ORDERS), {"first": first}) or 0)
        wrong = []
        if states != {"created": taken_in}:
            wrong.append(f"{taken_in} requests were taken in, and this came of them: {states}")
        if orders != taken_in:
            wrong.append(f"{taken_in} requests were taken in, and there are {orders} orders")
        return wrong

    def _waiting(self) -> int:
        with self._bench.sut.database("order").read() as connection:
            return int(connection.scalar(text(_WAITING)) or 0)
