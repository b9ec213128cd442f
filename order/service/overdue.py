"""Closing orders whose time to be paid is over, after a last question whether they were paid all the same.

A provider may be slower than its customer: one who paid in the last seconds keeps the order where that is told in time.
Where it is not, the order is closed, and the money goes back.
"""

from collections.abc import Collection, Sequence

import structlog

from common.errors import PeerUnavailable
from halfmessage.chunks import ROWS, chunks
from order.clients.pay import PayClient, PaymentStatus
from order.model import CloseReason
from order.service.closing import Closing
from order.service.paying import Paying

log = structlog.get_logger()


class Overdue:
    """Closes what was not paid in time."""

    def __init__(self, closing: Closing, paying: Paying, payments: PayClient | None, *, last_question: float) -> None:
        """Take what closes orders, what marks them paid, and the pay service where the deployment has it.

        It may ask providers for `last_question` seconds; 0: they are not asked.
        """
        self._closing = closing
        self._paying = paying
        self._payments = payments
        self._last_question = last_question

    def close(self, order_ids: Collection[int]) -> list[int]:
        """Close those of the orders that are unpaid and stay so; return which this call did. Raises as `Closing` does.

        Costs one read where none is unpaid.
        """
        unpaid = self._closing.still_open(order_ids)
        for part in chunks(unpaid, ROWS):
            self._ask(part)
        return self._closing.close(unpaid, CloseReason.TIMEOUT) if unpaid else []

    def _ask(self, order_ids: Sequence[int]) -> None:
        """Mark those paid of which that is known by now; the wait has a bound (`ORDERS_LAST_QUESTION`)."""
        if self._payments is None or not self._last_question:
            return
        try:
            found = self._payments.ask(order_ids, self._last_question)
        except PeerUnavailable as error:
            log.warning("orders are closed without a last question", orders=len(order_ids), reason=error.detail)
            return
        paid = {
            order_id: payment.provider
            for order_id, payment in found.items()
            if payment.status is PaymentStatus.SUCCEEDED and payment.provider is not None
        }
        if paid:
            self._paying.mark(paid)
