"""The payment of each order that is shown: asked for together, and told from the order alone where pay is silent."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import structlog

from common.errors import PeerUnavailable
from halfmessage.errors import Overloaded
from halfmessage.tx.batch import Batcher
from order.clients.pay import PayClient, Payment, PaymentStatus
from order.model import Order, Status

_LANES: Final = 1
_TOGETHER: Final = 500  # orders in one look-up
_LONGEST_QUEUE: Final = 1 << 16  # more than there may be threads
_LONGEST_WAIT: Final = 1.0  # seconds until its look-up begins

_AS_KNOWN: Final = {
    Status.CREATED: PaymentStatus.OPEN,
    Status.PAID: PaymentStatus.SUCCEEDED,
    Status.CLOSED: PaymentStatus.CLOSED,
    Status.RETURNED: PaymentStatus.REFUNDING,
}
"""What an order tells of its payment."""

_ONCE_OVER: Final = {PaymentStatus.OPEN: PaymentStatus.CLOSED, PaymentStatus.SUCCEEDED: PaymentStatus.REFUNDING}

log = structlog.get_logger()

Shown = dict[int, Payment]


class Payments:
    """Knows the payments of orders."""

    def __init__(self, payments: PayClient | None) -> None:
        """Take the pay service where the deployment has it."""
        self._payments = payments
        self._look_ups: Batcher[list[int], Shown] = Batcher(
            self._look_up,
            lanes=_LANES,
            heaviest=_TOGETHER,
            longest_queue=_LONGEST_QUEUE,
            longest_wait=_LONGEST_WAIT,
            weigh=len,
        )

    def known(self, orders: Sequence[Order]) -> Shown:
        """Return what the orders themselves tell of their payments; nothing of those that need none."""
        if self._payments is None:
            return {}
        needed = filter(self._payments.needs, orders)
        return {order.order_id: Payment(_AS_KNOWN[order.status], order.paid_through) for order in needed}

    def of(self, orders: Sequence[Order]) -> Shown:
        """Return the orders' payments as they stand; nothing of an order that has none.

        Those that ask at the same time share a look-up. Where pay does not answer within a second or two, see `known`.
        """
        shown = self.known(orders)
        decided = [order.order_id for order in orders if order.order_id in shown and order.status is not Status.CREATED]
        if not decided:
            return shown
        try:
            found = self._look_ups.submit(decided)
        except (PeerUnavailable, Overloaded) as error:
            log.info("payments are shown as their orders tell", reason=error.detail)
            return shown
        told = {
            order.order_id: _told(order, found.get(order.order_id)) for order in orders if order.order_id in decided
        }
        return {order_id: payment for order_id, payment in (shown | told).items() if payment is not None}

    def _look_up(self, asked: Sequence[list[int]]) -> list[Shown]:
        assert self._payments is not None  # noqa: S101 - nothing is asked for without it # nosec B101
        found = self._payments.look_up(sorted({order_id for order_ids in asked for order_id in order_ids}))
        return [found] * len(asked)


def _told(order: Order, payment: Payment | None) -> Payment | None:
    """Return what pay says, unless it has yet to hear that the order was closed or returned."""
    if payment is None or order.status.stands:
        return payment
    return replace(payment, status=_ONCE_OVER.get(payment.status, payment.status))
