"""Database access: short transactions over SQLAlchemy, every driver error translated.

SQLite runs in WAL mode with synchronous=FULL, so that a commit is on disk before it is acknowledged
(https://www.sqlite.org/pragma.html#pragma_synchronous). Its writers queue on a lock of this process instead of
polling SQLite's own; other processes are waited for by busy_timeout. For MySQL and MariaDB see `common.mysql`.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, RootTransaction, create_engine, event, text
from sqlalchemy import exc as sa
from sqlalchemy.engine import URL, make_url

from common import mysql
from common.errors import (
    BelowZero,
    CommitOutcomeUnknown,
    DatabaseMoved,
    DatabaseUnavailable,
    DuplicateRow,
    OrdersError,
    RowRefused,
)
from common.sqlite_file import AnchoredFile

T = TypeVar("T")

_LOCK_WAIT = 5.0  # seconds a writer waits for its turn
_ATTEMPTS = 10  # of a transaction that lost a lock or its connection before COMMIT
_ATTEMPTS_WITHIN = 5.0  # seconds; none is begun later
_PAUSE, _LONGEST_PAUSE = 0.002, 0.05  # seconds at most before an attempt, doubled each time: who met once meets again
_SQLITE_CONNECTIONS = 8  # its writers take turns, and each connection has a cache of its own
_WAL_KEPT = f"journal_size_limit={8 * 1024 * 1024}"  # bytes of log that a checkpoint leaves in place
_SQLITE_DEFINITELY_NOT_COMMITTED = ("locked", "full", "busy", "readonly")


_UNREADABLE = (
    "The URL of a database must be sqlite:///path or mysql+pymysql://user:password@host:port/name[?options], with "
    "options that PyMySQL has; %2F is / in a password."
)


class _Retryable(DatabaseUnavailable):
    """The transaction did not happen and may be tried again."""


class Database:
    """One service's database."""

    def __init__(self, url: str, *, pool_size: int = 8, statement_timeout: float = 5.0) -> None:
        """Connect lazily to `url` (SQLAlchemy's form) with at most `pool_size` connections.

        A statement that a server does not answer within `statement_timeout` seconds counts as a lost connection.
        """
        self._sqlite = _read(url).get_backend_name() == "sqlite"
        options: dict[str, Any] = {"max_overflow": 0, "pool_timeout": _LOCK_WAIT, "pool_use_lifo": True}
        if self._sqlite:
            options |= {
                "pool_size": min(pool_size, _SQLITE_CONNECTIONS),
                "connect_args": {"timeout": _LOCK_WAIT, "check_same_thread": False},
            }
        else:
            options |= {"pool_size": pool_size, **mysql.engine_options(statement_timeout)}
        self.engine: Engine = create_engine(url, hide_parameters=True, **options)  # rows hold names and addresses
        self._turn: AbstractContextManager[Any] = nullcontext()
        self._file: AnchoredFile | None = None
        if self._sqlite:
            self._turn = _Turn()
            event.listen(self.engine, "connect", _configure_sqlite)
            if (path := make_url(url).database) and path != ":memory:":
                self._file = AnchoredFile(Path(path))
                event.listen(self.engine, "do_connect", lambda *_: self._verify())  # or SQLite would make it anew
                event.listen(self.engine, "connect", self._file.connected)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            mysql.watch(self.engine)
        self._writer = self.engine.execution_options(writes=True)
        snapshot = {} if self._sqlite else {"isolation_level": "REPEATABLE READ"}  # SQLite's reads are snapshots
        self._snapshot = self.engine.execution_options(**snapshot)

    @contextmanager
    def read(self, *, snapshot: bool = False) -> Iterator[Connection]:
        """Open a read-only transaction. Raise `DatabaseUnavailable`.

        With `snapshot`, all its statements see the database as it is at the first; without, perhaps each as it is.
        """
        with translated(), (self._snapshot if snapshot else self.engine).connect() as connection:
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
                time.sleep(random.uniform(0, longest))  # noqa: S311 # nosec B311 - nobody gains by guessing it
        raise AssertionError("unreachable")

    def _transact_once(self, work: Callable[[Connection], T]) -> T:
        with translated(), self._writer.connect() as connection, self._turn:
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

    def _verify(self) -> None:
        if self._file is not None:
            self._file.verify()

    def _commit(self, connection: Connection, transaction: RootTransaction) -> None:
        if not self._sqlite and not mysql.may_commit(connection):
            connection.invalidate()
            raise _Retryable  # COMMIT was never sent
        try:
            transaction.commit()
        except sa.DBAPIError as error:
            connection.invalidate()  # or the pool would keep it as SQLAlchemy leaves it: in the middle of a transaction
            if self._sqlite and any(word in str(error.orig) for word in _SQLITE_DEFINITELY_NOT_COMMITTED):
                raise DatabaseUnavailable from error
            if mysql.code_of(error) in mysql.READ_ONLY:
                raise _Retryable from error
            raise CommitOutcomeUnknown from error
        try:
            self._verify()
        except DatabaseMoved as error:
            raise CommitOutcomeUnknown from error  # it is in the file that was moved, which may be put back

    def ping(self) -> None:
        """Raise `DatabaseUnavailable` unless the database answers."""
        with self.read() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
        if self._file is not None:
            self._file.close()


def _read(url: str) -> URL:
    """Return a URL, read. Raise `OrdersError` without what is in it, of which any part may be the password."""
    try:
        read = make_url(url)
    except (sa.ArgumentError, ValueError):
        raise OrdersError(_UNREADABLE) from None
    if read.get_backend_name() != "sqlite" and not mysql.OPTIONS.issuperset(read.query):
        raise OrdersError(_UNREADABLE)
    return read


class _Turn:
    """The writers' queue of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=_LOCK_WAIT):
            raise DatabaseUnavailable("The database is busy; nothing was changed, try again.")

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _configure_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, see _begin_sqlite
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-1024", _WAL_KEPT):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def translated() -> Iterator[None]:
    """Raise our own errors for those of the driver. `transact` and `read` do; for savepoints inside of them."""
    try:
        yield
    except sa.SQLAlchemyError as error:
        raise _translate(error) from error


def _translate(error: sa.SQLAlchemyError) -> OrdersError:
    if isinstance(error, sa.DBAPIError):
        return _translate_driver(error)
    if isinstance(error, sa.TimeoutError):
        return DatabaseUnavailable("The database is busy; nothing was changed, try again.")
    return OrdersError()


def _translate_driver(error: sa.DBAPIError) -> OrdersError:
    code = mysql.code_of(error)
    if code in mysql.FAILED_CHECK or "CHECK constraint" in str(error.orig):
        return BelowZero()
    if isinstance(error, sa.IntegrityError) and (code in mysql.DUPLICATE or "UNIQUE constraint" in str(error.orig)):
        return DuplicateRow()
    if isinstance(error, sa.IntegrityError | sa.DataError):
        return RowRefused()
    return _Retryable() if code in mysql.REPEATABLE or error.connection_invalidated else DatabaseUnavailable()
