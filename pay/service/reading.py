"""Reading payments: each with its tries, its events and its charges."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, Table, bindparam, select

from common.db import Database
from halfmessage.chunks import rows_in
from halfmessage.errors import NotFound
from pay.model import (
    AttemptState,
    ChargeState,
    EventEffect,
    PaymentState,
    Via,
    attempts,
    charges,
    payment_events,
    payments,
    told,
)
from pay.providers.port import Kind

MOST_SHOWN: Final = 200
"""Events, charges and tries of one payment, each: the oldest."""

_STANDINGS = select(payments.c.order_id, payments.c.state, payments.c.provider).where(
    payments.c.order_id.in_(bindparam("order_ids", expanding=True))
)


@dataclass(frozen=True, slots=True)
class Event:
    """What a provider said; times in ms since the epoch. Its fields are as in `pay.model.payment_events`."""

    event_id: str
    provider: str
    kind: Kind
    charge_id: str | None
    amount: int | None
    currency: str | None
    via: Via
    received_at: int
    handled_at: int | None
    effect: EventEffect | None
    reason: str | None
    tx_id: int | None


@dataclass(frozen=True, slots=True)
class Charge:
    """Money that a provider took; its fields are as in `pay.model.charges`, `status` is its state."""

    charge_id: str
    provider: str
    amount: int
    currency: str
    status: ChargeState
    reason: str | None
    note: str | None
    refund_id: str | None
    refusal: str | None
    tries: int
    taken_at: int
    refunded_at: int | None


@dataclass(frozen=True, slots=True)
class Try:
    """One try to pay; its fields are as in `pay.model.attempts`, `status` is its state."""

    attempt_id: int
    provider: str
    status: AttemptState
    refusal: str | None
    polls: int
    created_at: int


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment as it stands; times in ms since the epoch, amounts in minor units."""

    order_id: int
    user_id: str
    amount: int
    currency: str
    status: PaymentState
    provider: str | None
    known: bool
    created_at: int
    expires_at: int
    succeeded_at: int | None
    closed_at: int | None
    events: tuple[Event, ...] = ()
    charges: tuple[Charge, ...] = ()
    attempts: tuple[Try, ...] = ()

    @property
    def payment_id(self) -> int:
        """The order's: an order has one payment."""
        return self.order_id


Standing = tuple[int, PaymentState, str | None]
"""Of an order's id: the state of its payment, and who took the money."""


class PaymentReader:
    """Reads the payments of one database."""

    def __init__(self, database: Database) -> None:
        """Take the pay service's database."""
        self._database = database

    def get(self, order_id: int, *, owner: str | None) -> Payment:
        """Return one, as seen by `owner` (None: by an admin). Raise `NotFound`, for another user's as well."""
        with self._database.read() as connection:
            return read(connection, order_id, owner=owner)

    def page(self, status: PaymentState | None, *, below: int | None, limit: int) -> list[Payment]:
        """Return everybody's payments, or those of a state, with ids below `below`, newest first.

        Without events, charges and tries, which `get` tells.
        """
        ids = select(payments.c.order_id).order_by(payments.c.order_id.desc()).limit(limit)
        if status is not None:
            ids = ids.where(payments.c.state == status.value)
        if below is not None:
            ids = ids.where(payments.c.order_id < below)
        # first the ids alone: for whole rows of a state MariaDB walked along all that are newer than `below`
        found = ids.subquery()
        query = select(payments).join(found, payments.c.order_id == found.c.order_id)
        with self._database.read() as connection:
            rows = sorted(connection.execute(query), key=lambda row: row.order_id, reverse=True)
        return [_payment(row) for row in rows]

    def lookup(self, order_ids: Collection[int]) -> list[Standing]:
        """Return where those stand that exist."""
        with self._database.read() as connection:
            return standings(connection, order_ids)


def standings(connection: Connection, order_ids: Collection[int]) -> list[Standing]:
    """Return where those of the payments stand that exist."""
    rows = rows_in(connection, _STANDINGS, "order_ids", sorted(order_ids))
    return [(row.order_id, PaymentState(row.state), row.provider) for row in rows]


def read(connection: Connection, order_id: int, *, owner: str | None) -> Payment:
    """See `PaymentReader.get`."""
    row = connection.execute(select(payments).where(payments.c.order_id == order_id)).first()
    if row is None or owner not in {None, row.user_id}:
        raise NotFound
    return replace(
        _payment(row),
        events=tuple(_event(each) for each in _rows(connection, payment_events, order_id, "received_at")),
        charges=tuple(_charge(each) for each in _rows(connection, charges, order_id, "taken_at")),
        attempts=tuple(_try(each) for each in _rows(connection, attempts, order_id, "attempt_id")),
    )


def _payment(row: Any) -> Payment:
    return Payment(
        order_id=row.order_id,
        user_id=row.user_id,
        amount=row.amount,
        currency=row.currency,
        status=PaymentState(row.state),
        provider=row.provider,
        known=row.known,
        created_at=row.created_at,
        expires_at=row.expires_at,
        succeeded_at=row.succeeded_at,
        closed_at=row.closed_at,
    )


def _rows(connection: Connection, table: Table, order_id: int, by: str) -> list[Any]:
    query = select(*told(table)).where(table.c.order_id == order_id).order_by(table.c[by], *table.primary_key)
    return list(connection.execute(query.limit(MOST_SHOWN)))


def _event(row: Any) -> Event:
    return Event(
        row.event_id,
        row.provider,
        Kind(row.kind),
        row.charge_id,
        row.amount,
        row.currency,
        Via(row.via),
        row.received_at,
        row.handled_at,
        None if row.effect is None else EventEffect(row.effect),
        row.reason,
        row.tx_id,
    )


def _charge(row: Any) -> Charge:
    return Charge(
        row.charge_id,
        row.provider,
        row.amount,
        row.currency,
        ChargeState(row.state),
        row.reason,
        row.note,
        row.refund_id,
        row.refusal,
        row.tries,
        row.taken_at,
        row.refunded_at,
    )


def _try(row: Any) -> Try:
    return Try(row.attempt_id, row.provider, AttemptState(row.state), row.refusal, row.polls, row.created_at)
