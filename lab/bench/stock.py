"""Strategies of taking stock side by side: the same orders on the same database, the ledger checked after each run."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from common.db import Database
from common.redis_client import RedisClient
from halfmessage.errors import Unavailable
from halfmessage.participant.model import ReservationState
from halfmessage.participant.reservations import Reservations
from lab.judge.stock import disagreements
from ops.errors import CommandFailed
from stock.model import reservation_lines, reservations, stock
from stock.service.levels import Levels
from stock.service.pieces import INSUFFICIENT, stock_reservations
from stock.service.strategies.factory import make_strategy
from stock.service.strategies.port import Lines

_TX = 1
_ENOUGH_FOR = 0.6  # of all orders: the last ones fight for what is left
_TABLES = (reservation_lines, reservations, stock)


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of a strategy: so many orders of `lines` goods each, out of `goods`, in batches, on threads."""

    name: str
    goods: int
    lines: int = 1
    orders: int = 2000
    threads: int = 16
    batch: int = 1

    def wanted(self, seed: int = 1) -> list[tuple[int, Lines]]:
        """Return the orders (order id, lines), the same for every strategy."""
        chance = random.Random(seed)  # noqa: S311 - a load, not a secret
        choices = range(1, self.goods + 1)
        return [
            (order_id, dict.fromkeys(chance.sample(choices, self.lines), 1)) for order_id in range(1, self.orders + 1)
        ]

    @property
    def pieces(self) -> int:
        """How many pieces of each goods there are."""
        return max(1, int(self.orders * self.lines / self.goods * _ENOUGH_FOR))


@dataclass(frozen=True, slots=True)
class Result:
    """What one strategy did under one load; times of one call in seconds, `wrong` is what the ledger says."""

    strategy: str
    load: Load
    deducted: int
    refused: int
    failed: int
    seconds: float
    median: float
    slowest_percent: float
    wrong: Sequence[str]

    @property
    def per_second(self) -> float:
        """Orders decided in a second."""
        return (self.deducted + self.refused) / self.seconds


def compare(
    database: Database, redis: RedisClient | None, strategies: Sequence[str], loads: Sequence[Load]
) -> Iterator[Result]:
    """Measure each strategy under each load, one after the other; leave the database as empty as it was.

    Raise `CommandFailed` if there is stock in it already.
    """
    with database.read() as connection:
        if any(connection.execute(select(table).limit(1)).first() for table in _TABLES):
            raise CommandFailed("There is stock in this database; measuring needs one of its own.")
    for load in loads:
        for name in strategies:
            try:
                yield measure(database, redis, name, load)
            finally:
                database.transact(clear)


def measure(database: Database, redis: RedisClient | None, strategy: str, load: Load) -> Result:
    """Measure one strategy under one load, on a database without stock."""
    levels = Levels(database)
    for goods_id in range(1, load.goods + 1):
        levels.set_total(goods_id, load.pieces)
    service = stock_reservations(database, make_strategy(strategy, redis, production=False))
    wanted = load.wanted()
    calls = _Calls(service, [dict(wanted[i : i + load.batch]) for i in range(0, len(wanted), load.batch)])
    seconds = _together(load.threads, calls.run)
    times = sorted(calls.times)
    return Result(
        strategy,
        load,
        calls.verdicts.count(ReservationState.DEDUCTED),
        calls.verdicts.count(INSUFFICIENT),
        calls.failed,
        seconds,
        times[len(times) // 2],
        times[len(times) * 99 // 100],
        disagreements(database.engine.url),
    )


class _Calls:
    """Batches that threads take from one end, and what became of them."""

    def __init__(self, service: Reservations[Lines], batches: Sequence[Mapping[int, Lines]]) -> None:
        self._service = service
        self._left = iter(batches)
        self._guard = threading.Lock()
        self.times: list[float] = []
        self.verdicts: list[str] = []
        self.failed = 0

    def run(self) -> None:
        while (batch := self._next()) is not None:
            began = time.perf_counter()
            try:
                decisions = self._service.deduct(_TX, batch)
            except Unavailable:
                with self._guard:
                    self.failed += len(batch)
                continue
            finally:
                self.times.append(time.perf_counter() - began)
            self.verdicts.extend(decision.verdict for decision in decisions)

    def _next(self) -> Mapping[int, Lines] | None:
        with self._guard:
            return next(self._left, None)


def _together(threads: int, work: Callable[[], None]) -> float:
    """Run `work` on so many threads at once; return how long all of it took (seconds)."""
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()
        return time.perf_counter() - began


def clear(connection: Connection) -> None:
    """Delete all stock and reservations."""
    for table in _TABLES:
        connection.execute(delete(table))
