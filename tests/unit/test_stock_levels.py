"""Stock levels: set, added to, never below what is reserved."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, select

from common import idempotency
from common.db import Database
from common.errors import IdempotencyMismatch, Invalid
from common.idempotency import Answered, IdempotencyKey, Keys
from halfmessage.errors import CommitOutcomeUnknown, DuplicateRow, OutcomeUnknown
from stock import model
from stock.model import BelowReserved
from stock.service.levels import MOST, Level, Levels
from stock.service.pieces import stock_reservations
from tests.fakes import open_database
from tests.support import Transactions


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


def test_a_total_that_is_set_is_another_version(database: Database, levels: Levels) -> None:
    """A later one, also where the numbers are equal: who has looked before, and goes by the version, looks again."""
    versions = []
    for _ in range(3):
        levels.set_total(1, 5)
        with database.read() as connection:
            versions.append(connection.scalar(select(model.stock.c.version)))
    assert versions == sorted(set(versions))


def test_restock(levels: Levels) -> None:
    """Pieces that come in are added to the total and to what is available; the first ones too."""
    assert levels.restock(1, 5).answer == Level(1, 5, 5)
    assert levels.restock(1, 2).answer == levels.get(1) == Level(1, 7, 7)


def test_reserved_stay_reserved(database: Database, levels: Levels) -> None:
    """Setting the total and adding to it leave what is reserved alone; a total below it is refused."""
    levels.set_total(1, 10)
    stock_reservations(database).deduct(1, {7: {1: 4}})
    assert levels.set_total(1, 4) == Level(1, 4, 0)
    with pytest.raises(BelowReserved):
        levels.set_total(1, 3)
    assert levels.restock(1, 2).answer == levels.get(1) == Level(1, 6, 2)


def test_withdrawn_are_pieces_that_no_order_holds(database: Database, levels: Levels) -> None:
    """They leave the total too; as many as are available, and none of goods that never had any."""
    levels.set_total(1, 10)
    stock_reservations(database).deduct(1, {7: {1: 4}})
    assert levels.withdraw(1, 2).answer == levels.get(1) == Level(1, 8, 4)
    with pytest.raises(BelowReserved):
        levels.withdraw(1, 5)
    assert levels.withdraw(1, 4).answer == Level(1, 4, 0)
    with pytest.raises(BelowReserved):
        levels.withdraw(2, 1)
    assert levels.get(2) == Level(2, 0, 0)


def test_withdrawing_is_seen_by_every_way_of_taking_stock(database: Database, levels: Levels) -> None:
    """A caller that read what there was before it finds another version."""
    levels.set_total(1, 10)
    with database.read() as connection:
        before = connection.scalar(select(model.stock.c.version))
    levels.withdraw(1, 1)
    with database.read() as connection:
        assert connection.scalar(select(model.stock.c.version)) > before


def test_withdrawn_once_for_each_key(levels: Levels) -> None:
    """A retry gets the first answer; a refusal leaves no key."""
    levels.set_total(1, 3)
    with pytest.raises(BelowReserved):
        levels.withdraw(1, 5, KEY)
    levels.set_total(1, 10)
    assert levels.withdraw(1, 5, KEY) == Answered(Level(1, 5, 5))
    assert levels.withdraw(1, 5, KEY) == Answered(Level(1, 5, 5), replayed=True)
    assert levels.get(1) == Level(1, 5, 5)


@pytest.mark.parametrize(("change", "there"), [("withdraw", 5), ("restock", MOST - 5)])
def test_a_retry_that_finds_its_first_call_s_pieces_alone(
    levels: Levels, monkeypatch: pytest.MonkeyPatch, change: str, there: int
) -> None:
    """Its look was before the first call's commit, its change after that, and refused: it gets the first answer."""
    levels.set_total(1, there)
    call = getattr(levels, change)
    done = call(1, 5, KEY)
    looked, look = [], Keys._first

    def too_early(*args: Any) -> Any:
        looked.append(args)
        return None if len(looked) == 1 else look(*args)

    monkeypatch.setattr(Keys, "_first", too_early)
    assert call(1, 5, KEY) == replace(done, replayed=True)
    looked.clear()
    with pytest.raises(IdempotencyMismatch):
        call(1, 6, replace(KEY, request_hash="another"))


def test_most(levels: Levels) -> None:
    """There is a most of everything; what would exceed it is refused and changes nothing."""
    levels.set_total(1, MOST - 1)
    assert levels.restock(1, 1).answer.total == MOST
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
    getattr(levels, use_case)(1, 7)
    assert levels.get(1).total == {"set_total": 7, "restock": 12}[use_case]


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


KEY = IdempotencyKey("alice", "k", "h" * 64)


def test_restock_under_a_key(levels: Levels) -> None:
    """The same key again: the first answer, though there is more meanwhile, and nothing more added."""
    assert levels.restock(1, 5, KEY) == Answered(Level(1, 5, 5))
    levels.restock(1, 2)
    assert levels.restock(1, 5, KEY) == Answered(Level(1, 5, 5), replayed=True)
    assert levels.restock(1, 5, replace(KEY, user_id="bob")) == Answered(Level(1, 12, 12))
    with pytest.raises(IdempotencyMismatch):
        levels.restock(1, 5, replace(KEY, request_hash="i" * 64))
    assert levels.get(1).total == 12


def test_a_key_of_an_earlier_release(levels: Levels) -> None:
    """A retry across an upgrade gets the first answer, though its request is hashed otherwise now."""
    levels.restock(1, 5, replace(KEY, request_hash="old"))
    again = replace(KEY, older_hashes=("older", "old"))
    assert levels.restock(1, 5, again) == Answered(Level(1, 5, 5), replayed=True)


def test_a_refused_restock_leaves_no_key(levels: Levels) -> None:
    """What changed nothing may succeed later."""
    levels.set_total(1, MOST)
    with pytest.raises(Invalid):
        levels.restock(1, 1, KEY)
    levels.set_total(1, 0)
    assert levels.restock(1, 1, KEY) == Answered(Level(1, 1, 1))


def test_one_key_at_once_adds_once(levels: Levels) -> None:
    """However many come at the same moment."""
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: levels.restock(1, 3, KEY), range(8)))
    assert sorted(one.replayed for one in found) == [False] + [True] * 7
    assert {one.answer for one in found} == {Level(1, 3, 3)} == {levels.get(1)}


def test_a_key_taken_in_between_is_found(database: Database, levels: Levels, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process commits the same key after our look at it: its answer is ours, and our pieces are not added."""
    first, others = Keys[Level]._first, Levels(database)
    raced: list[int] = []

    def overlook(self: Keys[Level], connection: Connection, key: IdempotencyKey) -> Answered[Level] | None:
        if raced:
            return first(self, connection, key)
        raced.append(1)
        return None

    others.restock(1, 4, KEY)
    monkeypatch.setattr(Keys, "_first", overlook)
    assert levels.restock(1, 4, KEY) == Answered(Level(1, 4, 4), replayed=True)
    assert levels.get(1).total == 4


def test_a_lost_answer_to_commit_is_told(levels: Levels, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller is told that it may have been done, and the same key then finds what was."""
    monkeypatch.setattr(database, "_commit", lost_after(database._commit))
    with pytest.raises(OutcomeUnknown):
        levels.restock(1, 3, KEY)
    monkeypatch.undo()
    assert levels.restock(1, 3, KEY) == Answered(Level(1, 3, 3), replayed=True)


def lost_after(commit: Any) -> Any:
    def lose(*arguments: Any) -> None:
        commit(*arguments)
        raise CommitOutcomeUnknown

    return lose


def test_keys_are_purged_by_age(database: Database, levels: Levels, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old ones, so many in a transaction, until none is left; younger ones go on answering."""
    monkeypatch.setattr("common.purging.VALUES", 2)
    monkeypatch.setattr(idempotency, "now_ms", lambda: 1_000_000)
    for n in range(5):
        levels.restock(1, 10, IdempotencyKey("ann", f"old-{n}", "h"))
    monkeypatch.setattr(idempotency, "now_ms", lambda: 1_060_000)
    young = IdempotencyKey("ann", "young", "h")
    levels.restock(1, 10, young)
    rows = Transactions(database)
    assert idempotency.purge_older(database, model.idempotency_keys, retention=60.0) == 0
    monkeypatch.setattr(idempotency, "now_ms", lambda: 1_060_001)
    assert idempotency.purge_older(database, model.idempotency_keys, retention=60.0) == 5
    assert rows.largest == 2
    assert levels.restock(1, 10, young).replayed
    assert not levels.restock(1, 10, IdempotencyKey("ann", "old-0", "h")).replayed
