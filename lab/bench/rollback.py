"""`./scripts/bench rollback`: how fast stock drains a backlog of rollbacks."""

import signal

from sqlalchemy import text

from common.registry import ROLLBACK_TOPIC
from halfmessage.clock import now_ms
from lab.bench import messages
from lab.bench.bench import JUDGED_WITHIN, Bench
from lab.bench.figures import Measured, Run
from lab.bench.fill import Filling, Kind, Series
from lab.bench.meter import Meter
from ops.waiting import wait_for

_KINDS = 100
_AGO = 3_600_000  # ms: when the orders were placed
_READY_WITHIN = 60.0
_RELEASED = """
SELECT count(*), min(released_at), max(released_at) FROM reservations
WHERE order_id BETWEEN :first AND :last AND state = 'released'
"""
_AT_FIRST = "SELECT count(*) FROM reservations WHERE order_id BETWEEN :first AND :last AND released_at = :at"


class RollbackBench:
    """Stops stock, cancels orders without it, starts it again, and looks when their stock was back."""

    def __init__(self, bench: Bench, within: float) -> None:
        """Take the bench, and how long stock may take (seconds)."""
        self._bench, self._within = bench, within
        self._goods = bench.sut.new_goods(_KINDS)

    def measure(self, orders: int, group: int) -> Measured:
        """Measure with so many orders, `group` to a message. Raise `NotInTime`."""
        measured = Measured(f"{orders:,} orders, {group} a message", "rollback", 0, _KINDS)
        for number in range(self._bench.effort.runs):
            self._bench.tell(f"{measured.title}: run {number + 1} of {self._bench.effort.runs}")
            measured.runs.append(self._run(orders, group))
        return measured

    def _run(self, orders: int, group: int) -> Run:
        sut = self._bench.sut
        # The runs of one bench must not have ids in common: each begins after the last one's.
        series = Series(Kind.CANCELLED, max(now_ms() - _AGO, self._after_last()), group=group)
        with Filling.open(*sut.filled, self._goods, series) as filling:
            filling.add(0, orders)
        self._stop_stock()
        messages.send_all(sut.deployment, messages.events(series, orders, ROLLBACK_TOPIC))
        meter = Meter(sut.pids)
        started = now_ms()
        with meter.watch():
            self._start_stock()
            wait_for("the backlog", lambda: self._count(series, orders)[0] == orders, within=self._within, every=0.2)
        wrong = sut.judge.settle([], since=series.order_id(0), within=JUDGED_WITHIN)
        return Run(self._rate(series, orders, started), None, orders, {}, 0.0, meter.taken, wrong)

    def _after_last(self) -> int:
        with self._bench.sut.database("order").read() as connection:
            return int(connection.scalar(text("SELECT max(created_at) FROM orders")) or 0) + 1

    @property
    def _instances(self) -> list[str]:
        return self._bench.sut.deployment.plan.instances_of("stock")

    def _stop_stock(self) -> None:
        supervisor = self._bench.sut.deployment.supervisor
        for name in self._instances:
            pid = supervisor.pid(name)
            supervisor.hold(name)
            supervisor.kill(name, signal.SIGTERM)
            if pid is not None:
                supervisor.wait_gone(pid)

    def _start_stock(self) -> None:
        supervisor = self._bench.sut.deployment.supervisor
        for name in self._instances:
            supervisor.release(name)
        for name in self._instances:
            supervisor.wait_ready(name, within=_READY_WITHIN)

    def _count(self, series: Series, orders: int) -> tuple[int, int, int]:
        given = {"first": series.order_id(0), "last": series.order_id(orders - 1)}
        with self._bench.sut.database("stock").read() as connection:
            number, first, last = connection.execute(text(_RELEASED), given).one()
        return int(number), int(first or 0), int(last or 0)

    def _rate(self, series: Series, orders: int, started: int) -> float:
        """Return orders a second, from the first batch's end to the last one's: by what stock itself wrote down.

        Where one batch took them all, it counts from when stock was started (ms since the epoch).
        """
        number, first, last = self._count(series, orders)
        given = {"first": series.order_id(0), "last": series.order_id(orders - 1), "at": first}
        with self._bench.sut.database("stock").read() as connection:
            at_first = int(connection.scalar(text(_AT_FIRST), given) or 0)
        if last == first:
            return number / max(1, last - started) * 1000
        return (number - at_first) / (last - first) * 1000
