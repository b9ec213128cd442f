"""Rows of a deployment's databases, read from outside: no code of the services', and never a write."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pymysql
from sqlalchemy.engine import URL, make_url

from ops.errors import CommandFailed

Rows = list[tuple[Any, ...]]

Ask = Callable[[str], Rows]
"""Returns the rows of a query."""

UNTOLD = "SELECT order_id FROM settlements WHERE participant = '{participant}' AND fate = 'paid'"
"""Of the order database: paid orders of which it is written down that a participant is to be told."""

_PATIENCE = 10.0  # seconds for a connection, and for an answer


def read(url: str, *queries: str) -> list[Rows]:
    """Return the rows of each query, all of one snapshot. Raise `CommandFailed` where they can't be read."""
    with snapshot(url) as ask:
        return [ask(query) for query in queries]


@contextmanager
def snapshot(url: str | URL, *, patience: float = _PATIENCE) -> Iterator[Ask]:
    """Yield what asks a database, all of one snapshot; an answer may take `patience` seconds.

    Raise `CommandFailed` where it can't be read.
    """
    place = make_url(url)
    opened = _sqlite if place.get_backend_name() == "sqlite" else _mysql

    def ask(query: str) -> Rows:
        with _errors_of(place):
            return raw(query)

    with _errors_of(place), opened(place, patience) as raw:
        yield ask


@contextmanager
def _errors_of(place: URL) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, pymysql.Error) as error:
        raise CommandFailed(f"The database {place.database} can't be read: {error.args[-1]}.") from error


@contextmanager
def _sqlite(place: URL, patience: float) -> Iterator[Ask]:
    file = f"{Path(place.database or '').absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(file, uri=True, isolation_level=None, timeout=patience)) as database:
        database.execute("BEGIN")
        yield lambda query: database.execute(query).fetchall()


@contextmanager
def _mysql(place: URL, patience: float) -> Iterator[Ask]:
    with (
        pymysql.connect(
            host=place.host,
            port=place.port or 0,
            user=place.username,
            password=place.password or "",
            database=place.database,
            charset="utf8mb4",
            connect_timeout=int(_PATIENCE),
            read_timeout=patience,
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")

        def ask(query: str) -> Rows:
            cursor.execute(query)
            return list(cursor.fetchall())

        yield ask
