"""Closing orders (timeout, cancel) and paying them: compare-and-set on the status, whoever comes first wins.

Closing is a transactional message with the other sign: `order_rollback`, to be delivered if the transaction commits.
"""

from collections.abc import Callable, Collection, Sequence

import structlog
from sqlalchemy import Connection, select, update

from common import failpoints
from common.chunks import ROWS, chunks
from common.clock import now_ms
from common.db import Database
from common.errors import CommitOutcomeUnknown, OrdersError, OutcomeUnknown, Unavailable
from common.events import ROLLBACK_TOPIC, OrderEvent
from common.tx.coordinator import Coordinator
from common.tx.record import AlreadyAborted, Outcome
from order.model import CloseReason, OrderClosed, OrderPaid, Status, orders, orders_without_stock
from order.service.reading import Order, OrderReader, statuses

log = structlog.get_logger()


class _Raced(Exception):
    """Some of the orders were paid or closed meanwhile: the message names orders that must not be released."""


class Closing:
    """Closes unpaid orders and sends their stock back."""

    def __init__(self, database: Database, coordinator: Coordinator, reader: OrderReader) -> None:
        """Take the order service's database, what begins transactions, and what reads orders."""
        self._database = database
        self._coordinator = coordinator
        self._reader = reader

    def close(self, order_ids: Collection[int], reason: CloseReason) -> list[int]:
        """Close those of the orders that are unpaid, at most `ROWS` under one half message; return which this call did.

        The message's orders are closed all or none, so a race with a payment sends it round again without the paid
        one. Raise `Unavailable` or `CommitOutcomeUnknown`: some may be closed; do it again.
        """
        return [order_id for part in chunks(order_ids, ROWS) for order_id in self._close_part(part, reason)]

    def _close_part(self, order_ids: Collection[int], reason: CloseReason) -> list[int]:
        while open_ids := self._still_open(order_ids):
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
        if order.status is Status.PAID:
            raise OrderPaid
        return order

    def _still_open(self, order_ids: Collection[int]) -> list[int]:
        with self._database.read() as connection:
            found = statuses(connection, order_ids)
        return sorted(order_id for order_id, status in found.items() if status is Status.CREATED)

    def _close_all(self, order_ids: Sequence[int], reason: CloseReason) -> bool:
        event = OrderEvent(tx_id=self._coordinator.ids.next(), order_ids=tuple(order_ids))
        rollback = event.to_message(ROLLBACK_TOPIC, reason.value)
        tx = self._coordinator.begin(event.tx_id, rollback, Outcome.COMMITTED, name="close")
        try:
            tx.commit(lambda connection: _close_rows(connection, order_ids, reason))
        except _Raced:
            tx.resolve(Outcome.ABORTED)
            return False
        except (AlreadyAborted, CommitOutcomeUnknown):
            raise  # the check-back has decided, or will
        except OrdersError:
            tx.resolve(Outcome.ABORTED)
            raise
        tx.resolve(Outcome.COMMITTED)
        return True


class Paying:
    """Marks orders paid."""

    def __init__(self, database: Database, reader: OrderReader, is_held: Callable[[int], bool]) -> None:
        """Take the order service's database, what reads orders, and what knows whether an order's stock is held."""
        self._database = database
        self._reader = reader
        self._is_held = is_held

    def pay(self, order_id: int, *, owner: str | None) -> Order:
        """Pay an unpaid order; again: the same. Raise `NotFound`, `OrderClosed`, `Unavailable`, `OutcomeUnknown`."""
        before = self._reader.get(order_id, owner=owner)
        if before.status is Status.CREATED and not self._is_held(order_id):
            return self._outcome(order_id, owner)
        try:
            self._database.transact(lambda connection: _pay_row(connection, order_id))
        except CommitOutcomeUnknown as error:
            raise OutcomeUnknown(order_id=str(order_id)) from error
        failpoints.hit("pay.committed")
        return self._outcome(order_id, owner)

    def _outcome(self, order_id: int, owner: str | None) -> Order:
        """Return the order if it is paid, or raise why it is not."""
        order = self._reader.get(order_id, owner=owner)
        if order.status is Status.CLOSED:
            raise OrderClosed
        if order.status is Status.CREATED:
            log.error("an order without its stock was to be paid", order_id=str(order_id))
            raise Unavailable("The stock of this order is not held at the moment; nothing was changed, try again.")
        return order


def _close_rows(connection: Connection, order_ids: Sequence[int], reason: CloseReason) -> None:
    is_open = orders.c.order_id.in_(order_ids) & (orders.c.status == Status.CREATED.value)
    changed = connection.execute(
        update(orders).where(is_open).values(status=Status.CLOSED.value, close_reason=reason.value, closed_at=now_ms())
    )
    if changed.rowcount != len(order_ids):
        raise _Raced


def _pay_row(connection: Connection, order_id: int) -> None:
    is_open = (orders.c.order_id == order_id) & (orders.c.status == Status.CREATED.value)
    is_held = ~select(orders_without_stock.c.order_id).where(orders_without_stock.c.order_id == order_id).exists()
    connection.execute(update(orders).where(is_open & is_held).values(status=Status.PAID.value, paid_at=now_ms()))
