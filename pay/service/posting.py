"""Reading a ledger under locks, and writing what events did to it, with few statements for many events."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, case, exists, insert, null, select, update

from halfmessage.chunks import VALUES, chunks
from halfmessage.clock import now_ms
from pay.model import ChargeState, PaymentState, Via, charges, payment_events, payments
from pay.providers.port import Kind
from pay.service import tries
from pay.service.claims import by_keys
from pay.service.ledger import ChargeKey, Ledger, Money, Values
from pay.service.payments import close_tries, move, owed_by

_MOVING = ("state", "kept_for", "reason", "refund_id", "refusal", "next_try_at", "refund_since", "refunded_at")
_CHARGE = (charges.c.provider == bindparam("its_provider")) & (charges.c.charge_id == bindparam("its_id"))
_MOVE = (
    update(charges)
    .where(_CHARGE & (charges.c.state == bindparam("was")))
    .values({name: bindparam(f"to_{name}") for name in _MOVING})
)
_EVENT = (payment_events.c.provider == bindparam("its_provider")) & (payment_events.c.event_id == bindparam("its_id"))
_HANDLED = (
    update(payment_events)
    .where(_EVENT & payment_events.c.handled_at.is_(None))
    .values(
        handled_at=bindparam("now"),
        handle_at=None,
        effect=bindparam("did"),
        reason=bindparam("why"),
        tx_id=bindparam("tx"),
    )
)


class Raced(Exception):
    """Something was moved meanwhile by another process: look again."""


@dataclass(frozen=True, slots=True)
class Times:
    """Distances in ms: until an untold success is told again, a refusal is asked about again, tries are given up."""

    tell_after: int
    refused_again_after: int
    poll_until: int


class Posting:
    """One transaction's ledger: read and locked when made."""

    def __init__(self, connection: Connection, events: Sequence[Any], times: Times, *, lock: bool = True) -> None:
        """Lock what the events (rows of `payment_events`) are about, in the order for everybody; or only read it.

        Raise `Raced` where a charge came between: its payment is locked before it.
        """
        self._connection, self._times = connection, times
        keys = {(event.provider, event.charge_id) for event in events if event.charge_id is not None}
        orders = {row.order_id for row in read_charges(connection, keys)} | {event.order_id for event in events}
        owed = {row.order_id: dict(row._mapping) for row in owed_by(connection, orders - {None}, lock=lock)}  # noqa: SLF001 - public
        rows = read_charges(connection, keys, lock=lock)
        if not {row.order_id for row in rows} <= orders | {None}:
            raise Raced
        taken = {(row.provider, row.charge_id): dict(row._mapping) for row in rows}  # noqa: SLF001 - its public name
        self._was = {key: charge.copy() for key, charge in taken.items()}
        sent_back = _said_to_be_sent_back(connection, keys)
        self.ledger = Ledger(now_ms(), times.refused_again_after, owed, taken, sent_back)

    def write(self) -> None:
        """Write what the events did. Raise `Raced`, or `DuplicateRow`: another wrote the same charge."""
        self._write_payments()
        self._write_tries()
        self._write_charges()
        finish(self._connection, self.ledger.payments)
        self._each(_HANDLED, self.ledger.handled)

    def _write_payments(self) -> None:
        now, of_provider = self.ledger.now, defaultdict(list)
        for order_id in self.ledger.paid:
            of_provider[self.ledger.payments[order_id]["provider"]].append(order_id)
        known = payments.c.known  # of a payment that the order service, restored or not, says is paid
        tell_at = case((known, null()), else_=now + self._times.tell_after)
        for provider, paid in of_provider.items():
            values = {"provider": provider, "succeeded_at": now, "tell_at": tell_at}
            self._move(paid, PaymentState.OPEN, PaymentState.SUCCEEDED, values)
        for state, order_ids in self.ledger.reopened.items():
            self._move(order_ids, state, PaymentState.REFUNDING, {"tell_at": None})

    def _move(self, order_ids: Collection[int], before: PaymentState, to: PaymentState, values: Values) -> None:
        for part in chunks(order_ids, VALUES):
            if move(self._connection, part, before, to, **values) != len(part):
                raise Raced

    def _write_tries(self) -> None:
        now = self.ledger.now
        until = now + self._times.poll_until
        for event in self.ledger.tries:
            if event.reference is None:
                continue
            if event.kind == Kind.SUCCEEDED:
                at_once = event.via == Via.ANSWER
                tries.took(self._connection, event.provider, event.reference, now, at_once=at_once)
            else:
                tries.end(self._connection, event.provider, event.reference, event.reason or event.kind, now, until)
        close_tries(self._connection, self.ledger.paid, now, until)

    def _write_charges(self) -> None:
        after = sorted(self.ledger.charges.items())
        new = [charge for key, charge in after if key not in self._was]
        if new:
            self._connection.execute(insert(charges), new)
        moved = [
            {"its_provider": key[0], "its_id": key[1], "was": self._was[key]["state"]}
            | {f"to_{name}": charge[name] for name in _MOVING}
            for key, charge in after
            if key in self._was and charge != self._was[key]
        ]
        self._each(_MOVE, moved)

    def _each(self, statement: Any, rows: list[Values]) -> None:
        if rows and self._connection.execute(statement, rows).rowcount != len(rows):
            raise Raced


def finish(connection: Connection, order_ids: Iterable[int]) -> None:
    """Move those of the payments to `refunded` that are refunding and have no charge that did not go back."""
    is_left = exists().where((charges.c.order_id == payments.c.order_id) & (charges.c.state != ChargeState.REFUNDED))
    for part in chunks(sorted(order_ids), VALUES):
        is_there = payments.c.order_id.in_(part) & (payments.c.state == PaymentState.REFUNDING.value)
        connection.execute(update(payments).where(is_there & ~is_left).values(state=PaymentState.REFUNDED.value))


def read_charges(connection: Connection, keys: Iterable[ChargeKey], *, lock: bool = False) -> list[Any]:
    """Return the rows of those charges that exist; under locks, taken in the order of keys, if told so."""
    found: list[Any] = []
    for which in by_keys(charges, keys):
        query = select(charges).where(which).order_by(charges.c.charge_id)
        found += connection.execute(query.with_for_update() if lock else query)
    return found


def _said_to_be_sent_back(connection: Connection, keys: Iterable[ChargeKey]) -> dict[ChargeKey, set[Money]]:
    """Return the money of refunds that were heard of, by charge, whether they are handled or not."""
    columns = payment_events.c
    of_provider, found = defaultdict(list), defaultdict(set)
    for provider, charge_id in sorted(keys):
        of_provider[provider].append(charge_id)
    heard = columns.kind == Kind.REFUNDED.value
    for provider, charge_ids in of_provider.items():
        for part in chunks(charge_ids, VALUES):
            is_it = (columns.provider == provider) & columns.charge_id.in_(part)
            said = select(columns.charge_id, columns.amount, columns.currency).where(is_it & heard)
            for row in connection.execute(said):
                found[provider, row.charge_id].add((row.amount, row.currency))
    return found
