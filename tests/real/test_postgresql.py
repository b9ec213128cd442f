"""What the library says and does on PostgreSQL: rows refused, locks, sessions that end, and what COMMIT may mean."""

import select
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import IntegrityError

from halfmessage import db, postgresql
from halfmessage.db import EngineTransactor, prepare
from halfmessage.errors import (
    BelowZero,
    CommitOutcomeUnknown,
    DatabaseUnavailable,
    DuplicateRow,
    Misconfigured,
    RowRefused,
)
from halfmessage.transactional import TransactionalMessages
from tests.postgresql import PostgreSQL, server
from tests.real.deadlocks import meet
from tests.support import eventually

Work = Callable[[Connection], Any]
_TABLE = """
CREATE TABLE things (
    id BIGINT PRIMARY KEY, n BIGINT NOT NULL CHECK (n >= 0), name VARCHAR(5),
    late BIGINT UNIQUE DEFERRABLE INITIALLY DEFERRED
)
"""
_INCREMENT = "UPDATE things SET n = n + 1 WHERE id = :id"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgreSQL]:
    """Return the server."""
    made = server()
    yield made
    made.close()


@pytest.fixture
def database(postgres: PostgreSQL) -> Iterator[EngineTransactor]:
    """Return a database with one empty table, as the library prepares it."""
    engine = create_engine(postgres.create())
    prepare(engine)
    database = EngineTransactor(engine)
    database.transact(_run(_TABLE))
    yield database
    engine.dispose()


def _run(statement: str, **values: Any) -> Work:
    return lambda connection: connection.execute(text(statement), values)


def _insert(thing: int, n: int = 0, **more: Any) -> Work:
    columns = ["id", "n", *more]
    values = {"id": thing, "n": n, **more}
    return _run(f"INSERT INTO things ({', '.join(columns)}) VALUES ({', '.join(f':{c}' for c in columns)})", **values)  # noqa: S608


def _ids(database: EngineTransactor) -> list[int]:
    with database.read() as connection:
        return list(connection.scalars(text("SELECT id FROM things ORDER BY id")))


def _end_session(database: EngineTransactor, connection: Connection) -> None:
    """End the session of a connection, as a server that shuts down does; return once this machine knows."""
    pid = connection.scalar(text("SELECT pg_backend_pid()"))
    driver: Any = connection.connection.dbapi_connection
    with database.engine.connect() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    eventually(lambda: postgresql.is_dead(driver))


def test_errors_of_rows(database: EngineTransactor) -> None:
    """A key that exists, a failed CHECK and a value that does not fit are told apart, and leave nothing behind."""
    database.transact(_insert(1))
    for work, error in (
        (_insert(1), DuplicateRow),
        (_insert(2, -1), BelowZero),
        (_insert(2, name="too long"), RowRefused),
        (_insert(2, name="a\0b"), RowRefused),
        (_insert(2**63), RowRefused),
    ):
        with pytest.raises(error):
            database.transact(work)
    assert _ids(database) == [1]


def test_what_a_deferred_constraint_refuses(database: EngineTransactor) -> None:
    """It is said in COMMIT, and for certain: nothing was committed."""
    database.transact(_insert(1, late=7))
    with pytest.raises(DuplicateRow):
        database.transact(_insert(2, late=7))
    assert _ids(database) == [1]
    database.transact(_insert(2, late=8))


def test_deadlock_is_repeated(database: EngineTransactor) -> None:
    """Two transactions that lock two rows in opposite orders both get through."""
    for thing in (1, 2):
        database.transact(_insert(thing))
    tries = meet(database.transact, lambda thing: _run(_INCREMENT, id=thing))
    with database.read() as connection:
        assert connection.scalars(text("SELECT n FROM things")).all() == [2, 2]
    assert tries == 3


def test_a_lock_is_waited_for_with_a_bound(postgres: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's own bound is none; what waits for too long is repeated, and in the end unavailable."""
    monkeypatch.setattr(db, "LOCK_WAIT", 0.05)
    monkeypatch.setattr(db, "_ATTEMPTS_WITHIN", 0.2)
    engine = create_engine(postgres.create())
    prepare(engine)
    database = EngineTransactor(engine)
    database.transact(_run(_TABLE))
    database.transact(_insert(1))
    starts: list[float] = []

    def work(connection: Connection) -> None:
        starts.append(time.monotonic())
        _run(_INCREMENT, id=1)(connection)

    with engine.connect() as holder:
        holder.execute(text("UPDATE things SET n = 5 WHERE id = 1"))
        with pytest.raises(DatabaseUnavailable):
            database.transact(work)
        assert len(starts) > 1
        holder.commit()
    database.transact(work)
    with database.read() as connection:
        assert connection.scalar(text("SELECT n FROM things")) == 6
    engine.dispose()


def test_any_engine_is_prepared_by_the_library(postgres: PostgreSQL) -> None:
    """Also connections that were made before."""
    engine = create_engine(postgres.create())
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW lock_timeout")) == "0"
    for _ in range(2):  # once is enough
        TransactionalMessages("shop", engine, broker="table://")
        with engine.connect() as connection:
            assert connection.scalar(text("SHOW lock_timeout")) == "5s"
    engine.dispose()


def test_session_that_ended_before_commit(database: EngineTransactor) -> None:
    """It has committed nothing: the work runs again, whether a statement tells, or only COMMIT would."""
    ended: list[str] = []

    def work(connection: Connection) -> None:
        _insert(len(ended))(connection)
        if len(ended) < 2:
            _end_session(database, connection)
            ended.append("before COMMIT" if ended else "before a statement")
            if len(ended) == 1:
                connection.execute(text("SELECT 1"))

    database.transact(work)
    assert ended == ["before a statement", "before COMMIT"]
    assert _ids(database) == [2]


def test_session_that_ended_in_commit(database: EngineTransactor, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not known whether it committed, and no caller is told that it did not."""

    def ended_since(connection: Connection) -> bool:
        _end_session(database, connection)
        return True

    monkeypatch.setattr(db, "_is_there", ended_since)
    with pytest.raises(CommitOutcomeUnknown):
        database.transact(_insert(1))
    monkeypatch.undo()
    database.transact(_insert(2))
    assert _ids(database) == [2]


def test_a_statement_that_failed_and_was_swallowed(database: EngineTransactor) -> None:
    """COMMIT would roll back, and say nothing: it is refused. In a savepoint it concerns nothing else."""

    def swallows(connection: Connection) -> None:
        _insert(1)(connection)
        with suppress(IntegrityError):
            _insert(1)(connection)

    with pytest.raises(Misconfigured, match="outside of a savepoint"):
        database.transact(swallows)
    assert _ids(database) == []

    def saves(connection: Connection) -> None:
        _insert(1)(connection)
        with suppress(IntegrityError), connection.begin_nested():
            _insert(1)(connection)

    database.transact(saves)
    assert _ids(database) == [1]


def test_a_server_that_may_not_write(postgres: PostgreSQL, database: EngineTransactor) -> None:
    """A standby: unavailable, nothing happened, and the next connection may reach one that writes."""
    name = database.engine.url.database
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    database.engine.dispose()
    with pytest.raises(DatabaseUnavailable):
        database.transact(_insert(1))
    postgres.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    database.engine.dispose()
    database.transact(_insert(1))


def test_snapshot(database: EngineTransactor) -> None:
    """Statements of a snapshot see one state, though others commit between them; the connection is as before after."""
    database.transact(_insert(1))
    count = text("SELECT COUNT(*) FROM things")
    with database.read(snapshot=True) as connection:
        assert connection.scalar(count) == 1
        database.transact(_insert(2))
        assert connection.scalar(count) == 1
    with database.read() as connection:
        assert connection.get_isolation_level() == "READ COMMITTED"
        assert connection.scalar(count) == 2


def test_notifications_are_no_end(database: EngineTransactor) -> None:
    """What a session listens for comes while it is idle, and is not taken for a goodbye."""
    with database.engine.connect() as connection:
        connection.execute(text("LISTEN news"))
        connection.commit()
        driver: Any = connection.connection.dbapi_connection
        database.transact(_run("NOTIFY news"))
        eventually(lambda: select.select([driver], [], [], 0)[0])
        assert not postgresql.is_dead(driver)
