"""What messages `payment_succeeded` mean: the orders in them that are unpaid are paid, once they are known to exist."""

from collections.abc import Sequence

from common.db import Database
from common.payments import PaymentEvent
from halfmessage.tx.coordinator import Checker
from order.service.paying import Paying
from order.service.reading import statuses


class Successes:
    """Handles payments that succeeded."""

    def __init__(self, database: Database, checker: Checker, paying: Paying) -> None:
        """Take the order service's database, what decides open transactions, and what marks orders paid."""
        self._database = database
        self._checker = checker
        self._paying = paying

    def handle(self, events: Sequence[PaymentEvent]) -> list[bool]:
        """Pay the unpaid orders of payments, together.

        Return whether each is done with. One comes again while the transaction that placed an order of its is not
        decided, or while what the order needs is not held. An order that is closed, or never came to be, is none of
        its business: the rollback reaches pay.
        Raise `Unavailable` or `CommitOutcomeUnknown`: all of them must come again.
        """
        known = self._known(events)
        waiting = {
            order_id
            for order_id, tx_id in _placed_by(events).items()
            if order_id not in known and self._checker.outcome(tx_id) is None
        }
        paid = {o: who for event in events for o, who in zip(event.order_ids, event.providers, strict=True)}
        waiting |= set(self._paying.mark({o: who for o, who in paid.items() if o not in waiting}))
        return [waiting.isdisjoint(event.order_ids) for event in events]

    def _known(self, events: Sequence[PaymentEvent]) -> set[int]:
        with self._database.read() as connection:
            return set(statuses(connection, [order_id for event in events for order_id in event.order_ids]))


def _placed_by(events: Sequence[PaymentEvent]) -> dict[int, int]:
    return {o: tx_id for event in events for o, tx_id in zip(event.order_ids, event.placed_by, strict=True)}
