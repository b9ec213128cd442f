"""Writes down which statements our code gives to Python's `sqlite3`, which takes no VFS from outside."""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from sqlite3 import dbapi2
from typing import Any

Parameters = Sequence[Any] | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as it was executed."""

    sql: str
    parameters: Parameters = ()


class Recording:
    """The statements of all connections, as they were executed."""

    def __init__(self) -> None:
        """Nothing was executed yet."""
        self._guard = threading.Lock()
        self._all: list[tuple[_Connection, Statement]] = []

    @property
    def statements(self) -> list[Statement]:
        """Those of connections that may write. A connection that only reads would be in the middle of another's."""
        with self._guard:
            return [statement for connection, statement in self._all if not connection.reads_only]

    def note(self, connection: "_Connection", sql: str, parameters: Any = ()) -> None:
        """Take one that was executed."""
        kept = dict(parameters) if isinstance(parameters, Mapping) else list(parameters)
        with self._guard:
            self._all.append((connection, Statement(sql, kept)))


class _Cursor(sqlite3.Cursor):
    connection: "_Connection"

    def execute(self, sql: str, parameters: Any = (), /) -> "_Cursor":
        super().execute(sql, parameters)
        self.connection.reads_only |= sql == "PRAGMA query_only=ON"
        self.connection.recording.note(self.connection, sql, parameters)
        return self

    def executemany(self, sql: str, parameters: Any, /) -> "_Cursor":
        rows = list(parameters)
        super().executemany(sql, rows)
        for row in rows:
            self.connection.recording.note(self.connection, sql, row)
        return self


class _Connection(sqlite3.Connection):
    recording: Recording
    reads_only = False

    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> Any:
        return self.cursor().executemany(sql, parameters)

    def commit(self) -> None:
        if self.in_transaction:
            super().commit()
            self.recording.note(self, "COMMIT")

    def rollback(self) -> None:
        if self.in_transaction:
            super().rollback()
            self.recording.note(self, "ROLLBACK")


@contextmanager
def recorded() -> Iterator[Recording]:
    """Collect the statements of all connections that are opened meanwhile, by the library or by SQLAlchemy."""
    recording, original = Recording(), sqlite3.connect

    def connect(*args: Any, **named: Any) -> Any:
        connection = original(*args, **{**named, "factory": _Connection})
        connection.recording = recording
        return connection

    sqlite3.connect = dbapi2.connect = connect  # each of them uses another name of it
    try:
        yield recording
    finally:
        sqlite3.connect = dbapi2.connect = original
