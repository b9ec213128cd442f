"""Rows of a table by their key, each in a state that moves: what orders hold, and what becomes of it."""

from collections.abc import Collection, Iterable
from typing import Any, Generic, TypeVar

from sqlalchemy import Column, Connection, Row, bindparam, select, update

from halfmessage.chunks import VALUES, chunks, rows_in

K = TypeVar("K", int, str)


class States(Generic[K]):
    """The rows of one table. Its statements are made once, for they run for every order."""

    def __init__(self, key: Column[K], state: Column[str]) -> None:
        """Take the table's key, and the column of the state."""
        is_one = key.in_(bindparam("keys", expanding=True))
        self._found = select(key.table).where(is_one)
        self._moved = update(key.table).where(is_one).values({state: bindparam("to")})

    def find(self, connection: Connection, keys: Collection[K]) -> list[Row[Any]]:
        """Return the rows that there are, in no order."""
        return rows_in(connection, self._found, "keys", keys)

    def move(self, connection: Connection, keys: Iterable[K], to: str) -> None:
        """Move rows to a state, whatever theirs is."""
        for part in chunks(keys, VALUES):
            connection.execute(self._moved, {"keys": part, "to": to})
