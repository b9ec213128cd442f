"""Placing orders: the steps of the protocol, for a batch of orders at a time.

    begin      half message `order_rollback`, to be delivered if the transaction aborts
    schedule   delayed message `order_timeout`
    deduct     stock, each order whole or not at all
    commit     ONE local transaction: record + orders + lines + idempotency keys
    resolve    roll the half message back: the orders stand

One batch has one `tx_id`: it commits or aborts whole. An order that drops out is refused alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog
from sqlalchemy import Connection, insert, tuple_
from sqlalchemy import select as sql_select

from common import failpoints
from common.errors import BrokerError, CommitOutcomeUnknown, DuplicateRow, OrdersError, Unavailable
from common.events import ROLLBACK_TOPIC, TIMEOUT_TOPIC, OrderEvent
from common.mq.port import Message, Producer
from common.tx.coordinator import Coordinator, Transaction
from common.tx.record import AlreadyAborted, Outcome
from order.clients import Deduction, StockClient
from order.model import InsufficientStock, idempotency_keys, order_lines, orders
from order.service.reading import Order

_COMMIT_ATTEMPTS = 3  # each loses only to another process that took one of the batch's idempotency keys meanwhile

# Made once, for they run for every batch: SQLAlchemy keeps what it compiled of them.
_NEW_ORDERS, _NEW_LINES, _NEW_KEYS = insert(orders), insert(order_lines), insert(idempotency_keys)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A client's key for one order, and the hash of the request it came with first."""

    user_id: str
    key: str
    request_hash: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A priced order that is to be placed."""

    order: Order
    idempotency: IdempotencyKey | None = None


class KeyTaken(OrdersError):
    """Another request with this Idempotency-Key has made its order meanwhile."""


class _NoneLeft(Exception):
    """Every order of the batch dropped out in the local transaction."""


Answer = Order | OrdersError
"""What one order of a batch got."""


class Placing:
    """Places batches of orders."""

    def __init__(self, coordinator: Coordinator, producer: Producer, stock: StockClient) -> None:
        """Take what begins transactions, what sends plain and delayed messages, and the stock service."""
        self._coordinator = coordinator
        self._producer = producer
        self._stock = stock

    def place(self, drafts: Sequence[Draft]) -> list[Answer]:
        """Place a batch; return for each draft its order or the error that it alone got.

        Raise what the whole batch got: `Unavailable` (nothing was created) or `CommitOutcomeUnknown`.
        """
        order_ids = tuple(draft.order.order_id for draft in drafts)
        tx = self._coordinator.begin(lambda tx_id: _rollback(tx_id, order_ids), Outcome.ABORTED, name="order")
        drafts = [replace(draft, order=replace(draft.order, tx_id=tx.tx_id)) for draft in drafts]
        self._schedule_timeout(tx, drafts)
        verdicts = self._deduct(tx, drafts)
        deducted = [draft for draft in drafts if verdicts[draft.order.order_id].verdict == "deducted"]
        if not deducted:
            tx.drop()
            return [_refusal(verdicts[draft.order.order_id]) for draft in drafts]
        placed = self._commit(tx, deducted)
        return [self._answer(draft, verdicts[draft.order.order_id], placed) for draft in drafts]

    def _schedule_timeout(self, tx: Transaction, drafts: Sequence[Draft]) -> None:
        event = OrderEvent(tx_id=tx.tx_id, order_ids=tuple(draft.order.order_id for draft in drafts))
        message = Message(TIMEOUT_TOPIC, event.to_body(), keys=event.keys, properties={"tx_id": str(tx.tx_id)})
        try:
            self._producer.send_at(message, max(draft.order.expires_at for draft in drafts))
        except BrokerError:
            tx.drop()
            raise
        failpoints.hit("order.timeout_scheduled")

    def _deduct(self, tx: Transaction, drafts: Sequence[Draft]) -> dict[int, Deduction]:
        wanted = {
            draft.order.order_id: {line.goods_id: line.quantity for line in draft.order.lines} for draft in drafts
        }
        try:
            verdicts = self._stock.deduct(tx.tx_id, wanted)
        except Unavailable:
            tx.resolve(Outcome.ABORTED)  # it may have been deducted: the rollback must be delivered
            raise
        failpoints.hit("order.deducted")
        return verdicts

    def _commit(self, tx: Transaction, drafts: Sequence[Draft]) -> set[int]:
        """Run the local transaction; return the ids of the orders that it wrote, and resolve the message."""
        try:
            placed = self._write(tx, drafts)
        except (AlreadyAborted, CommitOutcomeUnknown):
            raise  # the check-back has decided, or will
        except _NoneLeft:
            tx.resolve(Outcome.ABORTED)
            return set()
        except OrdersError:
            tx.resolve(Outcome.ABORTED)
            raise
        tx.resolve(Outcome.COMMITTED)
        self._release_dropped(tx, [draft for draft in drafts if draft.order.order_id not in placed])
        return placed

    def _write(self, tx: Transaction, drafts: Sequence[Draft]) -> set[int]:
        for _ in range(_COMMIT_ATTEMPTS):
            try:
                return tx.commit(lambda connection: _write_orders(connection, drafts))
            except DuplicateRow:
                log.info("an idempotency key was taken meanwhile; looking again", tx_id=tx.tx_id)
        raise Unavailable

    def _release_dropped(self, tx: Transaction, dropped: Sequence[Draft]) -> None:
        """Give back what was deducted for orders that dropped out of a batch that stands; the sweep does it else."""
        if dropped:
            try:
                self._producer.send(_rollback(tx.tx_id, tuple(draft.order.order_id for draft in dropped)))
            except BrokerError as error:
                log.warning("release of dropped orders left to the sweep", tx_id=tx.tx_id, reason=error.detail)

    @staticmethod
    def _answer(draft: Draft, verdict: Deduction, placed: set[int]) -> Answer:
        if draft.order.order_id in placed:
            return draft.order
        return KeyTaken() if verdict.verdict == "deducted" else _refusal(verdict)


def _rollback(tx_id: int, order_ids: tuple[int, ...]) -> Message:
    event = OrderEvent(tx_id=tx_id, order_ids=order_ids)
    return Message(ROLLBACK_TOPIC, event.to_body(), keys=event.keys, properties={"tx_id": str(tx_id)})


def _refusal(deduction: Deduction) -> OrdersError:
    if deduction.verdict == "insufficient":
        return InsufficientStock(items=[{"goods_id": str(goods_id)} for goods_id in deduction.short])
    return Unavailable("The order was given up before its stock was deducted; nothing was created, try again.")


def _write_orders(connection: Connection, drafts: Sequence[Draft]) -> set[int]:
    """Write the orders whose idempotency keys are still free; return their ids."""
    free = _with_free_keys(connection, drafts)
    if not free:
        raise _NoneLeft
    connection.execute(_NEW_ORDERS, [_order_row(draft.order) for draft in free])
    connection.execute(_NEW_LINES, [row for draft in free for row in _line_rows(draft.order)])
    keys = [_key_row(draft.idempotency, draft.order.order_id) for draft in free if draft.idempotency]
    if keys:
        connection.execute(_NEW_KEYS, keys)
    return {draft.order.order_id for draft in free}


def _with_free_keys(connection: Connection, drafts: Sequence[Draft]) -> list[Draft]:
    wanted = [(d.idempotency.user_id, d.idempotency.key) for d in drafts if d.idempotency]
    columns = idempotency_keys.c
    taken: set[tuple[str, str]] = set()
    if wanted:
        query = sql_select(columns.user_id, columns.idempotency_key)
        taken.update(connection.execute(query.where(tuple_(columns.user_id, columns.idempotency_key).in_(wanted))))
    free = []
    for draft in drafts:
        if draft.idempotency:
            key = (draft.idempotency.user_id, draft.idempotency.key)
            if key in taken:
                continue
            taken.add(key)  # a second one in the same batch drops out too
        free.append(draft)
    return free


def _order_row(order: Order) -> dict[str, object]:
    return {
        "order_id": order.order_id,
        "tx_id": order.tx_id,
        "user_id": order.user_id,
        "status": order.status.value,
        "total_amount": order.total_amount,
        "currency": order.currency,
        "receiver_name": order.receiver and order.receiver.name,
        "receiver_phone": order.receiver and order.receiver.phone,
        "receiver_address": order.receiver and order.receiver.address,
        "created_at": order.created_at,
        "expires_at": order.expires_at,
    }


def _line_rows(order: Order) -> list[dict[str, object]]:
    return [
        {
            "order_id": order.order_id,
            "position": position,
            "goods_id": line.goods_id,
            "name": line.name,
            "brief": line.brief,
            "image": line.image,
            "quantity": line.quantity,
            "unit_price": line.unit_price,
            "market_price": line.market_price,
        }
        for position, line in enumerate(order.lines)
    ]


def _key_row(key: IdempotencyKey, order_id: int) -> dict[str, object]:
    return {
        "user_id": key.user_id,
        "idempotency_key": key.key,
        "request_hash": key.request_hash,
        "order_id": order_id,
    }
