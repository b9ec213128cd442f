"""`order_rollback` messages → releases → acknowledged after the commit."""

from collections.abc import Callable, Sequence

import structlog
from pydantic import ValidationError

from common import failpoints
from common.errors import OrdersError
from common.events import OrderEvent
from common.mq.port import Delivery, Verdict
from stock.service.reservations import Reservations

log = structlog.get_logger()


class RollbackConsumer:
    """Handles a batch of rollbacks in one transaction; one that can't be read is retried alone, then dead."""

    def __init__(
        self,
        reservations: Reservations,
        count: Callable[[str, int], None] = lambda *_: None,
        failed: Callable[[], object] = lambda: None,
    ) -> None:
        """Take the use case, and what counts results (``released`` or ``retried``, how many messages).

        `failed` is told when releasing failed, whatever the messages were.
        """
        self._reservations = reservations
        self._count, self._failed = count, failed

    def __call__(self, deliveries: Sequence[Delivery]) -> list[Verdict]:
        """Release what the messages say. Return a verdict for each."""
        failpoints.hit("stock.rollback_received")
        readable = {delivery.message_id: event for delivery in deliveries if (event := _read(delivery))}
        done = self._release(list(readable.values()))
        failpoints.hit("stock.released")
        verdicts = [
            Verdict.ACK if done and delivery.message_id in readable else Verdict.RETRY for delivery in deliveries
        ]
        self._count("released", verdicts.count(Verdict.ACK))
        self._count("retried", verdicts.count(Verdict.RETRY))
        return verdicts

    def _release(self, events: Sequence[OrderEvent]) -> bool:
        orders = {order_id: event.tx_id for event in events for order_id in event.order_ids}
        try:
            self._reservations.release(orders)
        except OrdersError as error:
            self._failed()
            log.warning("rollbacks will be retried", orders=len(orders), reason=error.detail)
            return False
        log.info("rollbacks handled", order_ids=[str(order_id) for order_id in orders])
        return True


def _read(delivery: Delivery) -> OrderEvent | None:
    try:
        return OrderEvent.from_body(delivery.message.body)
    except ValidationError:
        log.exception("unreadable rollback", message_id=delivery.message_id, attempt=delivery.attempt)
        return None
