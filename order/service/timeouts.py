"""What timeout messages mean: the orders in them that are unpaid are closed, once their transactions are decided."""

from collections.abc import Sequence

from common.db import Database
from halfmessage.clock import now_ms
from halfmessage.participant.event import OrderEvent
from halfmessage.tx.coordinator import Checker
from order.service.overdue import Overdue
from order.service.reading import expiries


class Timeouts:
    """Handles timeouts."""

    def __init__(self, database: Database, checker: Checker, overdue: Overdue) -> None:
        """Take the order service's database, what decides open transactions, and what closes overdue orders."""
        self._database = database
        self._checker = checker
        self._overdue = overdue

    def handle(self, events: Sequence[OrderEvent]) -> list[bool]:
        """Close the unpaid orders of timeouts, together; costs one read when there is nothing to close.

        Return whether each is done with; one that is not decided, or not due, yet must come again.
        Raise `Unavailable` or `CommitOutcomeUnknown`: all of them must.
        """
        known = self._expiries(events)
        missing = [event for event in events if known.keys().isdisjoint(event.order_ids)]
        undecided = {event.tx_id for event in missing if self._checker.outcome(event.tx_id) is None}
        if missing:
            known |= self._expiries(missing)  # decided meanwhile: as committed, perhaps
        now = now_ms()
        done = [event.tx_id not in undecided and _is_due(event, known, now) for event in events]
        due = (event for event, is_done in zip(events, done, strict=True) if is_done)
        order_ids = dict.fromkeys(order_id for event in due for order_id in event.order_ids if order_id in known)
        self._overdue.close(order_ids)
        return done

    def _expiries(self, events: Sequence[OrderEvent]) -> dict[int, int]:
        with self._database.read() as connection:
            return expiries(connection, [order_id for event in events for order_id in event.order_ids])


def _is_due(event: OrderEvent, expires_at: dict[int, int], now: int) -> bool:
    return all(expires_at.get(order_id, 0) <= now for order_id in event.order_ids)
