"""The goods service's use cases, where REST looks the same without them: what is read, and what is written beside."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from common.db import Database
from goods.model import goods, metadata, rooms
from goods.service import Catalogue, NewGoods, Rooms
from tests.fakes import Ids, open_database

TEA = NewGoods(
    name="Tea",
    brief="",
    category_id=None,
    unit_price=990,
    market_price=990,
    currency="CNY",
    images=(),
    on_sale=True,
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(open_database(tmp_path / "goods.db", metadata)) as database:
        yield database


@pytest.fixture
def catalogue(database: Database) -> Catalogue:
    return Catalogue(database, Ids())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return what time it is, in its only place."""
    now = [1000]
    monkeypatch.setattr("goods.service.now_ms", lambda: now[0])
    return now


def added(catalogue: Catalogue) -> int:
    return catalogue.add(TEA).answer.goods_id


def times(database: Database, goods_id: int) -> tuple[int, int]:
    with database.read() as connection:
        created, updated = connection.execute(
            select(goods.c.created_at, goods.c.updated_at).where(goods.c.goods_id == goods_id)
        ).one()
        return created, updated


def room(database: Database, room_id: int) -> tuple[int | None, int]:
    with database.read() as connection:
        current, updated = connection.execute(
            select(rooms.c.current_goods_id, rooms.c.updated_at).where(rooms.c.room_id == room_id)
        ).one()
        return current, updated


def test_a_list_is_as_long_as_asked_for_and_begins_with_the_newest(catalogue: Catalogue) -> None:
    """The database reads no more rows than the page has, however many goods there are."""
    ids = [added(catalogue) for _ in range(5)]
    assert [one.goods_id for one in catalogue.list(2, None)] == [ids[4], ids[3]]
    assert [one.goods_id for one in catalogue.list(2, ids[3])] == [ids[2], ids[1]]
    assert [one.goods_id for one in catalogue.list(9, None)] == ids[::-1]


def test_a_change_notes_when_it_was(catalogue: Catalogue, database: Database, clock: list[int]) -> None:
    """Of these goods, not of others; when they were added stays."""
    tea, other = added(catalogue), added(catalogue)
    clock[0] = 2000
    catalogue.change(tea, {"unit_price": 1})
    assert (times(database, tea), times(database, other)) == ((1000, 2000), (1000, 1000))
    clock[0] = 3000
    catalogue.change(tea, {})
    assert times(database, tea) == (1000, 2000)


def test_a_room_is_put_beside_others(catalogue: Catalogue, database: Database, clock: list[int]) -> None:
    """What is shown in another room, and since when, stays as it is."""
    tea, rice = added(catalogue), added(catalogue)
    kept = Rooms(database)
    kept.put(1, [tea, rice], tea)
    kept.put(2, [tea, rice], tea)
    clock[0] = 2000
    kept.put(1, [tea, rice], rice)
    assert (room(database, 1), room(database, 2)) == ((rice, 2000), (tea, 1000))
    assert kept.get(2).current_goods_id == tea
