"""`./scripts/bench timeouts`: unpaid orders that all fall due at the same moment, while others are placed."""

import time
from dataclasses import dataclass

from sqlalchemy import text

from common.registry import TIMEOUT_TOPIC
from halfmessage.clock import now_ms
from lab.bench import messages
from lab.bench.bench import JUDGED_WITHIN, Bench
from lab.bench.figures import Measured, run_of
from lab.bench.fill import Filling, Kind, Series
from lab.bench.load import Job, Sample
from lab.bench.meter import Meter
from lab.bench.runner import LOAD
from ops.errors import CommandFailed
from ops.waiting import wait_for

_KINDS = 100
_AGO = 3_600_000  # ms: when the orders were placed
_SLICE = 2.0  # seconds of load between two looks
_FILLED, _SENT = 2000, 100  # orders and messages a second, at the very least: how long before they fall due we begin
_HEADROOM = 10.0  # seconds more: a busy machine stands still for some
_CLOSED = """
SELECT count(*), max(closed_at) FROM orders WHERE order_id BETWEEN :first AND :last AND status = 'closed'
"""
_BACK = """
SELECT count(*), max(released_at) FROM reservations WHERE order_id BETWEEN :first AND :last AND state = 'released'
"""


@dataclass(frozen=True, slots=True)
class Aftermath:
    """Seconds from when the orders fell due until the last was closed, and until the last one's stock was back."""

    closed_after: float
    back_after: float


class TimeoutsBench:
    """Fills in unpaid orders that fall due together, with their timeout messages."""

    def __init__(self, bench: Bench, clients: int, within: float) -> None:
        """Take the bench, how many clients place orders meanwhile, and when to give up (seconds)."""
        self._bench, self._clients, self._within = bench, clients, within
        self._goods = bench.sut.new_goods(_KINDS)

    def normal(self) -> Measured:
        """Measure how requests are served while nothing falls due."""
        measured = Measured(f"as ever, {self._clients} clients", "closed", self._clients, _KINDS)
        for _ in range(self._bench.effort.runs):
            self._bench.measure(measured, self._bench.sut.orders(self._goods))
        return measured

    def fall_due(self, orders: int, group: int) -> tuple[Measured, Aftermath]:
        """Have so many fall due, `group` to a message. Raise `NotInTime` or `CommandFailed`."""
        sut = self._bench.sut
        series = self._prepare(orders, group)
        measured = Measured(f"{orders:,} fall due, {self._clients} clients", "closed", self._clients, _KINDS)
        wait_for("them to fall due", lambda: now_ms() >= series.due - 1000, within=3600, every=0.01)
        self._bench.tell(f"{measured.title}: placing orders until all are closed and their stock is back")
        meter = Meter(lambda: {**sut.pids(), LOAD: self._bench.runner.pid})
        with meter.watch():
            sample = self._load_until_done(series, orders)
        wrong = sut.judge.settle(sample.order_ids, since=series.order_id(0), within=JUDGED_WITHIN)
        measured.runs.append(run_of(sample, meter.taken, wrong))
        closed, back = self._ends(series, orders)
        return measured, Aftermath((closed[1] - series.due) / 1000, (back[1] - series.due) / 1000)

    def _prepare(self, orders: int, group: int) -> Series:
        sut, tell = self._bench.sut, self._bench.tell
        due = now_ms() + int((_HEADROOM + orders / _FILLED + orders / group / _SENT) * 1000)
        series = Series(Kind.UNPAID, now_ms() - _AGO, group=group, due=due)
        with Filling.open(*sut.filled, self._goods, series) as filling:
            filling.add(0, orders, lambda done: tell(f"{done:,} of {orders:,} unpaid orders filled in"))
        messages.send_all(
            sut.deployment,
            messages.events(series, orders, TIMEOUT_TOPIC),
            deliver_at=due,
            tell=lambda sent: tell(f"{sent:,} timeout messages sent"),
        )
        if now_ms() >= due:
            raise CommandFailed("The machine is too slow: the orders fell due before the last was filled in.")
        tell(f"{orders:,} orders fall due in {(due - now_ms()) / 1000:.0f} s")
        return series

    def _load_until_done(self, series: Series, orders: int) -> Sample:
        """Place orders, in slices, until all is done. Raise `NotInTime`."""
        job = Job(self._bench.sut.addresses(), self._bench.sut.orders(self._goods), self._clients, 0.0, _SLICE)
        whole, give_up_at = Sample(0.0), time.monotonic() + self._within
        while True:
            whole.add(self._bench.runner.submit(job).result())
            closed, back = self._ends(series, orders)
            if closed[0] == orders and back[0] == orders:
                return whole
            if time.monotonic() >= give_up_at:
                raise CommandFailed(
                    f"Of {orders:,} orders that fell due, {closed[0]:,} were closed after {self._within:g} s, "
                    f"and the stock of {back[0]:,} was back."
                )

    def _ends(self, series: Series, orders: int) -> tuple[tuple[int, int], tuple[int, int]]:
        given = {"first": series.order_id(0), "last": series.order_id(orders - 1)}
        sut, found = self._bench.sut, []
        for service, query in (("order", _CLOSED), ("stock", _BACK)):
            with sut.database(service).read() as connection:
                number, last = connection.execute(text(query), given).one()
            found.append((int(number), int(last or 0)))
        return found[0], found[1]
