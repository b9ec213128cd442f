"""The broker's file: opened, and still the one we opened."""

import sqlite3
import time
from pathlib import Path

import structlog

from halfmessage.errors import BrokerCorrupt, BrokerError
from halfmessage.mq.embedded.faults import DAMAGED, GONE, primary_code, translated
from halfmessage.mq.embedded.schema import OLDEST_SQLITE, prepare
from halfmessage.paths import sqlite_uri
from halfmessage.sqlite_file import UNREADABLE, OpenFile, damage, says_damaged

_CACHE = 1024  # KiB a connection
_WAL_KEPT = 8 * 1024 * 1024  # bytes of log that a checkpoint leaves in place
_RETRY = 0.01  # seconds between tries to open a file that another process is creating


class BrokerFile:
    """One file, made if it is missing. Its identity is fixed at opening: see `verify`."""

    def __init__(self, path: Path, wait: float) -> None:
        """Open or create `path`, waiting at most `wait` seconds for locks. Raise `BrokerError`."""
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise BrokerError(f"The embedded broker needs SQLite 3.35 or newer; this is {sqlite3.sqlite_version}.")
        self._path = path
        self._wait = wait
        self._is_damaged = False
        with translated():
            self.first_connection = self._open()
        try:
            self._opened = OpenFile(path)
        except OSError as error:
            raise BrokerCorrupt(GONE) from error

    def connect(self, *, read_only: bool = False) -> sqlite3.Connection:
        """Open one more connection. Raise `BrokerCorrupt` if the file is gone or damaged, `sqlite3.Error` otherwise."""
        self.verify()
        return self._connect("rw", read_only=read_only)

    def noticed(self, error: sqlite3.Error) -> None:
        """Take what SQLite said of the file: once that it is damaged, nothing is read or written any more."""
        if says_damaged(error) and not self._is_damaged:
            self._is_damaged = True
            structlog.get_logger().error("broker.file_damaged", path=str(self._path), said=str(error), hint=DAMAGED)

    def verify_sound(self) -> None:
        """Raise `BrokerCorrupt` once damage was noticed."""
        if self._is_damaged:
            raise BrokerCorrupt(DAMAGED)

    def verify(self) -> None:
        """Raise `BrokerCorrupt` unless the path and its log are the files we opened, and sound: see `OpenFile`."""
        self.verify_sound()
        if not self._opened.is_there():
            raise BrokerCorrupt(GONE)

    def _open(self) -> sqlite3.Connection:
        deadline = time.monotonic() + self._wait
        while True:
            try:
                return self._create_or_check()
            except UnicodeDecodeError as error:
                raise self._damaged(UNREADABLE) from error
            except sqlite3.Error as error:
                if says_damaged(error):
                    raise self._damaged(str(error)) from error
                # switching to WAL does not wait for a lock, it fails at once
                if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(_RETRY)

    def _create_or_check(self) -> sqlite3.Connection:
        connection = self._connect("rwc")
        try:
            self._look_through(connection)
            prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _look_through(self, connection: sqlite3.Connection) -> None:
        if said := damage(connection):
            raise self._damaged(said)

    def _damaged(self, said: str) -> BrokerCorrupt:
        return BrokerCorrupt(
            f"{self._path} is damaged; SQLite says: {said}. Stop every service, restore the file or start with a new "
            "one: docs/backup.md."
        )

    def _connect(self, mode: str, *, read_only: bool = False) -> sqlite3.Connection:
        connection = sqlite3.connect(
            sqlite_uri(self._path, mode),
            uri=True,
            timeout=self._wait,
            isolation_level=None,
            check_same_thread=False,
        )
        settings = ["synchronous=FULL", f"cache_size=-{_CACHE}", f"journal_size_limit={_WAL_KEPT}"]
        settings.append("query_only=ON" if read_only else "busy_timeout=0")  # the writer waits by itself, see there
        try:
            for setting in settings:
                connection.execute(f"PRAGMA {setting}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection
