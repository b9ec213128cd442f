"""Short transactions over SQLAlchemy, on any engine, every driver error translated.

A service that has its own way of running transactions gives the library that instead: it is a `Transactor`.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

import structlog
from sqlalchemy import Connection, Engine, RootTransaction, event
from sqlalchemy import exc as sa

from halfmessage import mysql, postgresql
from halfmessage.errors import (
    BelowZero,
    CommitOutcomeUnknown,
    DatabaseCorrupt,
    DatabaseMoved,
    DatabaseUnavailable,
    DuplicateRow,
    HalfMessageError,
    Misconfigured,
    RowRefused,
)
from halfmessage.sqlite_file import says_damaged

T = TypeVar("T")

LOCK_WAIT = 5.0
"""Seconds that a writer waits for its turn."""

_ATTEMPTS = 10  # of a transaction that lost a lock or its connection before COMMIT
_ATTEMPTS_WITHIN = 5.0  # seconds; none is begun later
_PAUSE, _LONGEST_PAUSE = 0.002, 0.05  # seconds at most before an attempt, doubled each time: who met once meets again
_WAL_KEPT = f"journal_size_limit={8 * 1024 * 1024}"  # bytes of log that a checkpoint leaves in place
_SQLITE_DEFINITELY_NOT_COMMITTED = ("locked", "full", "busy", "readonly")
_READ_ONLY: frozenset[object] = mysql.READ_ONLY | postgresql.READ_ONLY
_is_committing = ContextVar("is_committing", default=False)
_REPEATABLE: frozenset[object] = mysql.REPEATABLE | postgresql.REPEATABLE
_DUPLICATE: frozenset[object] = mysql.DUPLICATE | postgresql.DUPLICATE
_FAILED_CHECK: frozenset[object] = mysql.FAILED_CHECK | postgresql.FAILED_CHECK


class Transactor(Protocol):
    """Runs transactions in one database. `EngineTransactor` is one."""

    def read(self, *, snapshot: bool = False) -> AbstractContextManager[Connection]:
        """Open a read-only transaction. Raise `DatabaseUnavailable`.

        With `snapshot`, all its statements see the database as it is at the first; without, perhaps each as it is.
        """

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction and commit it; `work` may run again if the first try could not commit.

        Raise `DuplicateRow`, `RowRefused`, `BelowZero`, `DatabaseUnavailable` (nothing happened),
        `CommitOutcomeUnknown` (the connection was lost in COMMIT) or whatever `work` raises (rolled back). A lost
        COMMIT must never be told as anything else: the fence rests on it.
        """


class _Retryable(DatabaseUnavailable):
    """The transaction did not happen and may be tried again."""


def _nothing() -> None:
    pass


class EngineTransactor:
    """Implements `Transactor` on an engine, which it neither configures nor closes."""

    def __init__(self, engine: Engine, *, verify: Callable[[], None] = _nothing) -> None:
        """Take an engine of MySQL, MariaDB or PostgreSQL (READ COMMITTED), or of SQLite, which `prepare` has seen.

        `verify` raises `DatabaseMoved` where the database is not the one that was opened; it is asked before and after
        `work`, and after COMMIT. Raise `Misconfigured` for an engine of SQLite that was not prepared: it would read,
        then fail to write, wherever two write at once.
        """
        self.engine = engine
        self._sqlite = engine.dialect.name == "sqlite"
        if self._sqlite and not event.contains(engine, "begin", _begin_sqlite):
            raise Misconfigured("Call halfmessage.db.prepare(engine) before its first connection is made.")
        self._verify = verify
        self._is_damaged = False
        self._turn: AbstractContextManager[Any] = _Turn() if self._sqlite else nullcontext()
        self._writer = engine.execution_options(writes=True)
        snapshot = {} if self._sqlite else {"isolation_level": "REPEATABLE READ"}  # SQLite's reads are snapshots
        self._snapshot = engine.execution_options(**snapshot)

    @contextmanager
    def read(self, *, snapshot: bool = False) -> Iterator[Connection]:
        """Open a read-only transaction. Raise `DatabaseUnavailable`, `DatabaseCorrupt`.

        With `snapshot`, all its statements see the database as it is at the first; without, perhaps each as it is.
        """
        with self._sound(), (self._snapshot if snapshot else self.engine).connect() as connection:
            self._verify()
            yield connection

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction and commit it; `work` may run again if the first try could not commit.

        Raise `DuplicateRow`, `RowRefused`, `BelowZero`, `DatabaseUnavailable` (nothing happened),
        `CommitOutcomeUnknown` (the connection was lost in COMMIT) or whatever `work` raises (rolled back).
        """
        last_start = time.monotonic() + _ATTEMPTS_WITHIN
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._transact_once(work)
            except _Retryable:
                if attempt == _ATTEMPTS or time.monotonic() > last_start:
                    raise
                longest = min(_PAUSE * 2**attempt, _LONGEST_PAUSE)
                time.sleep(random.uniform(0, longest))  # noqa: S311 # nosec B311 - guessing it gains nothing
        raise AssertionError("unreachable")

    def _transact_once(self, work: Callable[[Connection], T]) -> T:
        with self._sound(), self._writer.connect() as connection, self._turn:
            transaction = connection.begin()
            try:
                self._verify()  # what `work` reads, refuses or rolls back by itself must not come from another file
                result = work(connection)
                self._verify()
            except BaseException:
                transaction.rollback()
                raise
            self._commit(connection, transaction)
            return result

    @contextmanager
    def _sound(self) -> Iterator[None]:
        """Refuse a file in which damage was met once, whatever it is asked for: what is read of it may be wrong."""
        if self._is_damaged:
            raise DatabaseCorrupt
        try:
            with translated():
                yield
        except DatabaseCorrupt as error:
            self._is_damaged = True
            structlog.get_logger().error(
                "the file is damaged: nothing is read or written any more; stop the service, restore it from a backup",
                path=self.engine.url.database,
                said=str(getattr(error.__cause__, "orig", error.detail)),
            )
            raise

    def _commit(self, connection: Connection, transaction: RootTransaction) -> None:
        with committing(connection, connection.invalidate):
            transaction.commit()
        try:
            self._verify()
        except DatabaseMoved as error:
            raise CommitOutcomeUnknown from error  # it is in the file that was moved, which may be put back


@contextmanager
def committing(connection: Connection, invalidate: Callable[[], None]) -> Iterator[None]:
    """Wrap the COMMIT of a connection's transaction; `invalidate` drops that connection.

    Raise `DatabaseUnavailable`, or what a deferred constraint says, where it did not happen for certain, else
    `CommitOutcomeUnknown`; `Misconfigured` where a statement had failed, and PostgreSQL would not commit.
    """
    name = connection.dialect.name
    if name != "sqlite" and not _is_there(connection):
        invalidate()
        raise _Retryable  # COMMIT was never sent
    if name == "postgresql" and postgresql.has_failed(connection):
        raise Misconfigured("A statement of the transaction failed, outside of a savepoint: PostgreSQL rolls it back.")
    mine = _is_committing.set(True)
    try:
        yield
    except sa.DBAPIError as error:
        invalidate()  # or the pool would keep it as SQLAlchemy leaves it: in the middle of a transaction
        if name == "sqlite" and any(word in str(error.orig) for word in _SQLITE_DEFINITELY_NOT_COMMITTED):
            raise DatabaseUnavailable from error
        if _said(error) in _READ_ONLY:
            raise _Retryable from error
        if name == "postgresql" and postgresql.is_rolled_back(error):
            raise _translate_driver(error) from error
        raise CommitOutcomeUnknown from error
    finally:
        _is_committing.reset(mine)


def is_committing() -> bool:
    """Whether a COMMIT that is sent now is the library's, and no other code's: what a drill strikes at."""
    return _is_committing.get()


def _is_there(connection: Connection) -> bool:
    """Whether the session of an open transaction is still there, so that COMMIT could reach it."""
    is_dead = postgresql.is_dead if connection.dialect.name == "postgresql" else mysql.is_dead
    return not (connection.invalidated or is_dead(connection.connection.driver_connection))


class _Turn:
    """The writers' queue of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=LOCK_WAIT):
            raise DatabaseUnavailable("The database is busy; nothing was changed, try again.")

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def prepare(engine: Engine) -> bool:
    """Have each new connection of an engine write safely; return False where there was nothing to do.

    Connections that there are already stay as they are (`Engine.dispose` ends them).

    SQLite: WAL with synchronous=FULL, so that a commit is on disk before it is acknowledged
    (https://www.sqlite.org/pragma.html#pragma_synchronous), and writers begin with the lock that they need. Writers of
    one process queue on a lock of the process instead of polling SQLite's own; others are waited for by busy_timeout.
    PostgreSQL: no statement waits for a lock longer than `LOCK_WAIT`; by default it does so for ever. MySQL and MariaDB
    have a bound (innodb_lock_wait_timeout), and are left as they are.
    """
    if is_prepared(engine):
        return False
    for name, listener in _LISTENERS[engine.dialect.name].items():
        event.listen(engine, name, listener)
    return True


def is_prepared(engine: Engine) -> bool:
    """Whether `prepare` has nothing to do."""
    listeners = _LISTENERS.get(engine.dialect.name, {})
    return all(event.contains(engine, name, listener) for name, listener in listeners.items())


def _configure_postgresql(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        # https://www.postgresql.org/docs/current/runtime-config-client.html
        cursor.execute(f"SET lock_timeout = {int(LOCK_WAIT * 1000)}")
    connection.commit()


def _configure_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, see `_begin_sqlite`
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-1024", _WAL_KEPT):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Say BEGIN through the driver: SQLAlchemy's own way takes as long as all the rest of a short read."""
    begin = "BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN"
    cursor = connection.connection.cursor()
    try:
        cursor.execute(begin)
    except connection.dialect.loaded_dbapi.Error as error:
        raise sa.OperationalError(begin, None, error) from error
    finally:
        cursor.close()


_LISTENERS: dict[str, dict[str, Callable[..., None]]] = {
    "sqlite": {"connect": _configure_sqlite, "begin": _begin_sqlite},
    "postgresql": {"connect": _configure_postgresql},
}


@contextmanager
def translated() -> Iterator[None]:
    """Raise our own errors for those of the driver. `transact` and `read` do; for savepoints inside of them."""
    try:
        yield
    except sa.SQLAlchemyError as error:
        raise _translate(error) from error


def _translate(error: sa.SQLAlchemyError) -> HalfMessageError:
    if isinstance(error, sa.DBAPIError):
        return _translate_driver(error)
    if isinstance(error, sa.TimeoutError):
        return DatabaseUnavailable("The database is busy; nothing was changed, try again.")
    return HalfMessageError()


def _translate_driver(error: sa.DBAPIError) -> HalfMessageError:
    if says_damaged(error.orig):
        return DatabaseCorrupt()
    said = _said(error)
    if said in _FAILED_CHECK or "CHECK constraint" in str(error.orig):
        return BelowZero()
    if isinstance(error, sa.IntegrityError) and (said in _DUPLICATE or "UNIQUE constraint" in str(error.orig)):
        return DuplicateRow()
    if isinstance(error, sa.IntegrityError | sa.DataError):
        return RowRefused()
    return _Retryable() if said in _REPEATABLE or error.connection_invalidated else DatabaseUnavailable()


def _said(error: sa.DBAPIError) -> object:
    """Return the number or the SQLSTATE by which the server says what is wrong, None where it does not."""
    code = mysql.code_of(error)
    return code if isinstance(code, int) else postgresql.state_of(error)  # PyMySQL tells both
