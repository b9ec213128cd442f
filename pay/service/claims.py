"""Work that is due, shared by all processes: one claims a row for a while, and the row is due again if it dies.

Times are of the wall clock, for processes come and go. With the clock an hour back, what was claimed, or put off by
seconds, would come an hour late: so no such time may lie further ahead than it could have been set by now.
"""

import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, Final

import structlog
from sqlalchemy import Column, ColumnElement, Connection, Integer, Table, and_, bindparam, literal, select, true, update

from common.db import Database
from halfmessage.chunks import VALUES, chunks
from halfmessage.clock import Watch, now_ms
from pay.model import CLAIMED_FOR, told

Key = tuple[Any, ...]
"""A row's primary key."""

CALLS_WITHIN: Final = CLAIMED_FOR / 2
"""Seconds for the calls of a claim, up to two in a row for each row; the other half is for what is stored of them."""

LONGEST: Final = 600.0
"""Seconds that work is put off for at most, unless its settings say more."""

_APART: Final = 5.0  # seconds that the clocks of two machines may differ by
_LONGEST_POWER: Final = 30  # of two: beyond it every distance is the longest


def distance(first: float, longest: float, tries: int) -> int:
    """Return the ms until the next try after so many: twice the last, at most `longest` seconds, up to a quarter off.

    Off by chance: what failed at one moment, for one reason, must not come again at one moment.
    """
    seconds = min(longest, first * 2 ** min(tries, _LONGEST_POWER))
    return int(1000 * seconds * random.uniform(0.75, 1))  # noqa: S311 # nosec B311 - guessing it gains nothing


AT_A_TIME: Final = 4.0
"""Seconds after which work that has no end lets its process look whether it is to stop."""


def while_any(run: Callable[[], int]) -> int:
    """Run until it finds nothing to do, or for `AT_A_TIME`; return how much it did."""
    done, last_start = 0, time.monotonic() + AT_A_TIME
    while time.monotonic() < last_start and (more := run()):
        done += more
    return done


@dataclass(frozen=True, slots=True)
class Claim:
    """Rows that this process has until a time (ms), which is what their due column says now."""

    rows: list[Any]
    until: int


log = structlog.get_logger()


class Claims:
    """The rows of one table whose time has come, by a column with an index. Each is given to one process at a time."""

    def __init__(
        self,
        database: Database,
        due: Column[int],
        *,
        only: ColumnElement[bool] | None = None,
        longest: float = LONGEST,
        but: ColumnElement[bool] | None = None,
    ) -> None:
        """Take the database, the column that says when a row is due (ms; NULL: never), and which rows alone count.

        `longest`: seconds that a row is put off for at most, `but` those of which this is not known.
        """
        self._database = database
        self._due = due
        self._longest_ms = int((max(longest, CLAIMED_FOR) + _APART) * 1000)
        self._clock = Watch()
        is_due = (true() if only is None else only) & (due <= bindparam("now"))
        # Made once: each is asked twice a second for as long as the process lives, mostly in vain
        self._any = select(literal(1)).select_from(due.table).where(is_due).limit(1)
        due_rows = select(*told(due.table)).where(is_due).order_by(due)
        # Rows that another process is claiming, or moving, are its own: they are passed over, not waited for
        self._first = due_rows.limit(bindparam("most", type_=Integer)).with_for_update(skip_locked=True)
        is_near = true() if but is None else ~but
        is_far = (true() if only is None else only) & is_near & (due > bindparam("latest"))
        self._far = select(*due.table.primary_key.columns).where(is_far).limit(VALUES)

    def take(self, limit: int) -> Claim:
        """Return up to `limit` rows that are due, longest first; each is due again after `CLAIMED_FOR`.

        Raise `DatabaseUnavailable` or `CommitOutcomeUnknown`: they may be claimed, and are due again all the same.
        """
        table: Table = self._due.table
        self._clock.follow(lambda: self._bring_near(table))
        now = now_ms()
        until = now + int(CLAIMED_FOR * 1000)
        with self._database.read() as connection:  # while nothing is due, nothing is written
            if limit < 1 or connection.execute(self._any, {"now": now}).first() is None:
                return Claim([], until)

        def work(connection: Connection) -> list[Any]:
            rows = list(connection.execute(self._first, {"now": now, "most": limit}))
            for which in by_keys(table, (key_of(table, row) for row in rows)):
                connection.execute(update(table).where(which).values({self._due.name: until}))
            return rows

        return Claim(self._database.transact(work), until)

    def _bring_near(self, table: Table) -> None:
        """Have all be due now that lies further ahead than it could have been put off by now, some at a time.

        Under a right clock that is nothing. What another process has claimed, and is at, is done twice: as after a
        claim that ended. Raise as `take` does.
        """
        moved = 0
        while some := self._some_far():
            self._database.transact(partial(self._move_near, table=table, rows=some))
            moved += len(some)
        if moved:
            log.warning("the clock went back: work of the future is due now", table=table.name, rows=moved)

    def _some_far(self) -> list[Any]:
        with self._database.read() as connection:  # under a right clock nothing is written
            return list(connection.execute(self._far, {"latest": now_ms() + self._longest_ms}))

    def _move_near(self, connection: Connection, table: Table, rows: Collection[Any]) -> None:
        now = now_ms()
        for which in by_keys(table, (key_of(table, row) for row in rows)):
            is_far = self._due > now + self._longest_ms  # or it was done meanwhile, and is due no more
            connection.execute(update(table).where(which & is_far).values({self._due.name: now}))


def by_keys(table: Table, keys: Iterable[Key]) -> Iterator[ColumnElement[bool]]:
    """Yield conditions that name all these rows by the primary key, of one column, or a provider and another.

    One for each provider: lists of pairs have no index on MariaDB.
    """
    *groups, last = table.primary_key.columns
    for group, members in groupby(sorted(keys), lambda key: key[:-1]):
        is_group = [column == value for column, value in zip(groups, group, strict=True)]
        for part in chunks((key[-1] for key in members), VALUES):
            yield and_(*is_group, last.in_(part))


def key_of(table: Table, row: Any) -> Key:
    """Return a row's primary key."""
    return tuple(getattr(row, column.name) for column in table.primary_key.columns)
