"""Returning paid orders: the order's move and the start of the saga that undoes it are one transaction.

So an order is `returned` if, and only if, it has a run; the move is a compare-and-set, as paying and closing are.
"""

from collections.abc import Callable

from sqlalchemy import Connection, update

from common.db import Database
from halfmessage import failpoints
from halfmessage.clock import now_ms
from halfmessage.errors import CommitOutcomeUnknown, OutcomeUnknown
from halfmessage.saga.engine import Engine
from halfmessage.saga.model import Run
from halfmessage.saga.operating import Sagas
from order.model import Order, OrderNotPaid, ReturnTooLate, Status, orders
from order.service.reading import OrderReader
from order.service.return_saga import RETURN
from order.service.settling import Settlements


class Returning:
    """Returns orders."""

    def __init__(
        self,
        database: Database,
        engine: Engine,
        reader: OrderReader,
        settlements: Settlements,
        *,
        within: float,
        count: Callable[[], None] = lambda: None,
    ) -> None:
        """Take what runs returns; an order may be returned for `within` seconds after it was paid.

        `count` is called for each return that is begun.
        """
        self._database, self._engine, self._sagas = database, engine, Sagas(engine)
        self._reader = reader
        self._settlements = settlements
        self._within = int(within * 1000)
        self._count = count

    def give_back(self, order_id: int, reason: str, *, owner: str | None) -> Run:
        """Return a paid order; again: the first return, whatever the reason is now.

        Raise `NotFound`, `OrderNotPaid`, `ReturnTooLate`, `Unavailable` or `OutcomeUnknown`.
        """
        order = self._reader.get(order_id, owner=owner)
        if order.status is Status.PAID:
            self._begin(order, reason)
        elif order.status is not Status.RETURNED:
            raise OrderNotPaid
        return self._sagas.of_key(RETURN, str(order_id))

    def of(self, order_id: int, *, owner: str | None) -> Run:
        """Return the return of an order. Raise `NotFound`, also where it was never asked for."""
        self._reader.get(order_id, owner=owner)
        return self._sagas.of_key(RETURN, str(order_id))

    def _begin(self, order: Order, reason: str) -> None:
        if order.paid_at is None or now_ms() - order.paid_at > self._within:
            raise ReturnTooLate
        try:
            run_id = self._database.transact(lambda connection: self._move(connection, order.order_id, reason))
        except CommitOutcomeUnknown as error:
            raise OutcomeUnknown(order_id=str(order.order_id)) from error
        if run_id is not None:
            failpoints.hit("return.started")
            self._count()
            self._engine.wake(run_id)

    def _move(self, connection: Connection, order_id: int, reason: str) -> int | None:
        """Move the order and start its run; None: another request was faster."""
        moved = {"status": Status.RETURNED.value, "returned_at": now_ms()}
        is_paid = (orders.c.order_id == order_id) & (orders.c.status == Status.PAID.value)
        if not connection.execute(update(orders).where(is_paid).values(moved)).rowcount:
            return None
        self._settlements.forget_paid(connection, order_id)
        return self._engine.begin(connection, RETURN, str(order_id), {"reason": reason})
