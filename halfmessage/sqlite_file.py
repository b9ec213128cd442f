"""SQLite files in use: whether the path still names the file that is open.

SQLite goes on writing into a file that was unlinked, moved or replaced, and never says so: without a look, what is
acknowledged would be in a file that is never read (https://sqlite.org/howtocorrupt.html#unlink, section 2.4).
A file that is overwritten in place keeps its identity, and so is not noticed: see docs/operations.md.
"""

import os
import sqlite3
import threading
from pathlib import Path

import structlog

from halfmessage import sqlite_log
from halfmessage.errors import DatabaseMoved

CHECKED_WITHIN = 1.0
"""Seconds for which a file is looked through as it is opened: some 150 MB. The rest is not seen.

`integrity_check` takes 1.3 times as long as `quick_check`, and finds indexes that do not tell what the rows do.
"""

Identity = tuple[tuple[int, int], ...]

UNREADABLE = "malformed database schema"
"""What SQLite says, where Python raises UnicodeDecodeError for it, as it quotes the damaged bytes."""

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_SIBLINGS = ("", "-wal", "-shm")  # in WAL mode; the log and its index are as much the database as the file is


def says_damaged(error: BaseException | None) -> bool:
    """Whether SQLite says by this error that the file is damaged (https://sqlite.org/rescode.html#corrupt)."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DAMAGED


def damage(connection: sqlite3.Connection, within: float | None = None) -> str | None:
    """Return what is wrong with a connection's file, its log, its structure or its indexes, None: nothing.

    It is looked through for `within` seconds (`CHECKED_WITHIN`). What was not reached by then is not seen, and that is
    logged. SQLite keeps no checksum of rows: one that says something else than it did is found by nothing here.
    https://sqlite.org/pragma.html#pragma_integrity_check . Raise `sqlite3.Error` for what is no damage: a lock.
    """
    try:
        said = _of_log(connection) or _of_pages(connection, CHECKED_WITHIN if within is None else within)
    except UnicodeDecodeError:  # Python can't read what SQLite says, as it quotes the damage
        return UNREADABLE
    except sqlite3.Error as error:
        if says_damaged(error):
            return str(error)
        raise
    return None if said == "ok" else " ".join(said.split())


def _of_log(connection: sqlite3.Connection) -> str | None:
    (_, _, path), *_ = connection.execute("PRAGMA database_list").fetchall()
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    return sqlite_log.cut_short(Path(path), page_size)


def _of_pages(connection: sqlite3.Connection, within: float) -> str:
    watch = threading.Timer(within, connection.interrupt)  # a progress handler is not asked inside a large table
    watch.daemon = True
    watch.start()
    try:
        (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        return str(said)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        structlog.get_logger().warning("a file was not looked through to its end for damage", within=within)
        return "ok"
    finally:
        watch.cancel()
        watch.join()  # or it might interrupt what comes next


class OpenFile:
    """A file in WAL mode which a connection holds open, so that its log exists as long as this object is used."""

    def __init__(self, path: Path) -> None:
        """Remember what the path and its siblings are now. Raise OSError where one is missing."""
        self._names = [f"{path}{sibling}" for sibling in _SIBLINGS]
        self._identity = self._look()
        self._told = False

    def is_there(self) -> bool:
        """Whether the path and its siblings still are the files they were; if not, it is logged once."""
        try:
            there = self._look() == self._identity
        except OSError:
            there = False
        if there == self._told:
            self._told = not there
            self._tell(there)
        return there

    def _look(self) -> Identity:
        return tuple((found.st_dev, found.st_ino) for found in map(os.stat, self._names))

    def _tell(self, there: bool) -> None:
        log = structlog.get_logger()
        if there:
            log.warning("the file is back at its path", path=self._names[0])
        else:
            log.error(
                "the file was moved, deleted or replaced while in use: nothing is acknowledged any more; stop the "
                "service, put the right file in place with its -wal, start it again",
                path=self._names[0],
            )


class AnchoredFile:
    """The file of a SQLite database, kept open so that its log stays the same one."""

    def __init__(self, path: Path) -> None:
        """Name the file; it is opened with the first connection to it."""
        self._path = path
        self._opening = threading.Lock()
        self._anchor: sqlite3.Connection | None = None
        self._opened: OpenFile | None = None

    def connected(self, connection: sqlite3.Connection, _record: object = None) -> None:
        """Refuse a connection to another file than that of the first. Raise `DatabaseMoved`, `sqlite3.Error`."""
        try:
            with self._opening:
                if self._opened is None:
                    self._open()
            self.verify()
        except BaseException:
            connection.close()
            raise

    def _open(self) -> None:
        anchor = sqlite3.connect(self._path, check_same_thread=False)
        try:
            anchor.execute("PRAGMA journal_mode=WAL")  # opens the log
            self._opened = OpenFile(self._path)
        except BaseException as error:
            anchor.close()
            if isinstance(error, OSError):
                raise DatabaseMoved from error
            raise
        self._anchor = anchor

    def verify(self) -> None:
        """Raise `DatabaseMoved` unless the path still names the file that is open."""
        if self._opened is not None and not self._opened.is_there():
            raise DatabaseMoved

    def close(self) -> None:
        """Close it, after all other connections: the last one takes the log with it."""
        with self._opening:
            self._opened = None
            if self._anchor is not None:
                self._anchor.close()
                self._anchor = None
