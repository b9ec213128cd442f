"""SQLite's errors in our words. Result codes: https://sqlite.org/rescode.html ."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from halfmessage.errors import BrokerCorrupt, BrokerError

GONE = "The broker's file was deleted or replaced while in use; stop every service, put it back, start again."

DAMAGED = "The broker's file is damaged; stop every service, restore the file or start with a new one."
_DETAILS: dict[int, tuple[type[BrokerError], str]] = {
    sqlite3.SQLITE_BUSY: (BrokerError, "The broker's file is locked by another process; try again."),
    sqlite3.SQLITE_LOCKED: (BrokerError, "The broker's file is locked by another process; try again."),
    sqlite3.SQLITE_FULL: (BrokerError, "The broker's disk is full; free some space, then try again."),
    sqlite3.SQLITE_IOERR: (BrokerError, "The broker's disk reports an error; check the disk, then try again."),
    sqlite3.SQLITE_READONLY: (BrokerError, "The broker's file can't be written; check its permissions and its disk."),
    sqlite3.SQLITE_PERM: (BrokerError, "The broker's file can't be written; check its permissions and its disk."),
    sqlite3.SQLITE_CANTOPEN: (
        BrokerError,
        "The broker's file can't be opened; check that its directory exists and may be written.",
    ),
    sqlite3.SQLITE_CORRUPT: (BrokerCorrupt, DAMAGED),
    sqlite3.SQLITE_NOTADB: (BrokerCorrupt, DAMAGED),
}


def primary_code(error: sqlite3.Error) -> int | None:
    """Return SQLite's primary result code, None for what Python's own module raised."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def translate(error: sqlite3.Error) -> BrokerError:
    """Return a new error of ours that says what to do next."""
    code = primary_code(error)
    if code == sqlite3.SQLITE_READONLY and error.sqlite_errorcode == sqlite3.SQLITE_READONLY_DBMOVED:
        return BrokerCorrupt(GONE)
    kind, detail = _DETAILS.get(code, (BrokerError, None)) if code is not None else (BrokerError, None)
    return kind(detail)


@contextmanager
def translated() -> Iterator[None]:
    """Let no `sqlite3.Error` out: raise `BrokerError` or `BrokerCorrupt` instead."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error) from error
