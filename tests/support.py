"""What tests of every kind share."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Select, event
from sqlalchemy.dialects import mysql

from common.db import Database
from halfmessage.participant.deducting import Decision
from halfmessage.participant.reservations import Reservation

T = TypeVar("T")

SetClock = Callable[[float], None]
"""Sets the wall clock, by seconds from the right time: the fixture `set_clock`."""


def eventually(condition: Callable[[], T], *, within: float = 5.0) -> T:
    """Return the first truthy value of `condition`; fail the test after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {within:g} s, last seen: {value!r}"
        time.sleep(0.01)


def short_of(decision: Decision) -> tuple[int, ...]:
    """Return the goods that were wanting for an order."""
    return tuple(decision.members.get("short", ()))


def lines_of(reservation: Reservation) -> dict[int, int]:
    """Return what a reservation of stock holds: quantities by goods id."""
    return {item["goods_id"]: item["quantity"] for item in reservation.held["items"]}


def reads_on_mysql(database: Database) -> list[str]:
    """Return a list to which each SELECT is added as it is sent, as MySQL is told it: SQLite knows no FOR UPDATE."""
    reads: list[str] = []

    def note(_connection: object, statement: object, *_: object) -> None:
        if isinstance(statement, Select):
            reads.append(str(statement.compile(dialect=mysql.dialect())))

    event.listen(database.engine, "before_execute", note)
    return reads


class Transactions:
    """How many rows each transaction of a database has changed, as long as it is watched."""

    def __init__(self, database: Database) -> None:
        self.sizes: list[int] = []
        self._rows = 0
        event.listen(database.engine, "after_cursor_execute", self._executed)
        event.listen(database.engine, "commit", self._committed)

    @property
    def largest(self) -> int:
        return max(self.sizes)

    def _executed(self, _connection: object, cursor: Any, statement: str, *_: object) -> None:
        if not statement.lstrip().upper().startswith("SELECT"):
            self._rows += max(cursor.rowcount, 0)

    def _committed(self, _connection: object) -> None:
        self.sizes.append(self._rows)
        self._rows = 0
