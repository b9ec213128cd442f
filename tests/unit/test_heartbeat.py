"""Whether a database can be written: a probe that says what the next transaction would meet."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path

import pytest
from sqlalchemy import MetaData, text

from common import db as db_module
from common.db import Database
from common.heartbeat import Heartbeat, heartbeat_table
from common.registry import ALL_NAMES
from halfmessage import db as transactions
from halfmessage.errors import DatabaseUnavailable

METADATA = MetaData()
heartbeat_table(METADATA)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/test.db")
    METADATA.create_all(database.engine)
    yield database
    database.close()


def _beats(database: Database) -> list[int]:
    with database.read() as connection:
        return list(connection.scalars(text("SELECT beats FROM heartbeat")))


def test_a_beat_is_written(database: Database) -> None:
    """One row, changed each time: nothing grows."""
    beat = Heartbeat(database).beat
    for _ in range(3):
        beat()
    assert _beats(database) == [3]


def test_asking_writes_nothing(database: Database, tmp_path: Path) -> None:
    """A probe that comes every second costs no write."""
    Heartbeat(database).beat()
    before = (tmp_path / "test.db-wal").stat().st_size
    for _ in range(10):
        Heartbeat(database).ask()
    assert _beats(database) == [1]
    assert (tmp_path / "test.db-wal").stat().st_size == before


@pytest.mark.parametrize("probe", ["ask", "beat"])
def test_asking_is_statements_that_write(database: Database, probe: str) -> None:
    """A read-only MariaDB refuses those alone, not an empty transaction; a user may lack the right to one kind."""
    Heartbeat(database).beat()
    sent: list[str] = []
    db_module.event.listen(database.engine, "before_cursor_execute", lambda *event: sent.append(event[2]))
    getattr(Heartbeat(database), probe)()
    kinds = {statement.split()[0] for statement in sent if not statement.startswith("BEGIN")}
    assert kinds == {"UPDATE", "INSERT", "DELETE"}
    assert _beats(database) == [1 if probe == "ask" else 2]


def test_a_database_that_is_only_read(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locked by another process: it answers reads, and both probes say that it can't be written; then that it can."""
    for module in (db_module, transactions):
        monkeypatch.setattr(module, "LOCK_WAIT", 0.05)
    heartbeat = Heartbeat(Database(str(database.engine.url)))
    with closing(sqlite3.connect(database.engine.url.database or "", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        database.ping()
        for probe in (heartbeat.ask, heartbeat.beat):
            with pytest.raises(DatabaseUnavailable):
                probe()
        other.execute("ROLLBACK")
    heartbeat.ask()
    heartbeat.beat()
    heartbeat._database.close()


def test_a_file_that_may_not_be_written(database: Database) -> None:
    """Both probes say so, though it answers reads."""

    def only_read(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA query_only = ON")

    other = Database(str(database.engine.url))
    db_module.event.listen(other.engine, "connect", only_read)
    other.ping()
    for probe in (Heartbeat(other).ask, Heartbeat(other).beat):
        with pytest.raises(DatabaseUnavailable):
            probe()
    other.close()


@pytest.mark.parametrize("service", ALL_NAMES)
def test_every_service_has_the_table(service: str) -> None:
    """Each of them writes."""
    assert "heartbeat" in import_module(f"{service}.model").metadata.tables
