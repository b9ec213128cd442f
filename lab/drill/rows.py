"""Rows of a deployment's databases, read from outside: no code of the services', and never a write."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql
from sqlalchemy.engine import URL, make_url

from ops.errors import CommandFailed

Rows = list[tuple[Any, ...]]

_PATIENCE = 10  # seconds for a connection, and for an answer


def read(url: str, *queries: str) -> list[Rows]:
    """Return the rows of each query, all of one snapshot. Raise `CommandFailed` where they can't be read."""
    place = make_url(url)
    try:
        return (_sqlite if place.get_backend_name() == "sqlite" else _mysql)(place, queries)
    except (sqlite3.Error, pymysql.Error) as error:
        raise CommandFailed(f"The database {place.database} can't be read: {error.args[-1]}.") from error


def _sqlite(place: URL, queries: tuple[str, ...]) -> list[Rows]:
    file = f"{Path(place.database or '').absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(file, uri=True, isolation_level=None, timeout=_PATIENCE)) as database:
        database.execute("BEGIN")
        return [database.execute(query).fetchall() for query in queries]


def _mysql(place: URL, queries: tuple[str, ...]) -> list[Rows]:
    with (
        pymysql.connect(
            host=place.host,
            port=place.port or 0,
            user=place.username,
            password=place.password or "",
            database=place.database,
            charset="utf8mb4",
            connect_timeout=_PATIENCE,
            read_timeout=_PATIENCE,
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        rows: list[Rows] = []
        for query in queries:
            cursor.execute(query)
            rows.append(list(cursor.fetchall()))
        return rows
