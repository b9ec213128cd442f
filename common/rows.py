"""Rows of a table as objects: looked up by their ids, listed newest first, changed."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import Column, ColumnElement, Connection, CursorResult, bindparam, select, update

from common.db import Database
from halfmessage.chunks import rows_in
from halfmessage.errors import NotFound

T = TypeVar("T")


class Rows(Generic[T]):
    """The rows of one table of a database. Each method raises `Unavailable` where it can't be asked."""

    def __init__(
        self,
        database: Database,
        key: Column[int],
        shape: Callable[..., T],
        read: Callable[[Mapping[Any, Any]], T] | None = None,
    ) -> None:
        """Take the table's key, an id, and the dataclass of an object, whose fields are called as the columns are.

        `read` makes an object of the columns' values where these are not what its fields are.
        """
        self._database, self._key = database, key
        self._read = read or (lambda row: shape(**row))
        self._all = select(*(key.table.c[field.name] for field in fields(cast("Any", shape))))
        # Built once: they are the most frequent questions
        self._by_id = self._all.where(key == bindparam("id"))
        self._by_ids = self._all.where(key.in_(bindparam("ids", expanding=True)))

    def get(self, one: int) -> T:
        """Return the object with this id. Raise `NotFound`."""
        with self._database.read() as connection:
            return self._the(connection.execute(self._by_id, {"id": one}))

    def first(self, which: ColumnElement[bool]) -> T:
        """Return an object for whose row a condition holds. Raise `NotFound`."""
        with self._database.read() as connection:
            return self._the(connection.execute(self._all.where(which)))

    def lookup(self, ids: Iterable[int]) -> tuple[T, ...]:
        """Return those that exist, in no order."""
        with self._database.read() as connection:
            return tuple(self._read(row._mapping) for row in rows_in(connection, self._by_ids, "ids", set(ids)))  # noqa: SLF001 - its public name

    def newest(self, limit: int, before: int | None, *which: ColumnElement[bool]) -> list[T]:
        """Return up to `limit`, newest first, whose ids are below `before` and for which all conditions hold."""
        older = [] if before is None else [self._key < before]
        statement = self._all.where(*older, *which).order_by(self._key.desc()).limit(limit)
        with self._database.read() as connection:
            return list(map(self._read, connection.execute(statement).mappings()))

    def change(self, one: int, values: Mapping[str, Any], *which: ColumnElement[bool]) -> T:
        """Change columns of a row, if all conditions hold for it; return what it is now.

        Raise `NotFound`, `Unavailable` (not changed) or `OutcomeUnknown`.
        """
        statement = update(self._key.table).where(self._key == one, *which).values(**values)

        def work(connection: Connection) -> T:
            connection.execute(statement)
            return self._the(connection.execute(self._by_id, {"id": one}))

        return self._database.transact(work)

    def _the(self, found: CursorResult[Any]) -> T:
        row = found.mappings().first()
        if row is None:
            raise NotFound
        return self._read(row)
