"""Closing orders (timeout, cancel): compare-and-set on the status, as paying is; the first wins.

Closing is a transactional message with the other sign: `order_rollback`, to be delivered if the transaction commits.
What participants have still to confirm is written with it: see `order.service.settling`.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, update

from common.db import Database
from common.registry import ROLLBACK_TOPIC
from halfmessage.chunks import ROWS, chunks
from halfmessage.clock import now_ms
from halfmessage.errors import CommitOutcomeUnknown, HalfMessageError, OutcomeUnknown
from halfmessage.participant.event import OrderEvent
from halfmessage.tx.coordinator import Coordinator
from halfmessage.tx.record import AlreadyAborted, Outcome
from order.model import CloseReason, Order, OrderPaid, Status, orders
from order.service.reading import OrderReader, statuses
from order.service.settling import Settlements


class _Raced(Exception):
    """Some of the orders were paid or closed meanwhile: the message names orders that must not be released."""


class Closing:
    """Closes unpaid orders and sends back what is held for them."""

    def __init__(
        self, database: Database, coordinator: Coordinator, reader: OrderReader, settlements: Settlements
    ) -> None:
        """Take the database, what begins transactions, what reads orders, and what participants have to confirm."""
        self._database = database
        self._coordinator = coordinator
        self._reader = reader
        self._settlements = settlements

    def close(self, order_ids: Collection[int], reason: CloseReason) -> list[int]:
        """Close those of the orders that are unpaid, at most `ROWS` under one half message; return which this call did.

        The message's orders are closed all or none, so a race with a payment sends it round again without the paid
        one. Raise `Unavailable` or `CommitOutcomeUnknown`: some may be closed; do it again.
        """
        return [order_id for part in chunks(order_ids, ROWS) for order_id in self._close_part(part, reason)]

    def _close_part(self, order_ids: Collection[int], reason: CloseReason) -> list[int]:
        while open_ids := self.still_open(order_ids):
            if self._close_all(open_ids, reason):
                return open_ids
        return []

    def cancel(self, order_id: int, *, owner: str | None) -> Order:
        """Cancel an unpaid order; again: the same. Raise `NotFound`, `OrderPaid`, `Unavailable`, `OutcomeUnknown`."""
        self._reader.get(order_id, owner=owner)
        try:
            self.close([order_id], CloseReason.CANCELLED)
        except CommitOutcomeUnknown as error:
            raise OutcomeUnknown(order_id=str(order_id)) from error
        order = self._reader.get(order_id, owner=owner)
        if order.status in {Status.PAID, Status.RETURNED}:
            raise OrderPaid
        return order

    def still_open(self, order_ids: Collection[int]) -> list[int]:
        """Return those of the orders that are neither paid nor closed, by their ids."""
        with self._database.read() as connection:
            found = statuses(connection, order_ids)
        return sorted(order_id for order_id, status in found.items() if status is Status.CREATED)

    def _close_all(self, order_ids: Sequence[int], reason: CloseReason) -> bool:
        event = OrderEvent(tx_id=self._coordinator.ids.next(), order_ids=tuple(order_ids))
        rollback = event.to_message(ROLLBACK_TOPIC, reason.value)
        tx = self._coordinator.begin(event.tx_id, rollback, Outcome.COMMITTED, name="close")
        try:
            tx.commit(lambda connection: self._close_rows(connection, order_ids, reason))
        except _Raced:
            tx.resolve(Outcome.ABORTED)
            return False
        except (AlreadyAborted, CommitOutcomeUnknown):
            raise  # the check-back has decided, or will
        except HalfMessageError:
            tx.resolve(Outcome.ABORTED)
            raise
        tx.resolve(Outcome.COMMITTED)
        return True

    def _close_rows(self, connection: Connection, order_ids: Sequence[int], reason: CloseReason) -> None:
        is_open = orders.c.order_id.in_(order_ids) & (orders.c.status == Status.CREATED.value)
        closed = {"status": Status.CLOSED.value, "close_reason": reason.value, "closed_at": now_ms()}
        if connection.execute(update(orders).where(is_open).values(closed)).rowcount != len(order_ids):
            raise _Raced
        self._settlements.note_void(connection, order_ids)
