"""What the reservations of payments hold: what an order owes, until it is closed or its money is there.

Closing gives back what was paid: the header's release and the money's way back are one transaction.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BindParameter, Connection, bindparam, delete, func, insert, select, update

from common.db import Database
from halfmessage.chunks import VALUES, chunks, rows_in
from halfmessage.clock import now_ms
from halfmessage.participant.effect import Direct, Members, Refusal
from halfmessage.participant.reservations import Reservations
from pay.model import (
    AttemptState,
    ChargeState,
    PaymentState,
    Reason,
    attempts,
    charges,
    payment_events,
    payments,
    reservations,
)

# Made once, for they run for every order: SQLAlchemy keeps what it compiled of them.
_ORDERS: BindParameter[Any] = bindparam("order_ids", expanding=True)
_OF_ORDERS = payments.c.order_id.in_(_ORDERS)
_OWED = select(payments).where(_OF_ORDERS).order_by(payments.c.order_id)
_LOCKED = _OWED.with_for_update()
_TO_CLOSE = (
    update(attempts)
    .where(attempts.c.order_id.in_(_ORDERS) & (attempts.c.state == AttemptState.OPEN.value))
    .values(to_close=True, polls=0, next_poll_at=bindparam("now"), asked_until=bindparam("until"))
)
_KNOWN = update(payments).where(_OF_ORDERS).values(known=True, tell_at=None)
_WITH_MONEY = (
    select(charges.c.order_id).where(charges.c.order_id.in_(_ORDERS)),
    select(attempts.c.order_id).where(attempts.c.order_id.in_(_ORDERS) & attempts.c.next_poll_at.is_not(None)),
    select(payment_events.c.order_id).where(
        payment_events.c.order_id.in_(_ORDERS) & payment_events.c.handled_at.is_(None)
    ),
)
_ROWS = [
    select(table.c.order_id, func.count()).where(table.c.order_id.in_(_ORDERS)).group_by(table.c.order_id)
    for table in (attempts, payment_events)
]
_FORGET = [delete(table).where(table.c.order_id.in_(_ORDERS)) for table in (attempts, payments, payment_events)]

REFUSED: Final = "refused"


@dataclass(frozen=True, slots=True)
class Want:
    """What an order owes: `amount` in minor units; `expires_at`: when it is closed unless paid, ms since the epoch."""

    user_id: str
    amount: int
    currency: str
    expires_at: int


class Payments(Direct[Want]):
    """Opens a payment, closes it or sends its money back, or takes note that its order is paid."""

    held = payments

    def __init__(self, poll_until: float) -> None:
        """Have tries of a payment asked for until so many seconds after it was closed."""
        self._poll_until = int(poll_until * 1000)

    def take(self, connection: Connection, order_id: int, want: Want) -> Refusal | None:
        """Open one."""
        self.take_all(connection, {order_id: want})
        return None

    def take_all(self, connection: Connection, wants: Mapping[int, Want]) -> dict[int, Refusal]:
        """Open them with one statement."""
        now = now_ms()
        connection.execute(insert(payments), [_row(order_id, want, now) for order_id, want in wants.items()])
        return {}

    def unfit(self, want: Want) -> Refusal:  # noqa: ARG002 - whatever it wants
        """Return a word that no order of ours gets: the schema has refused before what the database does."""
        return Refusal(REFUSED)

    def give_back(self, connection: Connection, order_ids: Collection[int]) -> None:
        """Close what is open, send back what is kept, and let no try take further money."""
        now = now_ms()
        for part in chunks(sorted(order_ids), VALUES):
            states = {row.order_id: row.state for row in owed_by(connection, part)}
            is_open = [order_id for order_id, state in states.items() if state == PaymentState.OPEN]
            is_paid = [order_id for order_id, state in states.items() if state == PaymentState.SUCCEEDED]
            move(connection, is_open, PaymentState.OPEN, PaymentState.CLOSED, closed_at=now)
            move(connection, is_paid, PaymentState.SUCCEEDED, PaymentState.REFUNDING, closed_at=now, tell_at=None)
            close_tries(connection, part, now, now + self._poll_until)
            send_back_kept(connection, is_paid, Reason.ORDER_CLOSED, now)

    def paid(self, connection: Connection, order_ids: Collection[int]) -> None:
        """Note that the order service knows; it is told no more."""
        connection.execute(_KNOWN, {"order_ids": order_ids})

    def keeps(self, connection: Connection, order_ids: Collection[int]) -> Collection[int]:
        """Return the orders that money was ever taken for, or may yet be heard of."""
        found = (rows_in(connection, query, "order_ids", order_ids) for query in _WITH_MONEY)
        return {order_id for rows in found for (order_id,) in rows}

    def weigh(self, connection: Connection, order_ids: Collection[int]) -> dict[int, int]:
        """Count the tries and the events that go with each."""
        weights = dict.fromkeys(order_ids, 1)
        for query in _ROWS:
            for order_id, rows in rows_in(connection, query, "order_ids", order_ids):
                weights[order_id] += rows
        return weights

    def forget(self, connection: Connection, order_ids: Collection[int]) -> None:
        """Delete their rows: no money was taken for them."""
        for gone in _FORGET:
            connection.execute(gone, {"order_ids": order_ids})

    def describe(self, connection: Connection, order_id: int) -> Members:
        """Return what is owed, or was."""
        row = connection.execute(select(payments).where(payments.c.order_id == order_id)).first()
        return {} if row is None else {"amount": row.amount, "currency": row.currency}


def payment_reservations(database: Database, poll_until: float) -> Reservations[Want]:
    """Return the pay service's reservations; `poll_until`: see `Payments`."""
    return Reservations("pay", database, reservations, Payments(poll_until))


def owed_by(connection: Connection, order_ids: Collection[int], *, lock: bool = True) -> list[Any]:
    """Return the rows of those payments that exist; unless told otherwise under locks, taken in the order of ids."""
    return rows_in(connection, _LOCKED if lock else _OWED, "order_ids", sorted(order_ids))


def move(
    connection: Connection, order_ids: Sequence[int], before: PaymentState, to: PaymentState, **values: Any
) -> int:
    """Move payments that are in a state to another; return how many were. At most `VALUES` orders."""
    if not order_ids:
        return 0
    is_there = payments.c.order_id.in_(order_ids) & (payments.c.state == before.value)
    return connection.execute(update(payments).where(is_there).values(state=to.value, **values)).rowcount


def close_tries(connection: Connection, order_ids: Collection[int], now: int, until: int) -> None:
    """Have the open tries of payments closed at their providers, and asked for until a time. Times in ms."""
    for part in chunks(order_ids, VALUES):
        connection.execute(_TO_CLOSE, {"order_ids": part, "now": now, "until": until})


def send_back_kept(
    connection: Connection, order_ids: Sequence[int], reason: Reason, now: int, note: str | None = None
) -> int:
    """Have the kept charges of orders sent back; return how many. `now` in ms. At most `VALUES` orders."""
    if not order_ids:
        return 0
    going = {"state": ChargeState.REFUNDING.value, "kept_for": None, "reason": reason.value, "note": note}
    is_kept = charges.c.kept_for.in_(order_ids)
    statement = update(charges).where(is_kept).values(**going, next_try_at=now, refund_since=now)
    return connection.execute(statement).rowcount


def _row(order_id: int, want: Want, now: int) -> dict[str, Any]:
    return {
        "order_id": order_id,
        "user_id": want.user_id,
        "amount": want.amount,
        "currency": want.currency,
        "state": PaymentState.OPEN.value,
        "expires_at": want.expires_at,
        "created_at": now,
    }
