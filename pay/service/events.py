"""Stored events are handled: money that pays its order becomes a message to the order service, any other goes back.

A success is a transactional message of pay's own, `payment_succeeded`, to be delivered if the transaction commits: the
record, the payment's move, the charge and the event are one transaction, over a batch all or none.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import structlog
from sqlalchemy import Connection, bindparam, select

from common.db import Database
from common.payments import PaymentEvent
from common.registry import PAYMENT_TOPIC
from halfmessage import failpoints
from halfmessage.chunks import ROWS, VALUES, chunks, rows_in
from halfmessage.errors import (
    BelowZero,
    CommitOutcomeUnknown,
    DuplicateRow,
    HalfMessageError,
    RowRefused,
    Unavailable,
)
from halfmessage.tx.coordinator import Coordinator
from halfmessage.tx.record import AlreadyAborted, Outcome
from pay.model import CLAIMED_FOR, payment_events, reservations, told
from pay.service.claims import Claims, by_keys
from pay.service.inbox import EventKey
from pay.service.ledger import Tally
from pay.service.posting import Posting, Raced, Times

log = structlog.get_logger()

_ROUNDS: Final = 20
"""Times that a batch is looked at anew, as others moved what it is about."""

_EVENTS = select(*told(payment_events)).where(payment_events.c.handled_at.is_(None))
_PLACED_BY = select(reservations.c.order_id, reservations.c.tx_id).where(
    reservations.c.order_id.in_(bindparam("order_ids", expanding=True))
)
Tell = Callable[[Tally], object]
"""Told what a committed transaction did to money."""


class Handling:
    """Handles stored events."""

    def __init__(self, database: Database, coordinator: Coordinator, times: Times, tell: Tell = lambda _: None) -> None:
        """Take the pay service's database, what begins transactions, distances, and what counts money."""
        self._database = database
        self._coordinator = coordinator
        self._times = times
        self._tell = tell
        self._due = Claims(database, payment_events.c.handle_at, longest=CLAIMED_FOR)

    def handle(self, keys: Collection[EventKey]) -> None:
        """Handle those of the events that are not handled yet, so many together.

        Raise `Unavailable` or `CommitOutcomeUnknown`: some may be handled; do it again.
        """
        for part in chunks(sorted(set(keys)), ROWS):
            self._handle_part(part)

    def handle_due(self) -> int:
        """Handle what was stored a while ago and is not handled: its process died, or failed. Return how many events.

        At most `VALUES`. Raise as `handle` does.
        """
        keys = [(row.provider, row.event_id) for row in self._due.take(VALUES).rows]
        try:
            self.handle(keys)
        except (RowRefused, BelowZero):  # one of them, which must not hold up the others
            self._one_by_one(keys)
        return len(keys)

    def _one_by_one(self, keys: Sequence[EventKey]) -> None:
        for key in keys:
            try:
                self.handle([key])
            except (RowRefused, BelowZero):
                log.exception("the database refuses what an event means", provider=key[0], event_id=key[1])

    def _handle_part(self, keys: Sequence[EventKey]) -> None:
        for _ in range(_ROUNDS):
            try:
                paying, others = self._looked_at(keys)
                if paying:
                    self._succeed(paying)
                if not others or not self._settle(keys):
                    return
            except (Raced, DuplicateRow) as error:
                log.info("events are looked at again", events=len(keys), reason=repr(error))
        raise Unavailable("The payments of these events are changed by others all the time; try again.")

    def _looked_at(self, keys: Sequence[EventKey]) -> tuple[list[Any], int]:
        """Return the events that would pay, of each payment one, and how many others there are.

        As far as a read without locks can tell.
        """
        paying: list[Any] = []
        with self._database.read() as connection:
            events = _unhandled(connection, keys)
            ledger = Posting(connection, events, self._times, lock=False).ledger
        for event in events:
            if ledger.would_pay(event):
                ledger.handle(event)
                paying.append(event)
        return paying, len(events) - len(paying)

    def _succeed(self, paying: Sequence[Any]) -> None:
        """Pay these orders, all or none. Raise `Raced`, or what the database and the broker raise."""
        tx_id = self._coordinator.ids.next()
        message = self._message(tx_id, paying).to_message(PAYMENT_TOPIC)
        tx = self._coordinator.begin(tx_id, message, Outcome.COMMITTED, name="success")
        try:
            tally = tx.commit(lambda connection: self._keep(connection, paying, tx_id))
        except Raced:
            tx.resolve(Outcome.ABORTED)
            raise
        except (AlreadyAborted, CommitOutcomeUnknown):
            raise  # the check-back has decided, or will
        except HalfMessageError:
            tx.resolve(Outcome.ABORTED)
            raise
        tx.resolve(Outcome.COMMITTED)
        self._tell(tally)

    def _message(self, tx_id: int, paying: Sequence[Any]) -> PaymentEvent:
        providers = {event.order_id: event.provider for event in paying}
        with self._database.read() as connection:
            return payment_event(connection, tx_id, providers)

    def _keep(self, connection: Connection, paying: Sequence[Any], tx_id: int) -> Tally:
        posting = Posting(connection, paying, self._times)
        for event in paying:
            if not posting.ledger.would_pay(event):
                raise Raced
            posting.ledger.handle(event, tx_id)
        posting.write()
        return posting.ledger.tally

    def _settle(self, keys: Sequence[EventKey]) -> bool:
        """Take all events that pay nothing, in one local transaction; return whether some would pay after all."""

        def work(connection: Connection) -> tuple[bool, Tally]:
            events = _unhandled(connection, keys)
            posting = Posting(connection, events, self._times)
            is_left = False
            for event in events:
                if posting.ledger.would_pay(event):
                    is_left = True
                else:
                    posting.ledger.handle(event)
            posting.write()
            return is_left, posting.ledger.tally

        is_left, tally = self._database.transact(work)
        failpoints.hit("event.handled")
        self._tell(tally)
        return is_left


def payment_event(connection: Connection, tx_id: int, providers: Mapping[int, str]) -> PaymentEvent:
    """Return what tells that orders were paid: order id → who took the money. At most `ROWS` orders."""
    order_ids = sorted(providers)
    placed_by = {row.order_id: row.tx_id for row in rows_in(connection, _PLACED_BY, "order_ids", order_ids)}
    return PaymentEvent(
        tx_id=tx_id,
        order_ids=tuple(order_ids),
        placed_by=tuple(placed_by[order_id] for order_id in order_ids),
        providers=tuple(providers[order_id] for order_id in order_ids),
    )


def _unhandled(connection: Connection, keys: Sequence[EventKey]) -> list[Any]:
    """Return those of the events that are not handled, in the order in which they came."""
    found = [row for which in by_keys(payment_events, keys) for row in connection.execute(_EVENTS.where(which))]
    return sorted(found, key=lambda event: (event.received_at, event.provider, event.event_id))
