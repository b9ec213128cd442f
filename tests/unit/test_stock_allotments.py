"""Allotments: what a flash sale owns is moved out of what is available, and back, each way once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from common.db import Database
from common.errors import Invalid
from halfmessage.errors import DuplicateRow, NotFound, Unavailable
from stock import model
from stock.model import BelowReserved, InsufficientStock
from stock.service import allotments as module
from stock.service.allotments import Allotment, Allotments
from stock.service.levels import Level, Levels
from stock.service.pieces import stock_reservations
from tests.fakes import open_database

GOODS, SALE = 1, 70


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path / "stock.db", model.metadata)
    Levels(database).set_total(GOODS, 10)
    yield database
    database.close()


def own(database: Database, quantity: int, version: int, *, sale_id: int = SALE, goods_id: int = GOODS) -> Allotment:
    return Allotments(database).put(Allotment(sale_id, goods_id, quantity, version))


def level(database: Database) -> Level:
    return Levels(database).get(GOODS)


def test_a_sale_owns_pieces_that_no_order_can_have(database: Database) -> None:
    """They leave what is available, not the total; orders get what is left."""
    assert own(database, 8, 1) == Allotment(SALE, GOODS, 8, 1)
    assert Allotments(database).get(SALE).quantity == 8
    assert level(database) == Level(GOODS, 10, 2)
    verdicts = [one.verdict for one in stock_reservations(database).deduct(1, {7: {GOODS: 2}, 8: {GOODS: 1}})]
    assert verdicts == ["deducted", "insufficient"]
    with pytest.raises(BelowReserved):
        Levels(database).set_total(GOODS, 9)


def test_what_is_lowered_is_available_again(database: Database) -> None:
    """Raised and lowered, as the sale says."""
    for version, quantity in enumerate((8, 3, 5, 0), 1):
        own(database, quantity, version)
        assert level(database) == Level(GOODS, 10, 10 - quantity)


def test_a_word_that_comes_again_or_late_changes_nothing(database: Database) -> None:
    """The answer is what the sale owns."""
    own(database, 8, 1)
    assert own(database, 8, 1).quantity == 8
    own(database, 2, 3)
    for late in (1, 2, 3):
        assert own(database, 9, late) == Allotment(SALE, GOODS, 2, 3)
    assert level(database) == Level(GOODS, 10, 8)


def test_a_sale_that_was_given_up_before_it_owned_anything_never_does(database: Database) -> None:
    """Its last word may come before its first: nothing is moved, and the first one is late."""
    assert own(database, 0, 2, goods_id=99).quantity == 0
    assert own(database, 8, 1, goods_id=99).quantity == 0
    assert level(database) == Level(GOODS, 10, 10)


def test_more_than_there_is_is_refused(database: Database) -> None:
    """Whether the sale is new or not; nothing is moved, and a smaller one may follow."""
    with pytest.raises(InsufficientStock):
        own(database, 11, 1)
    with pytest.raises(NotFound):
        Allotments(database).get(SALE)
    own(database, 4, 1)
    with pytest.raises(InsufficientStock):
        own(database, 11, 2)
    assert own(database, 10, 2).quantity == 10
    with pytest.raises(InsufficientStock):
        own(database, 1, 1, sale_id=SALE + 1, goods_id=GOODS + 1)  # goods that never had stock


def test_a_move_that_another_one_overtakes_is_reckoned_anew(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From what the other one left, not from what was read before it."""
    own(database, 4, 1)
    find, read_before = module._find, [Allotments(database).get(SALE)]
    own(database, 6, 2)
    monkeypatch.setattr(module, "_find", lambda *asked: read_before.pop() if read_before else find(*asked))
    assert own(database, 3, 3) == Allotment(SALE, GOODS, 3, 3)
    assert level(database) == Level(GOODS, 10, 7)


def test_a_sale_is_of_one_goods(database: Database) -> None:
    """Another one under the same id is a mistake."""
    Levels(database).set_total(2, 5)
    own(database, 4, 1)
    with pytest.raises(Invalid):
        own(database, 4, 2, goods_id=2)
    assert Levels(database).get(2) == Level(2, 5, 5)


def test_it_is_seen_by_every_way_of_taking_stock(database: Database) -> None:
    """A caller that read what there was before finds another version."""
    versions = []
    for version, quantity in enumerate((8, 3, 3), 1):
        own(database, quantity, version)
        with database.read() as connection:
            versions.append(connection.scalar(select(model.stock.c.version)))
    assert versions == [versions[0], versions[0] + 1, versions[0] + 1]


def test_the_same_sale_at_once(database: Database) -> None:
    """The latest word counts, and the pieces are moved once."""
    with ThreadPoolExecutor(8) as threads:
        words = [(quantity, version) for version, quantity in enumerate((9, 1, 7, 3), 1) for _ in range(2)]
        list(threads.map(lambda word: own(database, *word), words))
    assert Allotments(database).get(SALE) == Allotment(SALE, GOODS, 3, 4)
    assert level(database) == Level(GOODS, 10, 7)


def test_a_sale_that_another_has_moved_since_it_was_read(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces that went back already don't go back once more: it is read again."""
    own(database, 9, 1)
    stale = [Allotment(SALE, GOODS, 9, 1)]
    own(database, 1, 2)
    find = module._find
    monkeypatch.setattr(module, "_find", lambda *asked: stale.pop() if stale else find(*asked))
    own(database, 3, 3)
    assert level(database) == Level(GOODS, 10, 7)


def test_a_sale_that_others_move_all_the_time(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends, and says that nothing was changed."""

    def raced(*_: object) -> None:
        raise DuplicateRow

    monkeypatch.setattr(module, "_put", raced)
    with pytest.raises(Unavailable):
        own(database, 1, 1)
