"""Counts beside reservations: changed by what is asked, however many at once, and nothing beside."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, event, insert, select

from common.db import Database
from halfmessage.participant.counts import Counts
from tests.fakes import open_database

metadata = MetaData()
seats = Table(
    "seats",
    metadata,
    Column("seat", String(8), primary_key=True),
    Column("held", Integer, nullable=False),
    Column("used", Integer, nullable=False),
    Column("version", Integer, nullable=False),
)
COUNTS = Counts(seats.c.seat, "held", "used", also="version = version + 1")
MANY = [f"s{number:04}" for number in range(500)]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path / "seats.db", metadata)
    rows = [{"seat": seat, "held": 10, "used": 20, "version": 1} for seat in MANY]
    database.transact(lambda connection: connection.execute(insert(seats), rows))
    yield database
    database.close()


def test_each_row_by_its_own(database: Database) -> None:
    """Each column by its own number, and a row that is not named by nothing; in as few statements as SQLite allows."""
    changes = {seat: (number, -number) for number, seat in enumerate(MANY[:-1])}
    sent: list[int] = []
    event.listen(database.engine, "before_cursor_execute", lambda *args: sent.append(len(args[3])))
    database.transact(lambda connection: COUNTS.add(connection, changes))
    assert [number for number in sent if number > 2] == [900, 900, 695]
    with database.read() as connection:
        rows = {row.seat: tuple(row[1:]) for row in connection.execute(select(seats))}
    expected = {seat: (10 + held, 20 + used, 2) for seat, (held, used) in changes.items()}
    assert rows == expected | {MANY[-1]: (10, 20, 1)}


def test_locked_in_the_order_of_keys(database: Database) -> None:
    """Those that there are, whole, whatever order they are named in."""
    rows = database.transact(lambda connection: COUNTS.lock(connection, ["s0007", "s0003", "none"]))
    assert list(rows) == ["s0003", "s0007"]
    assert (rows["s0007"].held, rows["s0007"].used) == (10, 20)
