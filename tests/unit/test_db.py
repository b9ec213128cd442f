"""Databases: every driver error translated, nothing repeated that may have been committed."""

import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import Connection, RootTransaction, exc, text

from common import db as db_module
from common import mysql
from common.db import Database
from common.heartbeat import Heartbeat
from halfmessage import db as transactions
from halfmessage.errors import (
    BelowZero,
    CommitOutcomeUnknown,
    DatabaseMoved,
    DatabaseUnavailable,
    DuplicateRow,
    HalfMessageError,
)

Work = Callable[[Connection], Any]


def _wait_at_most(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have writers, and those that want a connection, give up so soon."""
    for module in (db_module, transactions):
        monkeypatch.setattr(module, "LOCK_WAIT", seconds)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/test.db", pool_size=2)
    database.transact(_run("CREATE TABLE things (id INTEGER PRIMARY KEY, n INTEGER CHECK (n >= 0), blob TEXT)"))
    yield database
    database.close()


def _run(statement: str) -> Work:
    return lambda connection: connection.execute(text(statement))


def _insert(thing: int, n: int = 0) -> Work:
    statement = text("INSERT INTO things (id, n) VALUES (:id, :n)")
    return lambda connection: connection.execute(statement, {"id": thing, "n": n})


def _ids(database: Database) -> list[int]:
    with database.read() as connection:
        return list(connection.scalars(text("SELECT id FROM things ORDER BY id")))


def _driver_error(kind: type[exc.DBAPIError], *args: object) -> exc.DBAPIError:
    return kind("statement", None, Exception(*args))


def test_commits(database: Database) -> None:
    """What the work wrote is there for all readers, and its result is returned."""
    assert database.transact(lambda c: (_insert(1)(c), "result")[1]) == "result"
    assert _ids(database) == [1]


def test_rolls_back_when_work_raises(database: Database) -> None:
    """Whatever the work raises leaves nothing behind and comes out as it is."""

    class Mine(Exception):
        pass

    def work(connection: Connection) -> None:
        _insert(1)(connection)
        raise Mine

    with pytest.raises(Mine):
        database.transact(work)
    assert _ids(database) == []
    database.transact(_insert(2))  # and the writers' turn was given back
    assert _ids(database) == [2]


def test_durable_settings(database: Database) -> None:
    """Commits are synced before they are acknowledged, in WAL mode, with foreign keys enforced."""
    with database.read() as connection:
        settings = [connection.scalar(text(f"PRAGMA {p}")) for p in ("journal_mode", "synchronous", "foreign_keys")]
    assert settings == ["wal", 2, 1]


def test_duplicate_row(database: Database) -> None:
    """A key that exists already is a `DuplicateRow`."""
    database.transact(_insert(1))
    with pytest.raises(DuplicateRow):
        database.transact(_insert(1))


def test_below_zero(database: Database) -> None:
    """A failed CHECK is a `BelowZero`."""
    with pytest.raises(BelowZero):
        database.transact(_insert(1, -1))
    assert _ids(database) == []


def test_unreadable_database(tmp_path: Path) -> None:
    """A file that can't be opened, or is no database, is a `DatabaseUnavailable` on reading and on writing."""
    missing = Database(f"sqlite:///{tmp_path}/no/such/directory.db")
    (tmp_path / "text.db").write_text("this is no database " * 100)
    damaged = Database(f"sqlite:///{tmp_path}/text.db")
    for database in (missing, damaged):
        with pytest.raises(DatabaseUnavailable):
            database.ping()
        with pytest.raises(DatabaseUnavailable):
            database.transact(_insert(1))
        database.close()


def test_ping(database: Database) -> None:
    """A database that answers says so by not raising."""
    database.ping()


def test_disk_full(database: Database) -> None:
    """A full disk is a `DatabaseUnavailable`; nothing of the transaction is there, and later ones work again."""

    def limit(pages: int) -> Work:
        return _run(f"PRAGMA max_page_count = {pages}")

    def fill(connection: Connection) -> None:
        limit(5)(connection)
        for thing in range(100):
            connection.execute(text("INSERT INTO things VALUES (:id, 0, :blob)"), {"id": thing, "blob": "x" * 4096})

    with pytest.raises(DatabaseUnavailable):
        database.transact(fill)
    assert _ids(database) == []
    database.transact(limit(1_000_000))
    database.transact(_insert(1))
    assert _ids(database) == [1]


def test_writers_take_turns(database: Database) -> None:
    """Writers of one process queue instead of failing, so a read-modify-write loses nothing."""
    database.transact(_insert(1, 0))

    def increment(connection: Connection) -> None:
        n = connection.scalar(text("SELECT n FROM things"))
        connection.execute(text("UPDATE things SET n = :n"), {"n": n + 1})

    threads = [threading.Thread(target=lambda: [database.transact(increment) for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert connection.scalar(text("SELECT n FROM things")) == 40


def test_turn_times_out(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that does not get its turn in time gives up: `DatabaseUnavailable`."""
    _wait_at_most(0.02, monkeypatch)

    def hog(_: Connection) -> None:
        waiter = threading.Thread(target=wait)
        waiter.start()
        waiter.join()

    errors: list[HalfMessageError] = []

    def wait() -> None:
        with pytest.raises(DatabaseUnavailable, match="busy") as caught:
            database.transact(_insert(1))
        errors.append(caught.value)

    database.transact(hog)
    assert len(errors) == 1
    assert _ids(database) == []


def test_locked_by_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that another process keeps is waited for, then a `DatabaseUnavailable`."""
    _wait_at_most(0.05, monkeypatch)
    database = Database(f"sqlite:///{tmp_path}/test.db")
    database.transact(_run("CREATE TABLE things (id INTEGER PRIMARY KEY)"))
    other = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable):
        database.transact(_run("INSERT INTO things VALUES (1)"))
    other.execute("ROLLBACK")
    database.transact(_run("INSERT INTO things VALUES (2)"))
    assert _ids(database) == [2]
    other.close()
    database.close()


def _refuse(_: Connection) -> int:
    raise BelowZero  # as a refusal by what was read there would be


def _tell(database: Database) -> list[Callable[[], object]]:
    """Return every way to use a database."""
    return [
        lambda: database.transact(_insert(2)),
        lambda: database.transact(_refuse),
        Heartbeat(database).ask,
        lambda: _ids(database),
        database.ping,
    ]


@pytest.mark.parametrize("sibling", ["", "-wal", "-shm"])
def test_file_moved_under_it(database: Database, tmp_path: Path, sibling: str) -> None:
    """Nothing is read, nor acknowledged, from a file (log, index) that is not at its path; put back, it is again."""
    database.transact(_insert(1))
    lost = tmp_path / f"test.db{sibling}"
    hidden = lost.rename(tmp_path / "hidden")
    for use in _tell(database):
        with pytest.raises(DatabaseMoved):
            use()
    hidden.rename(lost)
    database.transact(_insert(3))
    assert _ids(database) == [1, 3]


@pytest.mark.parametrize("how", ["directory", "deleted", "replaced", "made anew"])
def test_file_gone_under_it(database: Database, tmp_path: Path, how: str) -> None:
    """Whatever became of it, also for connections that are opened afterwards."""
    path = tmp_path / "test.db"
    if how == "directory":
        tmp_path.rename(tmp_path.with_name("moved"))
    elif how == "replaced":
        Path(shutil.copy(path, tmp_path / "copy")).replace(path)
    else:
        path.unlink()
    if how == "made anew":
        path.touch()
    for _ in range(3):
        for use in _tell(database):
            with pytest.raises(DatabaseMoved):
                use()
        database.engine.dispose()
    assert (path.exists(), path.exists() and path.stat().st_size > 0) == (
        how in {"replaced", "made anew"},
        how == "replaced",
    )
    if how == "directory":
        tmp_path.with_name("moved").rename(tmp_path)


def test_file_moved_in_commit(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moved between the last look and the commit: the row is in the moved file, which may be put back."""
    commit = RootTransaction.commit

    def move(transaction: RootTransaction) -> None:
        commit(transaction)
        (tmp_path / "test.db").rename(tmp_path / "hidden")

    monkeypatch.setattr(RootTransaction, "commit", move)
    with pytest.raises(CommitOutcomeUnknown):
        database.transact(_insert(1))
    monkeypatch.undo()
    (tmp_path / "hidden").rename(tmp_path / "test.db")
    assert _ids(database) == [1]


def test_file_is_kept_open_while_no_connection_is(database: Database) -> None:
    """The last connection that closes takes the log with it: that is not taken for a move."""
    database.transact(_insert(1))
    database.engine.dispose()
    assert _ids(database) == [1]


def test_a_move_is_logged_once(database: Database, tmp_path: Path) -> None:
    """One line says what happened and what to do, however often it is asked for."""
    with structlog.testing.capture_logs() as logs:
        hidden = (tmp_path / "test.db").rename(tmp_path / "hidden")
        for use in _tell(database):
            with pytest.raises(DatabaseMoved):
                use()
        hidden.rename(tmp_path / "test.db")
        database.ping()
        database.ping()
    assert [line["log_level"] for line in logs] == ["error", "warning"]
    assert "start it again" in logs[0]["event"]


def test_no_connection_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting in vain for a connection of the pool is a `DatabaseUnavailable`."""
    _wait_at_most(0.01, monkeypatch)
    database = Database(f"sqlite:///{tmp_path}/test.db", pool_size=1)
    with database.read() as connection:
        connection.execute(text("SELECT 1"))
        with pytest.raises(DatabaseUnavailable, match="busy"):
            database.ping()
    database.close()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (_driver_error(exc.OperationalError, 3819, "Check constraint 'x' is violated."), BelowZero),
        (_driver_error(exc.OperationalError, 4025, "CONSTRAINT `x` failed"), BelowZero),
        (_driver_error(exc.IntegrityError, 4025, "CONSTRAINT `x` failed"), BelowZero),
        (_driver_error(exc.IntegrityError, 1062, "Duplicate entry"), DuplicateRow),
        (_driver_error(exc.OperationalError, 2003, "Can't connect"), DatabaseUnavailable),
        (_driver_error(exc.InterfaceError, 0, ""), DatabaseUnavailable),
        (_driver_error(exc.OperationalError), DatabaseUnavailable),
        (exc.TimeoutError(), DatabaseUnavailable),
        (exc.InvalidRequestError("a mistake of ours"), HalfMessageError),
    ],
)
def test_translation(database: Database, error: exc.SQLAlchemyError, expected: type[HalfMessageError]) -> None:
    """Every driver error comes out as one of ours, MySQL's and MariaDB's numbers included; none is repeated."""
    calls = []

    def work(_: Connection) -> None:
        calls.append(1)
        raise error

    with pytest.raises(HalfMessageError) as caught:
        database.transact(work)
    assert type(caught.value) is expected
    assert len(calls) == 1


@pytest.mark.parametrize("times", [1, 9])
@pytest.mark.parametrize("code", [1205, 1213, 2006, 2013])
def test_lost_before_commit_is_repeated(database: Database, code: int, times: int) -> None:
    """A deadlock, a lock wait or a connection lost before COMMIT: the work runs again, from the start."""
    failures = [_driver_error(exc.OperationalError, code, "…")] * times

    def work(connection: Connection) -> None:
        _insert(1)(connection)
        if failures:
            raise failures.pop()

    database.transact(work)
    assert _ids(database) == [1]


def test_gives_up_repeating(database: Database) -> None:
    """A transaction that never gets through is a `DatabaseUnavailable` after ten tries."""
    calls = []

    def work(_: Connection) -> None:
        calls.append(1)
        raise _driver_error(exc.OperationalError, 1213, "Deadlock found")

    with pytest.raises(DatabaseUnavailable):
        database.transact(work)
    assert len(calls) == 10


@pytest.fixture
def watched(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Watch SQLite's connections as those to MySQL."""
    monkeypatch.setattr(mysql, "is_dead", lambda _: False)
    mysql.watch(database.engine)
    return database


def _failing_once(database: Database, monkeypatch: pytest.MonkeyPatch, what: str, code: int) -> list[Any]:
    """Have the driver fail once, with a number of the server's; return what (a cursor, say) each try was made with."""
    do = getattr(database.engine.dialect, what)
    seen: list[Any] = []

    def fails_once(on: Any, *args: Any) -> None:
        seen.append(on)
        if len(seen) == 1:
            raise sqlite3.OperationalError(code, "…")
        do(on, *args)

    monkeypatch.setattr(database.engine.dialect, what, fails_once)
    return seen


@pytest.mark.parametrize("code", [1290, 1792, 1836, 1036, 1047, 1053, 1142, 1143, 1152, 1927, 2006, 2013, 3032, 4031])
def test_a_connection_that_is_useless_is_dropped(watched: Database, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """What its server says can't be done there is done on a new connection, not on another kept one of its age."""
    with watched.engine.connect() as one, watched.engine.connect() as other:
        kept = {id(c.connection.dbapi_connection): c.connection.dbapi_connection for c in (one, other)}
    asked = _failing_once(watched, monkeypatch, "do_execute", code)
    watched.transact(_insert(1))
    assert _ids(watched) == [1]
    assert id(asked[0].connection) in kept
    assert not {id(cursor.connection) for cursor in asked[1:]} & kept.keys()


def test_a_useless_connection_is_dropped_by_a_read(watched: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read is not repeated, but the next one has a new connection."""
    asked = _failing_once(watched, monkeypatch, "do_execute", 1053)
    with pytest.raises(DatabaseUnavailable):
        watched.ping()
    watched.ping()
    assert asked[0].connection is not asked[-1].connection


@pytest.mark.parametrize("code", [1290, 1792, 1836, 1036])
def test_read_only_in_commit_is_repeated(watched: Database, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """A server that became read-only under a transaction rolls it back before it says so: nothing is unknown."""
    asked = _failing_once(watched, monkeypatch, "do_commit", code)
    watched.transact(_insert(1))
    assert len(asked) == 2
    assert _ids(watched) == [1]


@pytest.mark.parametrize("code", [1053, 1213, 1927, 2006, 2013])
def test_lost_in_commit_is_never_repeated(database: Database, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Whatever is lost in COMMIT is a `CommitOutcomeUnknown`, and the work does not run again."""
    calls = []

    def lost(_: object) -> None:
        raise _driver_error(exc.OperationalError, code, "Lost connection")

    monkeypatch.setattr(database.engine.dialect, "do_commit", lost)
    with pytest.raises(CommitOutcomeUnknown):
        database.transact(lambda _: calls.append(1))
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("database is locked", DatabaseUnavailable),
        ("database or disk is full", DatabaseUnavailable),
        ("attempt to write a readonly database", DatabaseUnavailable),
        ("disk I/O error", CommitOutcomeUnknown),
    ],
)
def test_sqlite_commit_errors(
    database: Database, monkeypatch: pytest.MonkeyPatch, message: str, expected: type[HalfMessageError]
) -> None:
    """SQLite's COMMIT tells of some errors that nothing was committed; an I/O error leaves it open."""

    def failing(_: object) -> None:
        raise exc.OperationalError("COMMIT", None, sqlite3.OperationalError(message))

    with monkeypatch.context() as patch:
        patch.setattr(database.engine.dialect, "do_commit", failing)
        with pytest.raises(HalfMessageError) as caught:
            database.transact(_insert(1))
    assert type(caught.value) is expected
    assert _ids(database) == []


def test_failed_commit_leaves_nothing_open(database: Database) -> None:
    """After a COMMIT that SQLite refused, the transaction is gone: others write at once, nothing of it appears."""
    database.transact(_run("CREATE TABLE parts (thing INTEGER REFERENCES things (id) DEFERRABLE INITIALLY DEFERRED)"))
    with pytest.raises(CommitOutcomeUnknown):
        database.transact(_run("INSERT INTO parts VALUES (77)"))
    database.transact(_insert(1))
    with database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM parts")) == 0


def test_mysql_settings() -> None:
    """MySQL gets READ COMMITTED and no in-process queue; nothing is connected until it is used."""
    database = Database("mysql+pymysql://user:word@127.0.0.1:1/none")
    with pytest.raises(DatabaseUnavailable):
        database.transact(_insert(1))
    with pytest.raises(DatabaseUnavailable):
        database.ping()
    database.close()
