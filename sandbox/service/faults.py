"""Faults that the sandbox has on purpose: each with a probability, all with one seed, kept with its books.

Which draw strikes is told by the seed and the number of the draw alone: the same calls in the same order fail again.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from common.db import Database
from sandbox.model import faults

MILLION: Final = 1_000_000
_FRACTIONS: Final = 2**64


class Fault(StrEnum):
    """What may go wrong; see docs/payments.md."""

    DELAY = "delay"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    LOST = "lost"
    WRONG_AMOUNT = "wrong_amount"
    WRONG_CURRENCY = "wrong_currency"
    BEGIN_FAILS = "begin_fails"
    BEGIN_FAILS_DONE = "begin_fails_done"
    ASK_FAILS = "ask_fails"
    REFUND_FAILS = "refund_fails"
    REFUND_FAILS_DONE = "refund_fails_done"
    REFUND_PENDING = "refund_pending"
    REFUND_REFUSED = "refund_refused"
    REFUND_REFUSED_DONE = "refund_refused_done"


@dataclass(frozen=True, slots=True)
class FaultReport:
    """One fault: its `probability`, and how often it might have struck (`drawn`) and did, since faults were set."""

    name: Fault
    probability: float
    drawn: int
    struck: int


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """All faults; `longest`: ms that one may delay something."""

    seed: int
    longest: int
    reports: tuple[FaultReport, ...]


NO_FAULTS: Final = FaultPlan(0, 0, ())


class Faults:
    """Sets faults, and tells what they did."""

    def __init__(self, database: Database) -> None:
        """Keep them in `database`."""
        self._database = database

    def set(self, seed: int, longest: int, probabilities: Mapping[Fault, float]) -> FaultPlan:
        """Have these faults from now on and no others, all counts at 0; `longest` in ms."""
        rows = [
            {"name": fault, "chance": round(probability * MILLION), "seed": seed, "longest": longest}
            for fault, probability in probabilities.items()
            if probability > 0
        ]

        def work(connection: Connection) -> FaultPlan:
            connection.execute(delete(faults))
            if rows:
                connection.execute(insert(faults), rows)
            return _plan(connection)

        return self._database.transact(work)

    def report(self) -> FaultPlan:
        """Return the faults that are set, and what they did."""
        with self._database.read() as connection:
            return _plan(connection)


def _plan(connection: Connection) -> FaultPlan:
    rows = connection.execute(select(faults).order_by(faults.c.name)).all()
    if not rows:
        return NO_FAULTS
    reports = tuple(FaultReport(Fault(row.name), row.chance / MILLION, row.drawn, row.struck) for row in rows)
    return FaultPlan(rows[0].seed, rows[0].longest, reports)


_SET = select(faults.c.name, faults.c.longest)
_DRAW = update(faults).where(faults.c.name == bindparam("fault")).values(drawn=faults.c.drawn + 1)
_DRAWN = select(faults.c.seed, faults.c.chance, faults.c.drawn).where(faults.c.name == bindparam("fault"))
_STRIKE = update(faults).where(faults.c.name == bindparam("fault")).values(struck=faults.c.struck + 1)


class Dice:
    """The faults of one transaction: what is drawn is counted with what it did, or neither is."""

    def __init__(self, connection: Connection) -> None:
        """Look which faults are set."""
        self._connection = connection
        self._longest: dict[str, int] = {row.name: row.longest for row in connection.execute(_SET)}

    def strikes(self, fault: Fault) -> bool:
        """Whether it strikes now."""
        return self._draw(fault) is not None

    def delay(self, fault: Fault) -> int:
        """Return by how many ms it delays something now; 0: it does not."""
        drawn = self._draw(fault)
        return 0 if drawn is None else max(1, round(drawn * self._longest[fault]))

    def longest(self, fault: Fault) -> int:
        """Return for how many ms it may delay something at most; 0 where it is not set."""
        return self._longest.get(fault, 0)

    def _draw(self, fault: Fault) -> float | None:
        """Return None, or where it strikes a number from 0 to 1, as random as the draw."""
        if fault not in self._longest:
            return None
        self._connection.execute(_DRAW, {"fault": fault})
        row = self._connection.execute(_DRAWN, {"fault": fault}).one()
        drawn = fraction(row.seed, fault, row.drawn) * MILLION
        if drawn >= row.chance:
            return None
        self._connection.execute(_STRIKE, {"fault": fault})
        return float(drawn / row.chance)


def fraction(seed: int, fault: Fault, number: int) -> float:
    """Return a number from 0 to 1 that is as good as random, the same for the same arguments."""
    digest = hashlib.sha256(f"{seed} {fault} {number}".encode()).digest()
    return int.from_bytes(digest[:8]) / _FRACTIONS
