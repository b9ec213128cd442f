"""Short reads beside the writer; in WAL they neither wait for it nor hold it up."""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from halfmessage.errors import BrokerError
from halfmessage.mq.embedded.faults import translated
from halfmessage.mq.embedded.file import BrokerFile

Parameters = Sequence[Any] | Mapping[str, Any]


class Reader:
    """One read-only connection, shared by threads, opened when it is first used."""

    def __init__(self, file: BrokerFile, patience: float) -> None:
        """Read from `file`; who finds another one reading waits for it for `patience` seconds."""
        self._file = file
        self._patience = patience
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    def query(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """Return all rows. Raise `BrokerError`."""
        with self._connected() as connection:
            return connection.execute(sql, parameters).fetchall()

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Read several times from one state of the file. Raise `BrokerError`."""
        with self._connected() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                with suppress(sqlite3.Error):  # SQLite did it by itself, after some errors
                    connection.execute("ROLLBACK")

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with self._turn(), translated():
            if self._closed:
                raise BrokerError("The broker was closed.")
            if self._connection is None:
                self._connection = self._file.connect(read_only=True)
            try:
                yield self._connection
            except sqlite3.Error as error:
                self._file.noticed(error)
                self._connection.close()
                self._connection = None
                raise

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=self._patience):
            raise BrokerError("The broker's file is being read by others for too long; try again.")
        try:
            yield
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None
