"""SQLite as the simulated processes see it: real files, whose locks are waited for on the scheduler's clock."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from lab.simulate.faults import Trigger
from lab.simulate.injector import Injector
from lab.simulate.scheduler import Process

_POLL: Final = 0.004  # seconds between tries for a lock that another process has
_IO_ERROR: Final = 10  # https://www.sqlite.org/rescode.html#ioerr
_QUICK: Final = ("PRAGMA", "SAVEPOINT", "RELEASE", "ROLLBACK")  # statements at which nothing happens


def _broken() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = _IO_ERROR
    return error


class SimulatedCursor(sqlite3.Cursor):
    """A cursor each statement of which may be where something goes wrong."""

    connection: "SimulatedConnection"

    def execute(self, sql: str, parameters: Any = (), /) -> "SimulatedCursor":
        """Run a statement. Raise `sqlite3.Error`, `Dead`."""
        connection = self.connection
        if sql.startswith("BEGIN IMMEDIATE"):
            connection.begin(super().execute)
        elif sql == "COMMIT":
            connection.commit()
        else:
            if not sql.startswith(_QUICK):
                connection.passed()
            super().execute(sql, parameters)
        return self

    def executemany(self, sql: str, parameters: Any, /) -> "SimulatedCursor":
        """Run a statement with several parameters. Raise `sqlite3.Error`, `Dead`."""
        self.connection.passed()
        super().executemany(sql, parameters)
        return self


class SimulatedConnection(sqlite3.Connection):
    """A connection of one process, which ends with it."""

    injector: Injector
    owner: Process | None
    """The process that it belongs to now; it is kept for others when that has ended."""
    is_pooled: bool
    """Whether SQLAlchemy has it in a pool, and so calls `close` only for what it will not use again."""
    place: str
    """Where faults strike it: at the service of its process."""
    patience: float
    """Seconds that the lock of another writer is waited for; 0: the caller waits by itself."""
    committed: Callable[[], None]
    """Called after each COMMIT."""
    given_back: Callable[["SimulatedConnection"], None]
    """Keeps it for the next use, in the place of closing it."""
    settings: dict[str, str]

    def execute(self, sql: str, parameters: Any = (), /) -> SimulatedCursor:
        """Run a statement; a setting that is as it was costs nothing. Raise `sqlite3.Error`, `Dead`."""
        cursor: SimulatedCursor = self.cursor()
        if sql.startswith("PRAGMA") and "=" in sql:
            name, _, value = sql.partition("=")
            if self.settings.get(name) == value:
                return cursor
            self.settings[name] = value
        return cursor.execute(sql, parameters)

    def cursor(self, factory: Any = SimulatedCursor) -> Any:
        """Return a cursor. Raise `Dead`."""
        self.injector.living()
        return super().cursor(factory)

    def adopted(self, injector: Injector, owner: Process) -> None:
        """Belong to another process from now on, as a new connection would: it writes unless it is told not to."""
        self.injector, self.owner, self.place = injector, owner, owner.service
        if self.settings.pop("PRAGMA query_only", "OFF") != "OFF":
            super().execute("PRAGMA query_only=OFF")

    @property
    def _outage(self) -> str:
        return "database-fails" if self.is_pooled else "broker-fails"

    def passed(self) -> None:
        """Come to a statement. Raise `sqlite3.OperationalError`, `Dead`."""
        injector = self.injector
        injector.living()
        fault = injector.struck_by(Trigger.STATEMENT, self.place)
        if fault is None:
            if injector.fails(self._outage, self.place):
                raise _broken()
            injector.switch()
        elif fault.kind == "crash":
            injector.die()
        elif fault.kind == "delay":
            injector.hold_up(fault)
        else:
            raise _broken()

    def begin(self, execute: Callable[[str], object]) -> None:
        """Begin to write, once no other process does. Raise `sqlite3.OperationalError`, `Dead`."""
        waited = 0.0
        while True:
            self.injector.living()
            try:
                execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or waited >= self.patience:
                    raise
                self.injector.hold(_POLL)
                waited += _POLL
            else:
                return

    def commit(self) -> None:
        """Commit; a crash, or a failure, goes either way. Raise `sqlite3.OperationalError`, `Dead`."""
        injector = self.injector
        injector.living()
        if not self.in_transaction:
            return
        fault = injector.struck_in_commit(self.place)
        if fault is None:
            if injector.fails(self._outage, self.place):
                raise _broken()
            injector.switch()
            self._commit()
            injector.switch()
            return
        if fault.kind.endswith("after"):
            self._commit()
        if fault.kind.startswith("crash"):
            injector.die()
        raise _broken()

    def _commit(self) -> None:
        super().commit()
        self.committed()

    def rollback(self) -> None:
        """Roll back; where its process is gone, that was done."""
        if self.injector.is_living():
            super().rollback()

    def close(self) -> None:
        """Give it back; one of a process that is gone was given back then, unless a pool has it."""
        if self.is_pooled or self.injector.is_living():
            self._give_back()

    def end(self) -> None:
        """Roll back what was not committed, as the end of its process does, and give it back unless a pool has it."""
        super().rollback()
        if not self.is_pooled:
            self._give_back()

    def _give_back(self) -> None:
        if self.owner is not None:
            self.owner = None
            super().rollback()
            self.given_back(self)

    def close_for_good(self) -> None:
        """Close it."""
        super().close()


def opened(name: str | Path) -> SimulatedConnection:
    """Open a file, by its path or its URI, without any waiting of SQLite's own."""
    connection = sqlite3.connect(
        name,
        uri=isinstance(name, str),
        timeout=0,
        isolation_level=None,
        check_same_thread=False,
        factory=SimulatedConnection,
    )
    sqlite3.Connection.execute(connection, "PRAGMA synchronous=OFF")  # no power is lost here, and memory needs no sync
    connection.settings = {"PRAGMA synchronous": "FULL"}  # which is what is asked for
    return connection
