"""What is written into the books, in the caller's transaction: money taken, money sent back, and what is told."""

import secrets
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, update

from halfmessage.clock import now_ms
from halfmessage.ids import IdSource
from sandbox.model import (
    CallbackState,
    EventKind,
    RefundState,
    SessionState,
    callbacks,
    charges,
    events,
    plans,
    refunds,
    sessions,
)
from sandbox.service.faults import Dice, Fault
from sandbox.service.scenarios import scenario

_OTHER: Final = {"EUR": "USD"}
"""By currency the wrong one of a fault; EUR for all others."""
_BEHIND: Final = 2  # a callback that waits for later ones waits so many times as long as another is delayed


@dataclass(frozen=True, slots=True)
class NewSession:
    """A merchant's asking for money: `amount` in minor units of `currency`, `expires_at` in ms since the epoch.

    `attempt_id` is the idempotency key. Callbacks go to `callback_url`, a base URL.
    """

    attempt_id: int
    payment_id: int
    amount: int
    currency: str
    callback_url: str
    expires_at: int
    scenario: str


class Books:
    """Writes the books."""

    def __init__(self, ids: IdSource) -> None:
        """Take new ids from `ids`."""
        self._ids = ids

    def open(self, connection: Connection, new: NewSession) -> Row[Any]:
        """Write a session down, and do what its scenario wants done at once."""
        session_id, now = self._ids.next(), now_ms()
        row = {
            "session_id": session_id,
            "reference": secrets.token_urlsafe(24),
            "attempt_id": new.attempt_id,
            "payment_id": new.payment_id,
            "amount": new.amount,
            "currency": new.currency,
            "callback_url": new.callback_url,
            "scenario": new.scenario,
            "expires_at": new.expires_at,
            "state": SessionState.OPEN,
            "created_at": now,
        }
        connection.execute(insert(sessions).values(row))
        session = connection.execute(select(sessions).where(sessions.c.session_id == session_id)).one()
        wanted = scenario(new.scenario)
        for _ in range(wanted.charges):
            self.charge(connection, session)
        if wanted.declines:
            self.decline(connection, session, "The card was declined.")
        if wanted.wait is not None:
            self.plan(connection, session_id, due_at=now + wanted.wait * 1000)
        return session

    def charge(self, connection: Connection, session: Row[Any]) -> None:
        """Take a session's money, or what a fault makes of it, and tell."""
        dice = Dice(connection)
        amount, currency = session.amount, session.currency
        if dice.strikes(Fault.WRONG_AMOUNT):
            amount += 1
        if dice.strikes(Fault.WRONG_CURRENCY):
            currency = _OTHER.get(currency, "EUR")
        charge = {
            "charge_id": self._ids.next(),
            "session_id": session.session_id,
            "amount": amount,
            "currency": currency,
            "created_at": now_ms(),
        }
        connection.execute(insert(charges).values(charge))
        this = sessions.c.session_id == session.session_id
        connection.execute(update(sessions).where(this).values(state=SessionState.PAID))
        money = {name: charge[name] for name in ("charge_id", "amount", "currency")}
        self.tell(connection, session, EventKind.SUCCEEDED, **money)

    def decline(self, connection: Connection, session: Row[Any], reason: str) -> None:
        """Refuse a session for good, and tell."""
        this = sessions.c.session_id == session.session_id
        connection.execute(update(sessions).where(this).values(state=SessionState.DECLINED, reason=reason))
        self.tell(connection, session, EventKind.FAILED, reason=reason)

    def send_back(self, connection: Connection, refund: Row[Any]) -> bool:
        """Do a refund and tell; False, and nothing, where another refund has sent the charge back already."""
        charge = connection.execute(select(charges).where(charges.c.charge_id == refund.charge_id)).one()
        if charge.refund_id != refund.refund_id:
            free = (charges.c.charge_id == charge.charge_id) & charges.c.refund_id.is_(None)
            taken = connection.execute(update(charges).where(free).values(refund_id=refund.refund_id))
            if taken.rowcount == 0:
                return False
        done = {"state": RefundState.DONE, "reason": None, "done_at": now_ms()}
        connection.execute(update(refunds).where(refunds.c.refund_id == refund.refund_id).values(done))
        self.tell_refund(connection, refund, EventKind.REFUNDED)
        return True

    def tell_refund(self, connection: Connection, refund: Row[Any], kind: EventKind, reason: str | None = None) -> None:
        """Tell what became of a refund."""
        of_charge = charges.c.charge_id == refund.charge_id
        session = connection.execute(select(sessions).join(charges).where(of_charge)).one()
        money = {name: getattr(refund, name) for name in ("charge_id", "refund_id", "amount", "currency")}
        self.tell(connection, session, kind, reason=reason, **money)

    def plan(self, connection: Connection, session_id: int, *, due_at: int, refund_id: int | None = None) -> None:
        """Have a session's money taken, or a refund done, later."""
        row = {"plan_id": self._ids.next(), "session_id": session_id, "refund_id": refund_id, "due_at": due_at}
        connection.execute(insert(plans).values(row))

    def tell(self, connection: Connection, session: Row[Any], kind: EventKind, **fields: Any) -> None:
        """Write an event down, and the callbacks that tell it: one, unless the scenario or a fault wants otherwise."""
        now, event_id = now_ms(), self._ids.next()
        event = {"event_id": event_id, "session_id": session.session_id, "kind": kind, "created_at": now, **fields}
        connection.execute(insert(events).values(event))
        dice = Dice(connection)
        if not scenario(session.scenario).calls_back or dice.strikes(Fault.LOST):
            return
        behind = _BEHIND * dice.longest(Fault.REORDER) if dice.strikes(Fault.REORDER) else 0
        self._call(connection, event_id, now + (behind or dice.delay(Fault.DELAY)), held=bool(behind))
        if dice.strikes(Fault.DUPLICATE):
            self._call(connection, event_id, now + dice.longest(Fault.DUPLICATE), held=False)

    def _call(self, connection: Connection, event_id: int, due_at: int, *, held: bool) -> None:
        row = {"callback_id": self._ids.next(), "event_id": event_id, "due_at": due_at, "held": held}
        connection.execute(insert(callbacks).values(**row, state=CallbackState.WAITING))
