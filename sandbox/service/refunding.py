"""Refunds: a charge goes back once at most, whatever is asked; each asking is written down."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, update

from common.db import Database
from common.errors import IdempotencyMismatch
from halfmessage.clock import now_ms
from halfmessage.errors import DuplicateRow, NotFound
from halfmessage.ids import IdSource
from sandbox.model import EventKind, RefundState, charges, refunds
from sandbox.service.asking import Failed
from sandbox.service.books import Books
from sandbox.service.faults import Dice, Fault

_REFUSED: Final = "The balance is too low."
_TWICE: Final = "The charge was sent back already, or will be, by another refund."
_NOT_ALL: Final = "Only all of a charge is sent back: its amount, in its currency."


@dataclass(frozen=True, slots=True)
class NewRefund:
    """A merchant's asking for a charge to be sent back; `key` makes one refund, however often it is sent."""

    charge_id: int
    key: str
    amount: int
    currency: str


class Refunding:
    """Refunds, as they are asked for."""

    def __init__(self, database: Database, ids: IdSource, books: Books, wake: Callable[[], None]) -> None:
        """Write into `database`, with ids from `ids`; `wake` who sends callbacks."""
        self._database = database
        self._ids = ids
        self._books = books
        self._wake = wake

    def refund(self, new: NewRefund) -> Row[Any]:
        """Send a charge back, or tell where the refund of the same key stands.

        Raise `NotFound` where there is no such charge, `IdempotencyMismatch` or `Failed`.
        """

        def work(connection: Connection) -> Row[Any] | None:
            dice = Dice(connection)
            if dice.strikes(Fault.REFUND_FAILS):
                return None
            refund_id = self._asked(connection, new, dice)
            failed = dice.strikes(Fault.REFUND_FAILS_DONE)
            return None if failed else connection.execute(select(refunds).where(refunds.c.refund_id == refund_id)).one()

        try:
            found = self._database.transact(work)
        except DuplicateRow:  # the same key came in between
            found = self._database.transact(work)
        self._wake()
        if found is None:
            raise Failed
        return found

    def _asked(self, connection: Connection, new: NewRefund, dice: Dice) -> int:
        """Write the asking down, decide it where it is not decided for good, and return its id."""
        of_charge = select(charges).where(charges.c.charge_id == new.charge_id).with_for_update()
        charge = connection.execute(of_charge).first()
        if charge is None:
            raise NotFound("There is no such charge.")
        refund = connection.execute(select(refunds).where(refunds.c.refund_key == new.key)).first()
        if refund is None:
            refund = self._written(connection, new)
        elif (refund.charge_id, refund.amount, refund.currency) != (new.charge_id, new.amount, new.currency):
            raise IdempotencyMismatch
        else:
            _change(connection, refund, asked=refund.asked + 1)
        if refund.state == RefundState.REFUSED:
            self._decide(connection, charge, refund, dice)
        return int(refund.refund_id)

    def _written(self, connection: Connection, new: NewRefund) -> Row[Any]:
        row = {
            "refund_id": self._ids.next(),
            "charge_id": new.charge_id,
            "refund_key": new.key,
            "amount": new.amount,
            "currency": new.currency,
            "state": RefundState.REFUSED,
            "asked": 1,
            "created_at": now_ms(),
        }
        connection.execute(insert(refunds).values(row))
        return connection.execute(select(refunds).where(refunds.c.refund_id == row["refund_id"])).one()

    def _decide(self, connection: Connection, charge: Row[Any], refund: Row[Any], dice: Dice) -> None:
        """Refuse a refund, begin it, or do it."""
        if charge.refund_id not in {None, refund.refund_id}:
            self._refuse(connection, refund, _TWICE)
        elif (refund.amount, refund.currency) != (charge.amount, charge.currency):
            self._refuse(connection, refund, _NOT_ALL)
        elif dice.strikes(Fault.REFUND_REFUSED):
            self._refuse(connection, refund, _REFUSED)
        elif dice.strikes(Fault.REFUND_REFUSED_DONE):
            self._refuse(connection, refund, _REFUSED)
            self._later(connection, charge, refund, dice.longest(Fault.REFUND_REFUSED_DONE))
        elif dice.strikes(Fault.REFUND_PENDING):
            taken = update(charges).where(charges.c.charge_id == charge.charge_id)
            connection.execute(taken.values(refund_id=refund.refund_id))
            _change(connection, refund, state=RefundState.PENDING, reason=None)
            self._later(connection, charge, refund, dice.longest(Fault.REFUND_PENDING))
        else:
            self._books.send_back(connection, refund)

    def _refuse(self, connection: Connection, refund: Row[Any], reason: str) -> None:
        _change(connection, refund, reason=reason)
        if refund.reason is None:  # it is told once
            self._books.tell_refund(connection, refund, EventKind.REFUND_REFUSED, reason)

    def _later(self, connection: Connection, charge: Row[Any], refund: Row[Any], delay: int) -> None:
        due_at = now_ms() + delay
        self._books.plan(connection, charge.session_id, due_at=due_at, refund_id=refund.refund_id)


def _change(connection: Connection, refund: Row[Any], **values: Any) -> None:
    connection.execute(update(refunds).where(refunds.c.refund_id == refund.refund_id).values(**values))
