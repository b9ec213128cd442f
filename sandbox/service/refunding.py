"""Refunds: a charge goes back once at most, whatever is asked; each asking is written down."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, select

from common.errors import IdempotencyMismatch
from halfmessage.clock import now_ms
from halfmessage.errors import NotFound
from halfmessage.ids import IdSource
from sandbox.model import RefundState, charges, refunds, sessions
from sandbox.service.asking import Failed
from sandbox.service.books import Books, Refund
from sandbox.service.faults import Dice, Fault
from sandbox.service.together import Together

_REFUSED: Final = "The balance is too low."
_TWICE: Final = "The charge was sent back already, or will be, by another refund."
_NOT_ALL: Final = "Only all of a charge is sent back: its amount, in its currency."

_CHARGE: Final = select(charges).where(charges.c.charge_id == bindparam("id")).with_for_update()
_SESSION: Final = select(sessions).where(sessions.c.session_id == bindparam("id"))
_OF_KEY: Final = select(refunds).where(refunds.c.refund_key == bindparam("key"))


@dataclass(frozen=True, slots=True)
class NewRefund:
    """A merchant's asking for a charge to be sent back; `key` makes one refund, however often it is sent."""

    charge_id: int
    key: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class _Decision:
    """What becomes of a refund; `later`: ms until it is done all the same, None: it is not."""

    state: RefundState
    reason: str | None = None
    later: int | None = None


class Refunding:
    """Refunds, as they are asked for."""

    def __init__(self, together: Together, ids: IdSource, books: Books, wake: Callable[[], None]) -> None:
        """Write through `together`, with ids from `ids`; `wake` who sends callbacks."""
        self._together = together
        self._ids = ids
        self._books = books
        self._wake = wake

    def refund(self, new: NewRefund) -> Refund:
        """Send a charge back, or tell where the refund of the same key stands.

        Raise `NotFound` where there is no such charge, `IdempotencyMismatch` or `Failed`.
        """

        def work(connection: Connection) -> Refund | None:
            dice = Dice(connection)
            if dice.strikes(Fault.REFUND_FAILS):
                return None
            answered = not dice.strikes(Fault.REFUND_FAILS_DONE)
            refund = self._asked(connection, new, dice, answered=answered)
            return refund if answered else None

        found = self._together.transact(work)
        self._wake()
        if found is None:
            raise Failed
        return found

    def _asked(self, connection: Connection, new: NewRefund, dice: Dice, *, answered: bool) -> Refund:
        """Write the asking down, and decide it where it is not decided for good."""
        charge = connection.execute(_CHARGE, {"id": new.charge_id}).first()
        if charge is None:
            raise NotFound("There is no such charge.")
        row = connection.execute(_OF_KEY, {"key": new.key}).first()
        if row is None:
            about = (self._ids.next(), new.charge_id, new.key, new.amount, new.currency)
            refund = Refund(*about, RefundState.REFUSED, None, 1, now_ms())
        else:
            refund = Refund.of(row)
            if (refund.charge_id, refund.amount, refund.currency) != (new.charge_id, new.amount, new.currency):
                raise IdempotencyMismatch
            refund = replace(refund, asked=refund.asked + 1)
        if refund.state is RefundState.REFUSED:
            refund = self._carry_out(connection, charge, refund, dice, answered=answered)
        write = self._books.add_refund if row is None else self._books.change_refund
        write(connection, refund)
        return refund

    def _carry_out(
        self, connection: Connection, charge: Row[Any], refund: Refund, dice: Dice, *, answered: bool
    ) -> Refund:
        """Refuse a refund, begin it, or do it; return it as it is then."""
        decision = _decide(charge, refund, dice)
        session = connection.execute(_SESSION, {"id": charge.session_id}).one()
        if decision.state is not RefundState.REFUSED and not self._books.claim(connection, refund):
            decision = _Decision(RefundState.REFUSED, _TWICE)
        if decision.later is not None:
            due_at = now_ms() + decision.later
            self._books.plan(connection, charge.session_id, due_at=due_at, refund_id=refund.refund_id)
        told = refund.reason is not None  # a refusal is told once
        done_at = now_ms() if decision.state is RefundState.DONE else None
        refund = replace(refund, state=decision.state, reason=decision.reason, done_at=done_at)
        if refund.state is RefundState.DONE or (refund.state is RefundState.REFUSED and not told):
            self._books.tell_refund(connection, refund, session, dice, answered=answered)
        return refund


def _decide(charge: Row[Any], refund: Refund, dice: Dice) -> _Decision:
    if charge.refund_id not in {None, refund.refund_id}:
        return _Decision(RefundState.REFUSED, _TWICE)
    if (refund.amount, refund.currency) != (charge.amount, charge.currency):
        return _Decision(RefundState.REFUSED, _NOT_ALL)
    if dice.strikes(Fault.REFUND_REFUSED):
        return _Decision(RefundState.REFUSED, _REFUSED)
    if dice.strikes(Fault.REFUND_REFUSED_DONE):
        return _Decision(RefundState.REFUSED, _REFUSED, dice.longest(Fault.REFUND_REFUSED_DONE))
    if dice.strikes(Fault.REFUND_PENDING):
        return _Decision(RefundState.PENDING, None, dice.longest(Fault.REFUND_PENDING))
    return _Decision(RefundState.DONE)
