"""Tries to log in: each is counted before its password is looked at, and more and more wrong ones make the next wait.

There is no lock-out: a right password is taken as soon as the delay is over, and one that comes too early is not looked
at and delays nothing further. So that no stranger can keep a user waiting by trying all the time, tries from an address
from which the user has logged in before are counted by themselves.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, and_, delete, insert, select, update

from common.db import Database
from common.purging import purge
from halfmessage.clock import now_ms
from halfmessage.errors import DuplicateRow
from user.model import LogInDelayed, attempts

FREE: Final = 5  # wrong passwords without a delay
LONGEST: Final = 900  # seconds of the longest delay: some 100 tries a day
_KEPT: Final = 24 * 3600 * 1000  # ms after the last try: then they count no more
_APART: Final = 5000  # ms that the clocks of two machines may differ by
_C = attempts.c


def delay_after(failures: int) -> int:
    """Return the seconds to wait after so many wrong passwords: 1, 2, 4 and so on, from the one after `FREE`."""
    return 0 if failures <= FREE else min(LONGEST, 2 ** min(failures - FREE - 1, 16))


@dataclass(frozen=True, slots=True)
class Claim:
    """A try that was counted."""

    name: str
    place: str
    failures: int


class Attempts:
    """Counts tries by name and place."""

    def __init__(self, database: Database, *, clock: Callable[[], int] = now_ms) -> None:
        """Count in `database`; `clock` in ms since the epoch."""
        self._database = database
        self._clock = clock

    def claim(self, name: str, place: str) -> Claim:
        """Count a try as one that fails. Raise `LogInDelayed` where it comes too early, or as `transact` does.

        Threads that try at once are counted one after the other, so none gets a try more than it should.
        """
        try:
            return self._database.transact(lambda connection: self._claim(connection, name, place))
        except DuplicateRow:  # another thread counted the first try just now
            return self._database.transact(lambda connection: self._claim(connection, name, place))

    def _claim(self, connection: Connection, name: str, place: str) -> Claim:
        now, which = self._clock(), and_(_C.name == name, _C.place == place)
        row = connection.execute(select(_C.failures, _C.next_at, _C.last_at).where(which).with_for_update()).first()
        if row is None:
            connection.execute(insert(attempts).values(name=name, place=place, failures=1, next_at=now, last_at=now))
            return Claim(name, place, 1)
        # After a try of the future the clock went back: that one delays nothing, or it would until the clock caught up
        if row.last_at - _APART <= now < row.next_at:
            raise LogInDelayed(-((now - row.next_at) // 1000))  # rounded up
        failures = 1 if now - row.last_at > _KEPT else row.failures + 1
        next_at = now + delay_after(failures) * 1000
        connection.execute(update(attempts).where(which).values(failures=failures, next_at=next_at, last_at=now))
        return Claim(name, place, failures)

    def take_back(self, claim: Claim) -> None:
        """Uncount a try whose password was not looked at, unless another one was counted since."""
        before = claim.failures - 1
        still = and_(_C.name == claim.name, _C.place == claim.place, _C.failures == claim.failures)
        values = {"failures": before, "next_at": self._clock()}
        self._database.transact(lambda connection: connection.execute(update(attempts).where(still).values(**values)))

    @staticmethod
    def forgive(connection: Connection, claim: Claim) -> None:
        """Forget the tries of a name and place: a password was right."""
        connection.execute(delete(attempts).where(and_(_C.name == claim.name, _C.place == claim.place)))

    def purge(self) -> int:
        """Delete those that count no more; return how many."""
        return purge(self._database, _C.last_at, self._clock() - _KEPT)
