"""What is written into the books, in the caller's transaction: money taken, money sent back, and what is told."""

import secrets
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, insert, select, update

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

# Built once: they are run for each payment.
_SESSION: Final = select(sessions).where(sessions.c.session_id == bindparam("id"))
_STATE: Final = (
    update(sessions)
    .where(sessions.c.session_id == bindparam("id"))
    .values(state=bindparam("to"), reason=bindparam("why"))
)
_CHARGE: Final = select(charges).where(charges.c.charge_id == bindparam("id"))
_CLAIM: Final = (
    update(charges)
    .where(charges.c.charge_id == bindparam("id"), charges.c.refund_id.is_(None))
    .values(refund_id=bindparam("refund"))
)
_REFUND: Final = (
    update(refunds)
    .where(refunds.c.refund_id == bindparam("id"))
    .values({name: bindparam(f"to_{name}") for name in ("state", "reason", "asked", "done_at")})
)
_NEW_SESSION, _NEW_CHARGE, _NEW_EVENT = insert(sessions), insert(charges), insert(events)
_NEW_REFUND, _NEW_CALLBACK, _NEW_PLAN = insert(refunds), insert(callbacks), insert(plans)


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


@dataclass(frozen=True, slots=True)
class Refund:
    """A row of `refunds`."""

    refund_id: int
    charge_id: int
    refund_key: str
    amount: int
    currency: str
    state: RefundState
    reason: str | None
    asked: int
    created_at: int
    done_at: int | None = None

    @classmethod
    def of(cls, row: Row[Any]) -> "Refund":
        """Read a row."""
        return cls(**{**{one.name: getattr(row, one.name) for one in fields(cls)}, "state": RefundState(row.state)})


class Books:
    """Writes the books."""

    def __init__(self, ids: IdSource) -> None:
        """Take new ids from `ids`."""
        self._ids = ids

    def open(self, connection: Connection, new: NewSession, dice: Dice) -> Row[Any]:
        """Write a session down, and do what its scenario wants done at once."""
        session_id, now = self._ids.next(), now_ms()
        row = {
            **asdict(new),
            "session_id": session_id,
            "reference": secrets.token_urlsafe(24),
            "state": SessionState.OPEN,
            "created_at": now,
        }
        connection.execute(_NEW_SESSION, row)
        session = connection.execute(_SESSION, {"id": session_id}).one()
        wanted = scenario(new.scenario)
        for _ in range(wanted.charges):
            self.charge(connection, session, dice)
        if wanted.declines:
            self.decline(connection, session, "The card was declined.", dice)
        if wanted.wait is not None:
            self.plan(connection, session_id, due_at=now + wanted.wait * 1000)
        return session

    def charge(self, connection: Connection, session: Row[Any], dice: Dice) -> None:
        """Take a session's money, or what a fault makes of it, and tell."""
        amount, currency = session.amount, session.currency
        if dice.strikes(Fault.WRONG_AMOUNT):
            amount += 1
        if dice.strikes(Fault.WRONG_CURRENCY):
            currency = _OTHER.get(currency, "EUR")
        money = {"charge_id": self._ids.next(), "amount": amount, "currency": currency}
        connection.execute(_NEW_CHARGE, {**money, "session_id": session.session_id, "created_at": now_ms()})
        connection.execute(_STATE, {"id": session.session_id, "to": SessionState.PAID, "why": None})
        self.tell(connection, session, EventKind.SUCCEEDED, dice, **money)

    def decline(self, connection: Connection, session: Row[Any], reason: str, dice: Dice) -> None:
        """Refuse a session for good, and tell."""
        connection.execute(_STATE, {"id": session.session_id, "to": SessionState.DECLINED, "why": reason})
        self.tell(connection, session, EventKind.FAILED, dice, reason=reason)

    def add_refund(self, connection: Connection, refund: Refund) -> None:
        """Write down a refund that is asked for the first time."""
        connection.execute(_NEW_REFUND, asdict(refund))

    def change_refund(self, connection: Connection, refund: Refund) -> None:
        """Write down what became of a refund."""
        changed = {name: getattr(refund, name) for name in ("state", "reason", "asked", "done_at")}
        connection.execute(
            _REFUND, {"id": refund.refund_id, **{f"to_{name}": value for name, value in changed.items()}}
        )

    def claim(self, connection: Connection, refund: Refund) -> bool:
        """Have a refund be the one of its charge; False where another is."""
        if connection.execute(_CLAIM, {"id": refund.charge_id, "refund": refund.refund_id}).rowcount:
            return True
        holder: int = connection.execute(_CHARGE, {"id": refund.charge_id}).one().refund_id
        return holder == refund.refund_id

    def tell_refund(
        self, connection: Connection, refund: Refund, session: Row[Any], dice: Dice, *, answered: bool
    ) -> None:
        """Tell where a refund stands; by a callback only where no call is `answered` with it."""
        kind = EventKind.REFUNDED if refund.state is RefundState.DONE else EventKind.REFUND_REFUSED
        told = {name: getattr(refund, name) for name in ("charge_id", "refund_id", "amount", "currency", "reason")}
        self.tell(connection, session, kind, dice, answered=answered, **told)

    def plan(self, connection: Connection, session_id: int, *, due_at: int, refund_id: int | None = None) -> None:
        """Have a session's money taken, or a refund done, later."""
        row = {"plan_id": self._ids.next(), "session_id": session_id, "refund_id": refund_id, "due_at": due_at}
        connection.execute(_NEW_PLAN, row)

    def tell(
        self,
        connection: Connection,
        session: Row[Any],
        kind: EventKind,
        dice: Dice,
        *,
        answered: bool = False,
        **about: Any,
    ) -> None:
        """Write an event down, and the callbacks that tell it: one, unless the scenario or a fault wants otherwise.

        None where a call is `answered` with it, and says all there is to say.
        """
        now, event_id = now_ms(), self._ids.next()
        event = {"event_id": event_id, "session_id": session.session_id, "kind": kind, "created_at": now}
        connection.execute(_NEW_EVENT, {**_NOTHING, **event, **about})
        if answered or not scenario(session.scenario).calls_back or dice.strikes(Fault.LOST):
            return
        behind = _BEHIND * dice.longest(Fault.REORDER) if dice.strikes(Fault.REORDER) else 0
        self._call(connection, event_id, now + (behind or dice.delay(Fault.DELAY)), held=bool(behind))
        if dice.strikes(Fault.DUPLICATE):
            self._call(connection, event_id, now + dice.longest(Fault.DUPLICATE), held=False)

    def _call(self, connection: Connection, event_id: int, due_at: int, *, held: bool) -> None:
        row = {"callback_id": self._ids.next(), "event_id": event_id, "due_at": due_at, "held": held}
        connection.execute(_NEW_CALLBACK, {**row, "state": CallbackState.WAITING})


_NOTHING: Final = dict.fromkeys(("charge_id", "refund_id", "amount", "currency", "reason"))
