"""A service's database: an engine with our settings, and the transactions of `halfmessage.db` on it."""

import sqlite3
from pathlib import Path
from typing import Any, Final, cast

from sqlalchemy import create_engine, event, text
from sqlalchemy import exc as sa
from sqlalchemy.engine import URL, make_url

from common import mysql, tracing
from common.errors import OrdersError
from halfmessage.db import LOCK_WAIT, EngineTransactor, prepare, translated
from halfmessage.errors import DatabaseCorrupt, DatabaseUnavailable
from halfmessage.sqlite_file import UNREADABLE, AnchoredFile, damage

_SQLITE_CONNECTIONS = 8  # its writers take turns, and each connection has a cache of its own
_UNREADABLE = (
    "The URL of a database must be sqlite:///path or mysql+pymysql://user:password@host:port/name[?options], with "
    "options that PyMySQL has; %2F is / in a password."
)

WHOLE_TABLE: Final = 3600.0
"""Seconds for a statement that reads all of a table: of many millions of rows it answers nothing for minutes."""


class Database(EngineTransactor):
    """One service's database."""

    def __init__(self, url: str, *, pool_size: int = 8, statement_timeout: float = 5.0) -> None:
        """Connect lazily to `url` (SQLAlchemy's form) with at most `pool_size` connections.

        A statement that a server does not answer within `statement_timeout` seconds counts as a lost connection.
        """
        place = _read(url)
        is_sqlite = place.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"max_overflow": 0, "pool_timeout": LOCK_WAIT, "pool_use_lifo": True}
        if is_sqlite:
            options |= {
                "pool_size": min(pool_size, _SQLITE_CONNECTIONS),
                "connect_args": {"timeout": LOCK_WAIT, "check_same_thread": False},
            }
        else:
            options |= {"pool_size": pool_size, **mysql.engine_options(statement_timeout)}
        engine = create_engine(url, hide_parameters=True, **options)  # rows hold names and addresses
        self._file: AnchoredFile | None = None
        if is_sqlite:
            prepare(engine)
            if (path := place.database) and path != ":memory:":
                self._file = AnchoredFile(Path(path))
                event.listen(engine, "do_connect", lambda *_: self._verify_file())  # or SQLite would make it anew
                event.listen(engine, "connect", self._file.connected)
        else:
            mysql.watch(engine)
        tracing.engine(engine)
        super().__init__(engine, verify=self._verify_file)

    def ping(self) -> None:
        """Raise `DatabaseUnavailable` unless the database answers."""
        with self.read() as connection:
            connection.execute(text("SELECT 1"))

    def check(self) -> None:
        """Look through a SQLite file, for a second at most. Raise `DatabaseCorrupt`, which names it, if it is damaged.

        Raise `DatabaseUnavailable` if it can't be read.

        What is damaged and was not seen is refused once it is met.
        """
        if self._file is None:
            return
        try:
            with translated(), self.engine.connect() as connection:
                said = damage(cast("sqlite3.Connection", connection.connection.driver_connection))
        except DatabaseCorrupt as error:
            said = str(getattr(error.__cause__, "orig", error.detail))
        except UnicodeDecodeError:
            said = UNREADABLE
        except sqlite3.Error as error:
            raise DatabaseUnavailable from error
        if said is not None:
            raise DatabaseCorrupt(
                f"{self.engine.url.database} is damaged; SQLite says: {said}. Stop the service, restore the file with "
                "docs/backup.md, start again."
            )

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
        if self._file is not None:
            self._file.close()

    def _verify_file(self) -> None:
        if self._file is not None:
            self._file.verify()


def _read(url: str) -> URL:
    """Return a URL, read. Raise `OrdersError` without what is in it, of which any part may be the password."""
    try:
        read = make_url(url)
    except (sa.ArgumentError, ValueError):
        raise OrdersError(_UNREADABLE) from None
    if read.get_backend_name() != "sqlite" and not mysql.known_options().issuperset(read.query):
        raise OrdersError(_UNREADABLE)
    return read
