"""Rows that count what there is of something: locked in one order for all, changed with few statements."""

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import Column, Connection, Row, bindparam, insert, select

from halfmessage.chunks import VALUES, chunks, rows_in

K = TypeVar("K", int, str)

_VARIABLES: Final = 3 * VALUES  # of one statement, see `halfmessage.chunks.VALUES`


class Counts(Generic[K]):
    """The counts in some columns of a table, by its key."""

    def __init__(self, key: Column[K], *columns: str, also: str = "") -> None:
        """Take the table's key, and the columns that count; `also`: what every change sets beside, as SQL."""
        self._key = key.name
        self._sets = (key.table.name, key.name, columns, also)
        self._locked = (
            select(key.table).where(key.in_(bindparam("keys", expanding=True))).order_by(key).with_for_update()
        )
        self._together = _VARIABLES // (2 * len(columns) + 1)

    def lock(self, connection: Connection, keys: Collection[K]) -> dict[K, Row[Any]]:
        """Lock the rows that there are, in the order of their keys; return them by key."""
        found = rows_in(connection, self._locked, "keys", sorted(keys))
        return {getattr(row, self._key): row for row in found}

    def add(self, connection: Connection, changes: Mapping[K, Collection[int]]) -> None:
        """Add to the counts of rows (key → how much to each of the columns), in the order of their keys."""
        for part in chunks(sorted(changes.items()), self._together):
            by_column = zip(*(more for _, more in part), strict=True)
            pairs = (zip((key for key, _ in part), column, strict=True) for column in by_column)
            parameters = [value for column in pairs for pair in column for value in pair]
            parameters += [key for key, _ in part]
            statement = _statement(*self._sets, len(part), positional=connection.dialect.positional)
            connection.exec_driver_sql(statement, tuple(parameters))


class Tallies(Counts[str]):
    """Counts in one column by a text, whose rows come with the first thing that they count."""

    def __init__(self, key: Column[str], column: str) -> None:
        """Take the table's key, and the column that counts."""
        super().__init__(key, column)
        self._column = column
        self._found = select(key, key.table.c[column]).where(key.in_(bindparam("keys", expanding=True)))
        self._new = insert(key.table)

    def known(self, connection: Connection, keys: Collection[str]) -> dict[str, int]:
        """Return the counts of those keys that have one."""
        return dict(rows_in(connection, self._found, "keys", sorted(keys)))

    def count(self, connection: Connection, changes: Mapping[str, int], known: Collection[str]) -> None:
        """Add to counts (key → how much); `known`: the keys that have one, by the caller's lock."""
        new = [{self._key: key, self._column: more} for key, more in changes.items() if key not in known]
        if new:
            connection.execute(self._new, new)
        self.add(connection, {key: (more,) for key, more in changes.items() if key in known})


@lru_cache(maxsize=4 * VALUES)
def _statement(table: str, key: str, columns: tuple[str, ...], also: str, rows: int, *, positional: bool) -> str:
    """Write the UPDATE of so many rows. SQLAlchemy would take a millisecond to put one together for each batch."""
    mark = "?" if positional else "%s"
    cases = f" WHEN {mark} THEN {mark}" * rows
    sets = [f"{column} = {column} + CASE {key}{cases} END" for column in columns]
    marks = ", ".join([mark] * rows)
    return f"UPDATE {table} SET {', '.join([*sets, *filter(None, [also])])} WHERE {key} IN ({marks})"  # noqa: S608 # nosec B608 - names of ours
