"""What a timeout message means: the orders in it that are unpaid are closed, once their transaction is decided."""

from common.clock import now_ms
from common.db import Database
from common.errors import Unavailable
from common.events import OrderEvent
from common.tx.coordinator import Checker
from order.model import CloseReason
from order.service.closing import Closing
from order.service.reading import expiries


class TimeoutTooEarly(Unavailable):
    """The orders are not decided, or not due, yet: the timeout must come again."""


class Timeouts:
    """Handles timeouts."""

    def __init__(self, database: Database, checker: Checker, closing: Closing) -> None:
        """Take the order service's database, what decides open transactions, and what closes orders."""
        self._database = database
        self._checker = checker
        self._closing = closing

    def handle(self, event: OrderEvent) -> None:
        """Close the unpaid orders of one timeout; costs one read when there is nothing to close.

        Raise `TimeoutTooEarly`, `Unavailable` or `CommitOutcomeUnknown`: the message must come again.
        """
        known = self._expiries(event)
        if not known:
            if self._checker.outcome(event.tx_id) is None:
                raise TimeoutTooEarly
            known = self._expiries(event)  # decided meanwhile: as committed, perhaps
        if any(expires_at > now_ms() for expires_at in known.values()):
            raise TimeoutTooEarly
        self._closing.close(known, CloseReason.TIMEOUT)

    def _expiries(self, event: OrderEvent) -> dict[int, int]:
        with self._database.read() as connection:
            return expiries(connection, event.order_ids)
