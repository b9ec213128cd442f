"""Placing orders: the steps of the protocol, for a batch of orders at a time.

    begin      half message `order_rollback`, to be delivered if the transaction aborts
    schedule   delayed message `order_timeout`, beside the half message
    deduct     all participants that orders of the batch need, at once; each order whole or not at all
    commit     ONE local transaction: record + orders + lines + idempotency keys + ids of the calls, and the order
               requests that they are for, decided; an order that a participant refused or that can't be written drops
               out, and what is held for it is released by a message of its own before the others are committed
    resolve    roll the half message back: the orders stand; no client waits for it

One batch has one `tx_id`: it commits or aborts whole. An order that drops out is refused alone. The message is dropped
only where nothing is held for any order: every participant that was asked refused them all.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from typing import Final

import structlog
from sqlalchemy import Connection, insert

from common.aside import Aside, result
from common.errors import OrdersError
from common.idempotency import IdempotencyKey
from common.registry import ROLLBACK_TOPIC, TIMEOUT_TOPIC
from halfmessage import failpoints
from halfmessage.db import translated
from halfmessage.errors import BelowZero, CommitOutcomeUnknown, DuplicateRow, HalfMessageError, RowRefused, Unavailable
from halfmessage.mq.port import Producer
from halfmessage.participant.event import OrderEvent
from halfmessage.tx.coordinator import Coordinator, Transaction
from halfmessage.tx.record import AlreadyAborted, Outcome
from order.model import Order, Status, idempotency_keys, order_lines, orders, placing_calls
from order.service.participants import Participant, Reserved, reserve
from order.service.requests import note_created
from order.service.rows import call_row, key_row, line_rows, order_row
from order.service.settling import Settlements

# Made once, for they run for every batch: SQLAlchemy keeps what it compiled of them.
_NEW_ORDERS, _NEW_LINES, _NEW_KEYS = insert(orders), insert(order_lines), insert(idempotency_keys)
_NEW_CALLS = insert(placing_calls)

_SCHEDULED_WITHIN: Final = 5.0  # seconds; a transaction that waited longer is given up by its check-back anyway

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Draft:
    """A priced order that is to be placed."""

    order: Order
    idempotency: IdempotencyKey | None = None
    request_id: int | None = None
    """The order request that it is for, where it was submitted to be placed soon: decided with it, or it drops out."""
    asked_as: str = ""
    """The X-Request-Id of the call that asked for it; empty: there was none."""

    @property
    def weight(self) -> int:
        """How much it adds to a batch."""
        return len(self.order.lines)

    @property
    def key_order(self) -> tuple[str, str]:
        """Where it stands among those that want idempotency keys: one order of locking for everybody."""
        return (self.idempotency.user_id, self.idempotency.key) if self.idempotency else ("", "")


class KeyTaken(OrdersError):
    """Another request with this Idempotency-Key has made its order meanwhile, or the order request was decided."""


class _NoneLeft(Exception):
    """Every order of the batch dropped out in the local transaction."""

    def __init__(self, answers: "dict[int, Answer]") -> None:
        self.answers = answers


Answer = Order | HalfMessageError
"""What one order of a batch got."""


class Placing:
    """Places batches of orders."""

    def __init__(
        self,
        coordinator: Coordinator,
        producer: Producer,
        participants: Sequence[Participant],
        settlements: Settlements,
        aside: Aside,
        tell: Callable[[], object],
    ) -> None:
        """Take what begins transactions, what sends messages, the participants, and what they have to confirm.

        `aside` starts steps beside; `tell` is called when a participant has to hear of an order that is paid at once.
        """
        self._coordinator = coordinator
        self._producer = producer
        self._participants = participants
        self._settlements = settlements
        self._aside = aside
        self._tell = tell

    def place(self, drafts: Sequence[Draft]) -> list[Answer]:
        """Place a batch; return for each draft its order or the error that it alone got.

        Raise what the whole batch got: `Unavailable` (nothing was created) or `CommitOutcomeUnknown`.
        """
        order_ids = tuple(draft.order.order_id for draft in drafts)
        tx, scheduling = self._begin(order_ids, max(draft.order.expires_at for draft in drafts))
        drafts = [replace(draft, order=replace(draft.order, tx_id=tx.tx_id)) for draft in drafts]
        reserved = self._deduct(tx, drafts, scheduling)
        failpoints.hit("order.deducted")
        refused = {order_id: one.refusal for order_id, one in reserved.items() if one.refusal is not None}
        standing = [draft for draft in drafts if draft.order.order_id not in refused]
        in_vain = [order_id for order_id in refused if reserved[order_id].is_held]
        if standing:
            written = self._commit(tx, standing, in_vain)
            return [written.get(order_id) or refused[order_id] for order_id in order_ids]
        if in_vain:
            self._aside.start(tx.resolve, Outcome.ABORTED)
        else:
            self._aside.start(tx.drop)
        return [refused[order_id] for order_id in order_ids]

    def _begin(self, order_ids: tuple[int, ...], expire_at: int) -> "tuple[Transaction, Future[None]]":
        """Send the half message and, beside it, the timeout: one of orders that never came to be closes nothing."""
        event = OrderEvent(tx_id=self._coordinator.ids.next(), order_ids=order_ids)
        scheduling = self._aside.start(self._schedule, event, expire_at)
        try:
            rollback = event.to_message(ROLLBACK_TOPIC)
            tx = self._coordinator.begin(event.tx_id, rollback, Outcome.ABORTED, name="order")
        except HalfMessageError:
            wait([scheduling], _SCHEDULED_WITHIN)  # it ends with its batch
            raise
        return tx, scheduling

    def _schedule(self, event: OrderEvent, at: int) -> None:
        with self._coordinator.observed("order.schedule"):
            self._producer.send_at(event.to_message(TIMEOUT_TOPIC), at)
        failpoints.hit("order.timeout_scheduled")

    def _deduct(self, tx: Transaction, drafts: Sequence[Draft], scheduling: "Future[None]") -> dict[int, Reserved]:
        wanted = [draft.order for draft in drafts]
        try:
            with self._coordinator.observed("order.deduct"):
                reserved = reserve(self._participants, self._aside, tx.tx_id, wanted)
            result(scheduling, _SCHEDULED_WITHIN)  # one that is sent later all the same finds no order to close
        except Unavailable:
            tx.resolve(Outcome.ABORTED)  # the rollback must be delivered: something may be held
            raise
        return reserved

    def _commit(self, tx: Transaction, drafts: Sequence[Draft], in_vain: Sequence[int]) -> dict[int, Answer]:
        """Run the local transaction; return what each order got, by its id, and have the message resolved.

        What is held `in_vain`, for orders that a participant refused, is released first.
        """
        try:
            if in_vain:
                self._release(tx, in_vain)
            written, is_to_be_told = self._write(tx, drafts)
        except (AlreadyAborted, CommitOutcomeUnknown):
            raise  # the check-back has decided, or will
        except _NoneLeft as none:
            tx.resolve(Outcome.ABORTED)
            return none.answers
        except HalfMessageError:
            tx.resolve(Outcome.ABORTED)
            raise
        self._aside.start(tx.resolve, Outcome.COMMITTED)
        if is_to_be_told:
            self._tell()
        return written

    def _write(self, tx: Transaction, drafts: Sequence[Draft]) -> tuple[dict[int, Answer], bool]:
        """Write all orders together, or, if the database refuses a row, one by one: so that it is one order's matter.

        Return what each got, and whether a participant has to hear of a payment.
        Orders that drop out are released before the others are committed: a crash in between aborts the whole batch,
        which releases them too. Later, only the sweep would know of them.
        """

        def write_together(connection: Connection) -> bool:
            _write_orders(connection, drafts)
            return self._note_paid(connection, drafts)

        try:
            is_to_be_told = tx.commit(write_together)
        except (DuplicateRow, RowRefused, BelowZero):
            dropped: dict[int, Answer] = {}  # for good, though the database may have the transaction run again

            def write(connection: Connection) -> tuple[dict[int, Answer], bool]:
                written = _write_one_by_one(connection, drafts, dropped)
                if dropped:
                    self._release(tx, dropped)
                kept = [draft for draft in drafts if draft.order.order_id not in dropped]
                return written, self._note_paid(connection, kept)

            return tx.commit(write)
        return {draft.order.order_id: draft.order for draft in drafts}, is_to_be_told

    def _note_paid(self, connection: Connection, drafts: Sequence[Draft]) -> bool:
        paid = [draft.order for draft in drafts if draft.order.status is Status.PAID]
        return bool(paid) and self._settlements.note_paid(connection, paid)

    def _release(self, tx: Transaction, order_ids: Iterable[int]) -> None:
        self._producer.send(OrderEvent(tx_id=tx.tx_id, order_ids=tuple(order_ids)).to_message(ROLLBACK_TOPIC))


def _write_orders(connection: Connection, drafts: Sequence[Draft]) -> None:
    connection.execute(_NEW_ORDERS, [order_row(draft.order) for draft in drafts])
    connection.execute(_NEW_LINES, [row for draft in drafts for row in line_rows(draft.order)])
    in_order = sorted(drafts, key=lambda draft: draft.key_order)
    keys = [key_row(draft.idempotency, draft.order.order_id) for draft in in_order if draft.idempotency]
    if keys:
        connection.execute(_NEW_KEYS, keys)
    calls = [call_row(draft.asked_as, draft.order.order_id) for draft in drafts if draft.asked_as]
    if calls:
        connection.execute(_NEW_CALLS, calls)
    requested = {draft.request_id: draft.order.order_id for draft in drafts if draft.request_id is not None}
    if requested:
        note_created(connection, requested)


def _write_one_by_one(connection: Connection, drafts: Sequence[Draft], dropped: dict[int, Answer]) -> dict[int, Answer]:
    """Write the orders that can be; add the others to the `dropped`, which are left alone. Raise `_NoneLeft`."""
    written: dict[int, Answer] = {}
    for draft in sorted(drafts, key=lambda draft: draft.key_order):
        order_id = draft.order.order_id
        if order_id in dropped:
            continue
        try:
            with translated(), connection.begin_nested():
                _write_orders(connection, [draft])
            written[order_id] = draft.order
        except DuplicateRow:
            dropped[order_id] = KeyTaken()
        except (RowRefused, BelowZero) as error:
            log.exception("the database refuses an order", order_id=str(order_id))
            dropped[order_id] = error
    if not written:
        raise _NoneLeft(dropped)
    return written | dropped
