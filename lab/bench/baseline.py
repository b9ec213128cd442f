"""`./scripts/bench baseline`: the system and one naive local transaction, in turns, so that the ratio can be quoted."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import insert, text

from common.db import Database
from lab.bench.bench import Bench
from lab.bench.figures import Figure, Measured
from lab.bench.load import Sample
from lab.bench.sut import PIECES, SystemUnderTest
from ops.child import python_module
from ops.client import probe
from ops.plan import HOST, free_port_base
from ops.supervisor import Supervisor
from order.model import metadata as order_tables
from order.model import order_lines, orders
from stock.model import metadata as stock_tables
from stock.model import stock

_KINDS = 100
_READY_WITHIN = 60.0
_APART = 3  # ports from instance to instance, as `Plan` has them
_CONSERVED = """
SELECT s.goods_id, s.total, s.available, coalesce(sum(l.quantity), 0) FROM stock AS s
LEFT JOIN order_lines AS l ON l.goods_id = s.goods_id
GROUP BY s.goods_id, s.total, s.available
HAVING s.total <> s.available + coalesce(sum(l.quantity), 0)
"""
_THERE = "SELECT count(*) FROM orders"


class Naive:
    """The naive service: as many processes as order has, on a database of its own beside the others."""

    def __init__(self, sut: SystemUnderTest, goods: Sequence[str]) -> None:
        """Make its database, with the same goods."""
        self._sut = sut
        self._instances = max(1, sut.deployment.plan.instances.get("order", 1))
        base = free_port_base({"order": self._instances})
        self._ports = {f"naive-{n + 1}" if n else "naive": base + _APART * n for n in range(self._instances)}
        self._url = sut.new_database()
        self.database = Database(self._url)
        order_tables.create_all(self.database.engine, tables=[orders, order_lines])
        stock_tables.create_all(self.database.engine, tables=[stock])
        rows = [{"goods_id": int(g), "total": PIECES, "available": PIECES, "version": 0} for g in goods]
        self.database.transact(lambda connection: connection.execute(insert(stock), rows))

    @contextmanager
    def run(self) -> Iterator[None]:
        """Have it run as long as the block does. Raise `NotInTime`."""
        place = self._sut.deployment.directory.root / "naive"
        specs = [
            python_module(name, "lab.bench.naive", self._environment(port), port) for name, port in self._ports.items()
        ]
        self._supervisor = Supervisor(
            place, specs, is_ready=lambda spec: probe(f"http://{HOST}:{spec.port}") is None, say=self._sut.say
        )
        try:
            self._supervisor.start()
            self._supervisor.wait_ready(within=_READY_WITHIN)
            yield
        finally:
            self._supervisor.stop()
            self.database.close()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return [(HOST, port) for port in self._ports.values()]

    def pids(self) -> dict[str, int]:
        """Return its processes."""
        return {state.name: state.pid for state in self._supervisor.states() if state.pid is not None}

    def wrong(self, before: int, placed: int) -> list[str]:
        """Return what is wrong: stock that is neither left nor ordered, orders that were acknowledged and are not."""
        with self.database.read() as connection:
            rows = connection.execute(text(_CONSERVED)).all()
        found = [f"naive: goods {goods_id}: {total} in all, {left} left, {sold} ordered"
                 for goods_id, total, left, sold in rows]  # fmt: skip
        there = self.placed() - before
        return found + ([f"naive: {placed} orders acknowledged, {there} there"] if there < placed else [])

    def placed(self) -> int:
        """Return how many orders there are."""
        with self.database.read() as connection:
            return int(connection.scalar(text(_THERE)) or 0)

    def _environment(self, port: int) -> dict[str, str]:
        place = self._sut.deployment.directory
        extra = self._sut.deployment.plan.extra
        return {
            **{f"ORDERS_{name.upper()}": str(value) for name, value in extra.items()},
            "ORDERS_HOST": HOST,
            "ORDERS_PORT": str(port),
            "ORDERS_JWT_SECRET": place.secret(),
            "ORDERS_PUBLIC_KEYS": str(place.keys.public),
            "ORDERS_DATABASE_URL": self._url,
        }


class BaselineBench:
    """Puts the same load on both, in turns."""

    def __init__(self, bench: Bench) -> None:
        """Create the goods, and the naive service's database."""
        self._bench = bench
        self._goods = bench.sut.new_goods(_KINDS)
        self.naive = Naive(bench.sut, self._goods)

    def measure(self, clients: Sequence[int]) -> list[Measured]:
        """Measure with so many clients; the naive service first, then the system, and so on."""
        loads = [
            [Measured(f"{what}, {number} clients", "closed", number, _KINDS) for what in ("naive", "orders")]
            for number in clients
        ]
        requests = self._bench.sut.orders(self._goods)
        with self.naive.run():
            for _ in range(self._bench.effort.runs):
                for naive, system in loads:
                    self._measure_naive(naive)
                    self._bench.measure(system, requests)
        return [measured for pair in loads for measured in pair]

    def _measure_naive(self, measured: Measured) -> None:
        bench = self._bench
        bench.tell(f"{measured.title}: run {len(measured.runs) + 1} of {bench.effort.runs}")
        before = self.naive.placed()

        def check(sample: Sample) -> list[str]:
            return self.naive.wrong(before, len(sample.order_ids))

        job = bench.job(measured, bench.sut.orders(self._goods), addresses=self.naive.addresses)
        measured.runs.append(bench.runner.run(job, lambda: {**bench.sut.servers, **self.naive.pids()}, check))


def ratios(measured: Sequence[Measured]) -> dict[str, Figure]:
    """Return, for each number of clients, orders a second over those of the naive service, run by run."""
    naive = {load.clients: load for load in measured if load.name.startswith("naive")}
    system = {load.clients: load for load in measured if load.name.startswith("orders")}
    return {
        f"{clients} clients": Figure.of(
            [ours.per_second / max(theirs.per_second, 1e-9)
             for ours, theirs in zip(system[clients].runs, naive[clients].runs, strict=True)]
        )
        for clients in naive
    }  # fmt: skip
