"""Which strategy a setting means, and which are refused; what the fence does with tokens, on any database."""

from collections.abc import Callable, Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection

from common.config import Settings
from common.redis_client import RedisClient
from halfmessage.errors import HalfMessageError
from stock import model
from stock.service.levels import Level, Levels
from stock.service.pieces import stock_reservations
from stock.service.strategies import redis_lock
from stock.service.strategies.factory import NAMES, make_strategy
from stock.service.strategies.in_database import Conditional
from stock.service.strategies.port import Lines, StockContended
from tests.fakes import open_database
from tests.support import short_of


def test_default_is_conditional() -> None:
    """One guarded UPDATE, unless told otherwise."""
    settings = Settings(port=0, jwt_secret="x" * 32, database_url="sqlite://")  # type: ignore[arg-type]
    assert settings.stock_strategy == "conditional"
    assert type(make_strategy("conditional", None, production=True)) is Conditional


def test_settings_and_factory_know_the_same_names() -> None:
    """No strategy that can be set is unknown, and none is left out."""
    field = Settings.model_fields["stock_strategy"]
    assert sorted(field.annotation.__args__) == sorted(NAMES)  # type: ignore[union-attr]


def test_naive_is_refused_in_production() -> None:
    """It oversells; elsewhere it may be looked at."""
    make_strategy("naive", None, production=False)
    with pytest.raises(HalfMessageError, match="oversells"):
        make_strategy("naive", None, production=True)


def test_redis_lock_needs_redis() -> None:
    """Without a Redis it can't be chosen."""
    with pytest.raises(HalfMessageError, match="ORDERS_REDIS_URL"):
        make_strategy("redis-lock", None, production=False)
    make_strategy("redis-lock", RedisClient("redis://127.0.0.1:1"), production=False)


def test_unknown() -> None:
    """A name that is none is told, with those that are."""
    with pytest.raises(HalfMessageError, match="conditional"):
        make_strategy("hopeful", None, production=False)


class HeldLocks:
    """A Redis whose locks are each had after so many seconds, if they are waited for that long; its clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, each: float) -> None:
        self.now, self.each, self.held = 0.0, each, 0
        monkeypatch.setattr(redis_lock.time, "monotonic", lambda: self.now)

    def call(self, work: Callable[["HeldLocks"], Any]) -> Any:
        return work(self)

    def lock(self, _name: str, *, blocking_timeout: float, **_: object) -> Any:
        def acquire() -> bool:
            self.now += min(self.each, blocking_timeout)
            had = blocking_timeout >= self.each
            self.held += had
            return had

        def release() -> None:
            self.held -= 1

        return SimpleNamespace(acquire=acquire, release=release)


def test_all_locks_of_a_batch_are_waited_for_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not each for as long: a batch of fifty goods would wait for more than a minute."""
    held = HeldLocks(monkeypatch, 0.6)
    with pytest.raises(StockContended):
        redis_lock.RedisLock(held).run(range(50), lambda _: None)  # type: ignore[arg-type]
    assert held.now == pytest.approx(redis_lock._WAIT)
    assert held.held == 0


@pytest.mark.parametrize("name", [name for name in NAMES if name != "redis-lock"])
def test_each_takes_and_refuses(name: str, tmp_path: Path) -> None:
    """All strategies do the same: whole or not at all, and the version tells of each transaction."""
    database = open_database(tmp_path / "stock.db", model.metadata)
    levels = Levels(database)
    levels.set_total(1, 3)
    reservations = stock_reservations(database, make_strategy(name, None, production=False))
    batch = {1: {1: 2}, 2: {1: 2}, 3: {1: 1, 9: 1}}
    decisions = reservations.deduct(100, batch) + reservations.deduct(101, {4: {1: 1}})
    assert [(d.verdict, short_of(d)) for d in decisions] == [
        ("deducted", ()),
        ("insufficient", (1,)),
        ("insufficient", (9,)),
        ("deducted", ()),
    ]
    assert levels.get(1) == Level(1, 3, 0)
    with database.read() as connection:
        assert connection.scalar(model.stock.select().with_only_columns(model.stock.c.version)) == 2
    database.close()


class _Noting(Conditional):
    """Tells what it is asked for, in order."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def begin(self, connection: Connection, goods_ids: Collection[int], orders: int) -> None:
        self.asked.append((sorted(goods_ids), orders))
        super().begin(connection, goods_ids, orders)

    def take(self, connection: Connection, lines: Lines) -> list[int]:
        self.asked.append(dict(lines))
        return super().take(connection, lines)


def test_one_by_one_a_strategy_prepares_before_it_takes(tmp_path: Path) -> None:
    """As it does together: for all goods of the batch, or two batches would lock them each in its own order."""
    database = open_database(tmp_path / "stock.db", model.metadata)
    for goods_id in (1, 2):
        Levels(database).set_total(goods_id, 9)
    strategy = _Noting()
    reservations = stock_reservations(database, strategy)
    reservations.deduct(100, {1: {1: 1}})
    strategy.asked.clear()
    reservations.deduct(100, {3: {2: 1}, 1: {1: 1}, 2: {1: 2}})
    assert strategy.asked == [([1, 2], 3), {2: 1}, {1: 2}]
    database.close()
