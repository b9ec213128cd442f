"""Stock levels: set, added to, never below what is reserved."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, insert

from common.db import Database
from common.errors import DuplicateRow, Invalid
from stock import model
from stock.model import BelowReserved
from stock.service.levels import MOST, Level, Levels
from stock.service.reservations import Reservations, Wanted
from tests.fakes import open_database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path / "stock.db", model.metadata)
    yield database
    database.close()


@pytest.fixture
def levels(database: Database) -> Levels:
    return Levels(database)


def test_unheard_of(levels: Levels) -> None:
    """Of goods that never had stock there is nothing."""
    assert levels.get(1) == Level(1, 0, 0)


def test_set_total(levels: Levels) -> None:
    """The total may be set, again and again, up and down."""
    for total in (5, 3, 0, 9):
        assert levels.set_total(1, total) == levels.get(1) == Level(1, total, total)


def test_restock(levels: Levels) -> None:
    """Pieces that come in are added to the total and to what is available; the first ones too."""
    assert levels.restock(1, 5) == Level(1, 5, 5)
    assert levels.restock(1, 2) == levels.get(1) == Level(1, 7, 7)


def test_reserved_stay_reserved(database: Database, levels: Levels) -> None:
    """Setting the total and adding to it leave what is reserved alone; a total below it is refused."""
    levels.set_total(1, 10)
    Reservations(database).deduct(1, [Wanted(7, {1: 4})])
    assert levels.set_total(1, 4) == Level(1, 4, 0)
    with pytest.raises(BelowReserved):
        levels.set_total(1, 3)
    assert levels.restock(1, 2) == levels.get(1) == Level(1, 6, 2)


def test_most(levels: Levels) -> None:
    """There is a most of everything; what would exceed it is refused and changes nothing."""
    levels.set_total(1, MOST - 1)
    assert levels.restock(1, 1).total == MOST
    with pytest.raises(Invalid) as caught:
        levels.restock(1, 1)
    assert caught.value.members["errors"][0]["pointer"] == "/quantity"
    assert levels.get(1).total == MOST


@pytest.mark.parametrize("use_case", ["set_total", "restock"])
def test_first_piece_twice_at_once(
    database: Database, levels: Levels, monkeypatch: pytest.MonkeyPatch, use_case: str
) -> None:
    """Where another process inserts the same goods first, the row it left is updated."""
    raced: list[int] = []
    transact = database.transact

    def racing(work: Any) -> Any:
        if not raced:
            raced.append(1)
            transact(lambda c: c.execute(insert(model.stock).values(goods_id=1, total=5, available=5)))
            raise DuplicateRow
        return transact(work)

    monkeypatch.setattr(database, "transact", racing)
    assert getattr(levels, use_case)(1, 7).total == {"set_total": 7, "restock": 12}[use_case]


def test_restock_at_once(levels: Levels) -> None:
    """Nothing that comes in at the same time is lost."""
    threads = [threading.Thread(target=lambda: [levels.restock(1, 1) for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert levels.get(1) == Level(1, 40, 40)


def test_row_that_comes_between_two_looks(database: Database, levels: Levels) -> None:
    """A row that another process inserts after our first look is changed, not refused."""
    looks = iter(["the update finds nothing", "the row comes"])

    def insert_meanwhile(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(("UPDATE", "SELECT")) and next(looks, "") == "the row comes":
            cursor.execute("INSERT INTO stock (goods_id, total, available) VALUES (1, 5, 5)")

    event.listen(database.engine, "before_cursor_execute", insert_meanwhile)
    assert levels.set_total(1, 9) == Level(1, 9, 9)
