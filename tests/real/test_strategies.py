"""Each way of taking stock, under real concurrency: no order gets what another has; but for `naive`, which shows it."""

import random
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, select

from common.db import Database
from common.redis_client import RedisClient
from halfmessage.participant.model import ReservationState
from halfmessage.participant.reservations import Reservations
from lab.judge.stock import disagreements
from stock import model
from stock.service.levels import Level, Levels
from stock.service.pieces import INSUFFICIENT, stock_reservations
from stock.service.strategies import redis_lock
from stock.service.strategies.factory import NAMES, make_strategy
from stock.service.strategies.in_database import Naive
from stock.service.strategies.port import Lines, StockContended, Strategy, take_one_by_one
from stock.service.strategies.redis_lock import RedisLock
from tests.real.conftest import Migrated, OpenDatabase
from tests.support import short_of

EXACT = [name for name in NAMES if name != "naive"]
GOODS = (1, 2, 3)
TX = 100
THREADS = 8
TRIES = 20

OpenRedis = Callable[[str], RedisClient]
Make = Callable[[str], Reservations[Lines]]


@pytest.fixture(scope="module")
def url(migrated: Migrated) -> str:
    """Make the stock service's database."""
    return migrated("stock")


@pytest.fixture
def database(url: str, open_database: OpenDatabase) -> Database:
    """Open it, empty."""
    database = open_database(url, pool_size=2 * THREADS)
    tables = (model.reservation_lines, model.reservations, model.stock)
    database.transact(lambda connection: [connection.execute(table.delete()) for table in tables])
    return database


@pytest.fixture
def make(database: Database, redis_url: str, open_redis: OpenRedis) -> Make:
    """Return reservations under a strategy."""
    return lambda name: stock_reservations(database, make_strategy(name, open_redis(redis_url), production=False))


def _together(work: Callable[[int], None]) -> None:
    """Run `work(number)` on every thread, begun at once."""
    start = threading.Barrier(THREADS)

    def run(number: int) -> None:
        start.wait()
        work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(run, number) for number in range(THREADS)]:
            done.result()


def _deduct(reservations: Reservations[Lines], order_id: int, lines: Mapping[int, int]) -> str:
    (decision,) = reservations.deduct(TX, {order_id: lines})
    return decision.verdict


def _deduct_at_last(reservations: Reservations[Lines], order_id: int, lines: Mapping[int, int]) -> str:
    """Ask as a client does: a try that came to nothing, as others had the goods all the time, is made again."""
    for _ in range(TRIES - 1):
        with suppress(StockContended):
            return _deduct(reservations, order_id, lines)
    return _deduct(reservations, order_id, lines)


@pytest.mark.parametrize("name", EXACT)
def test_last_pieces(name: str, make: Make, database: Database) -> None:
    """Of 64 orders for the last 20 pieces exactly 20 get one, whichever comes when."""
    Levels(database).set_total(1, 20)
    reservations = make(name)
    verdicts: list[str] = []
    _together(lambda n: verdicts.extend(_deduct_at_last(reservations, n * 100 + i + 1, {1: 1}) for i in range(8)))
    assert (verdicts.count(ReservationState.DEDUCTED), verdicts.count(INSUFFICIENT)) == (20, 44)
    assert Levels(database).get(1) == Level(1, 20, 0)
    assert disagreements(database.engine.url) == []


@pytest.mark.parametrize("name", ["conditional", "pessimistic"])
def test_batches_do_not_deadlock(name: str, make: Make, database: Database) -> None:
    """Batches that want the same goods in different orders queue for them, and none is given up."""
    goods = range(1, 13)
    for goods_id in goods:
        Levels(database).set_total(goods_id, 10**6)
    reservations = make(name)
    tries: list[int] = []
    event.listen(database.engine, "rollback", lambda _: tries.append(1))

    def work(number: int) -> None:
        chance = random.Random(number)
        for step in range(6):
            first = number * 1000 + step * 10 + 1
            batch = {first + i: dict.fromkeys(chance.sample(goods, 2), 1) for i in range(8)}
            assert {d.verdict for d in reservations.deduct(TX, batch)} == {ReservationState.DEDUCTED}

    _together(work)
    assert tries == []
    assert disagreements(database.engine.url) == []


@pytest.mark.parametrize("name", EXACT)
def test_anything_at_once(name: str, make: Make, database: Database) -> None:
    """Batches, releases, duplicates, restocking and lowering totals, all at once: the ledger is exact at the end."""
    levels = Levels(database)
    for goods_id in GOODS:
        levels.set_total(goods_id, 40)
    reservations = make(name)

    def work(number: int) -> None:
        chance = random.Random(number)
        for step in range(12):
            order_ids = [chance.randrange(1, 120) for _ in range(chance.randrange(1, 4))]
            _anything(chance, step, reservations, levels, order_ids)

    _together(work)
    assert disagreements(database.engine.url) == []


def _anything(
    chance: random.Random, step: int, reservations: Reservations[Lines], levels: Levels, order_ids: list[int]
) -> None:
    if step % 4 == 3:
        reservations.release(dict.fromkeys(order_ids, TX))
    elif step % 6 == 4:
        levels.restock(chance.choice(GOODS), 1)
    elif step % 6 == 5:
        goods_id = chance.choice(GOODS)
        level = levels.get(goods_id)
        with suppress(model.BelowReserved):  # somebody took them meanwhile
            levels.set_total(goods_id, max(0, level.total - level.available // 2))
    else:
        wanted = {o: {g: chance.randrange(1, 4) for g in chance.sample(GOODS, 2)} for o in order_ids}
        with suppress(StockContended):  # refused, and nothing happened: the ledger tells
            reservations.deduct(TX, wanted)


@pytest.mark.parametrize("name", EXACT)
def test_strategies_side_by_side(name: str, make: Make, database: Database) -> None:
    """Instances may switch one after the other: each strategy respects what the others write."""
    Levels(database).set_total(1, 30)
    ours, theirs = make(name), make("conditional")
    verdicts: list[str] = []

    def work(number: int) -> None:
        reservations = ours if number % 2 else theirs
        verdicts.extend(_deduct_at_last(reservations, number * 100 + i + 1, {1: 1}) for i in range(6))

    _together(work)
    assert verdicts.count(ReservationState.DEDUCTED) == 30
    assert disagreements(database.engine.url) == []


@pytest.mark.parametrize("name", EXACT)
def test_batch_verdicts(name: str, make: Make, database: Database) -> None:
    """Each order of a batch gets a verdict of its own; a short one gives back what it had taken already."""
    for goods_id, total in ((1, 5), (2, 1)):
        Levels(database).set_total(goods_id, total)
    batch = {1: {1: 2}, 2: {1: 1, 2: 2}, 3: {1: 3, 2: 1}, 4: {1: 1, 9: 1}}
    decisions = make(name).deduct(TX, batch)
    assert [(d.verdict, short_of(d)) for d in decisions] == [
        ("deducted", ()),
        ("insufficient", (2,)),
        ("deducted", ()),
        ("insufficient", (1, 9)),
    ]
    assert disagreements(database.engine.url) == []


class _Together(Naive):
    """Naive, with every reader held until the other has read as well: the race, every time."""

    def __init__(self, readers: threading.Barrier) -> None:
        self._readers = readers

    def begin(self, connection: Connection, goods_ids: Any, orders: int) -> None:
        pass

    def _take_one(self, connection: Connection, goods_id: int, quantity: int) -> bool:
        reading = _Reading(connection, _Waiting(connection.scalar, self._readers))
        return super()._take_one(reading, goods_id, quantity)  # type: ignore[arg-type]


class _Waiting:
    def __init__(self, scalar: Callable[..., Any], readers: threading.Barrier) -> None:
        self._scalar, self._readers = scalar, readers

    def __call__(self, statement: Any) -> Any:
        found = self._scalar(statement)
        self._readers.wait(5)
        return found


class _Reading:
    def __init__(self, connection: Connection, scalar: _Waiting) -> None:
        self._connection, self.scalar = connection, scalar

    def execute(self, statement: Any) -> Any:
        return self._connection.execute(statement)


def test_naive_oversells(database: Database) -> None:
    """Two that read before either writes both get the last piece: why there are the other strategies."""
    Levels(database).set_total(1, 1)
    reservations = stock_reservations(database, _Together(threading.Barrier(2)))
    with ThreadPoolExecutor(2) as pool:
        verdicts = list(pool.map(lambda order_id: _deduct(reservations, order_id, {1: 1}), (1, 2)))
    assert verdicts == [ReservationState.DEDUCTED] * 2
    assert disagreements(database.engine.url) == ["goods 1: total 1, available 0, reserved 2"]
    with database.read() as connection:
        assert connection.scalar(select(func.sum(model.reservation_lines.c.quantity))) == 2


def test_expired_lock_is_fenced(database: Database, redis_url: str, open_redis: OpenRedis) -> None:
    """A holder that was paused beyond its lock, while another got through, writes nothing on what it had read."""
    Levels(database).set_total(1, 1)
    first = _Paused(open_redis(redis_url), held_for=0.05)
    second = RedisLock(open_redis(redis_url))
    first.while_paused = lambda: _deduct(stock_reservations(database, second), 2, {1: 1})
    assert _deduct(stock_reservations(database, first), 1, {1: 1}) == INSUFFICIENT
    assert first.other_verdict == ReservationState.DEDUCTED
    assert disagreements(database.engine.url) == []


class _Paused(RedisLock):
    """Its first transaction stops between its read and its write, until another got the lock and all done."""

    while_paused: Callable[[], str]
    other_verdict: str | None = None

    def run(self, goods_ids: Any, transact: Any) -> Any:
        return super().run(goods_ids, lambda taker: transact(_PausedTaker(taker, self)))

    def pause(self) -> None:
        if self.other_verdict is None:
            self.other_verdict = self.while_paused()


class _PausedTaker:
    def __init__(self, taker: Any, owner: _Paused) -> None:
        self._taker, self._owner = taker, owner

    def take_all(self, connection: Connection, orders: Mapping[int, Mapping[int, int]]) -> Any:
        return take_one_by_one(self, connection, orders)

    def begin(self, connection: Connection, goods_ids: Any, orders: int) -> None:
        self._taker.begin(connection, goods_ids, orders)

    def take(self, connection: Connection, lines: Mapping[int, int]) -> list[int]:
        owner = self._owner

        class Pausing:
            def execute(self, statement: Any, *values: Any) -> Any:
                if statement.is_update:
                    owner.pause()
                return connection.execute(statement, *values)

        return list(self._taker.take(Pausing(), lines))


def test_lost_tokens_catch_up(
    make: Make, database: Database, redis_url: str, open_redis: OpenRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Redis that lost its counter issues tokens above what the database has seen, after one look."""
    monkeypatch.setattr(redis_lock, "_ATTEMPTS", 2)
    Levels(database).set_total(1, 9)
    assert [_deduct(make("redis-lock"), order_id, {1: 1}) for order_id in (1, 2, 3)] == [ReservationState.DEDUCTED] * 3
    open_redis(redis_url).call(lambda client: client.delete(redis_lock.COUNTER))
    assert [_deduct(make("redis-lock"), order_id, {1: 1}) for order_id in (4, 5)] == [ReservationState.DEDUCTED] * 2
    assert disagreements(database.engine.url) == []


def test_lock_that_is_never_free(
    database: Database, redis_url: str, open_redis: OpenRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another keeps the lock: refused in time, nothing taken; free again: works."""
    monkeypatch.setattr(redis_lock, "_WAIT", 0.05)
    Levels(database).set_total(1, 9)
    client = open_redis(redis_url)
    reservations = stock_reservations(database, RedisLock(client))
    held = client.call(lambda redis: redis.lock("orders:stock:lock:1", timeout=10))
    assert held.acquire()
    with pytest.raises(StockContended):
        _deduct(reservations, 1, {1: 1})
    held.release()
    assert _deduct(reservations, 1, {1: 1}) == ReservationState.DEDUCTED


def test_optimistic_gives_up(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that always changes between read and write: refused after so many tries, nothing taken."""
    Levels(database).set_total(1, 9)
    strategy: Strategy = make_strategy("optimistic", None, production=False)
    reservations = stock_reservations(database, strategy)
    changing = Levels(database)

    class Restless:
        def __init__(self, connection: Connection) -> None:
            self._connection = connection

        def execute(self, statement: Any) -> Any:
            result = self._connection.execute(statement)
            if statement.is_select:
                with ThreadPoolExecutor(1) as pool:
                    pool.submit(changing.set_total, 1, 9).result()
            return result

    take_one = type(strategy)._take_one  # type: ignore[attr-defined]
    monkeypatch.setattr(type(strategy), "_take_one", lambda self, c, g, q: take_one(self, Restless(c), g, q))
    with pytest.raises(StockContended):
        _deduct(reservations, 1, {1: 1})
    assert Levels(database).get(1).available == 9


def test_release_beside_deductions(make: Make, database: Database) -> None:
    """Under every strategy a release adds to what is there, whatever is being taken."""
    for name in EXACT:
        base = EXACT.index(name) * 1000 + 1
        Levels(database).set_total(base, 10)
        reservations = make(name)
        for order_id in range(base, base + 10):
            _deduct(reservations, order_id, {base: 1})

        def work(number: int, reservations: Reservations[Lines] = reservations, base: int = base) -> None:
            if number % 2:
                reservations.release({base + number: TX})
            else:
                _deduct_at_last(reservations, base + 100 + number, {base: 1})

        _together(work)
    assert disagreements(database.engine.url) == []
    with database.read() as connection:
        states = connection.scalars(select(model.reservations.c.state)).all()
    assert states.count(ReservationState.RELEASED.value) == THREADS // 2 * len(EXACT)


def _after_first_update(database: Database, deed: Callable[[], object]) -> None:
    """Have `deed` done by another between the first UPDATE of the next transaction and what follows it."""
    left = [deed]

    def between(_c: Any, _cursor: Any, statement: str, _p: Any, _context: Any, _many: bool) -> None:
        if statement.startswith("UPDATE") and left:
            left.pop()()

    event.listen(database.engine, "after_cursor_execute", between)


def test_deduction_committed_while_it_is_released(
    database: Database, url: str, open_database: OpenDatabase, make: Make
) -> None:
    """A deduction that commits between the release's UPDATE, which missed it, and its look is released all the same."""
    Levels(database).set_total(1, 5)
    theirs = make("conditional")
    ours = open_database(url)
    _after_first_update(ours, lambda: _deduct(theirs, 7, {1: 2}))
    stock_reservations(ours).release({7: TX})
    assert theirs.get(7).state is ReservationState.RELEASED
    assert Levels(database).get(1) == Level(1, 5, 5)


def test_goods_inserted_while_their_total_is_set(database: Database, url: str, open_database: OpenDatabase) -> None:
    """A writer that loses the race to be first with goods sets or adds to what the other wrote, and refuses nothing."""
    for goods_id, change, expected in ((1, Levels.set_total, 5), (2, Levels.restock, 8)):
        ours = open_database(url)
        _after_first_update(ours, lambda goods_id=goods_id: Levels(database).set_total(goods_id, 3))  # type: ignore[misc]
        change(Levels(ours), goods_id, 5)
        assert Levels(database).get(goods_id) == Level(goods_id, expected, expected)
