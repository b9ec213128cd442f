"""Who logged in, or tried to: kept for so long, and so many at most."""

from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, insert, select

from common.db import Database
from common.purging import purge
from halfmessage.clock import now_ms
from halfmessage.ids import IdSource
from user.model import log_ins

MOST: Final = 1_000_000  # rows; the oldest go beyond it
_C = log_ins.c


class Outcome(StrEnum):
    """What became of it."""

    OK = "ok"
    WRONG = "wrong"
    REUSED = "reused"
    """A refresh token came twice, and its log-in was ended."""


class Audit:
    """Writes it down."""

    def __init__(self, database: Database, ids: IdSource, *, kept: float, most: int = MOST) -> None:
        """Keep rows for `kept` seconds, and no more than `most` of them."""
        self._database, self._ids = database, ids
        self._kept, self._most = int(kept * 1000), most

    def note(self, connection: Connection, user_id: int | None, name: str, address: str, outcome: Outcome) -> None:
        """Write down a log-in, or a try, in a transaction."""
        row = {"log_in_id": self._ids.next(), "user_id": user_id, "name": name, "address": address}
        connection.execute(insert(log_ins).values(**row, outcome=outcome.value, at=now_ms()))

    def knows(self, user_id: int | None, address: str) -> bool:
        """Return whether a user has logged in from an address. It is looked up for no user, too: it takes as long."""
        known = select(_C.log_in_id).where(
            _C.user_id == (user_id or 0), _C.address == address, _C.outcome == Outcome.OK.value
        )
        with self._database.read() as connection:
            return connection.execute(known.limit(1)).first() is not None

    def forget(self, user_id: int) -> int:
        """Delete what is kept of one user, so many rows a transaction; return how many. Raise as `purge` does."""
        return purge(self._database, _C.user_id, user_id + 1, _C.user_id >= user_id)  # along the index of users

    def purge(self) -> int:
        """Delete what is too old, and what is too much; return how many rows."""
        old = purge(self._database, _C.at, now_ms() - self._kept)
        with self._database.read() as connection:
            beyond = connection.scalar(select(_C.log_in_id).order_by(_C.log_in_id.desc()).offset(self._most).limit(1))
        return old if beyond is None else old + purge(self._database, _C.log_in_id, beyond + 1)
