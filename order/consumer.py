"""`order_timeout` messages → unpaid orders closed → acknowledged after the commit."""

from collections.abc import Callable, Sequence

import structlog
from pydantic import ValidationError

from common import failpoints
from common.errors import OrdersError
from common.events import OrderEvent
from common.mq.port import Delivery, Verdict
from order.service.timeouts import Timeouts

log = structlog.get_logger()


class TimeoutConsumer:
    """Handles a batch of timeouts together; one that can't be read, or comes too early, comes again alone."""

    def __init__(
        self,
        timeouts: Timeouts,
        count: Callable[[str, int], None] = lambda *_: None,
        failed: Callable[[], object] = lambda: None,
    ) -> None:
        """Take the use case, and what counts results (``handled``, ``early`` or ``retried``, how many messages).

        `failed` is told when closing failed, whatever the messages were.
        """
        self._timeouts = timeouts
        self._count, self._failed = count, failed

    def __call__(self, deliveries: Sequence[Delivery]) -> list[Verdict]:
        """Close what the messages say. Return a verdict for each."""
        failpoints.hit("timeout.received")
        readable = {delivery.message_id: event for delivery in deliveries if (event := _read(delivery))}
        results = dict(zip(readable, self._handle(list(readable.values())), strict=True))
        of_each = [results.get(delivery.message_id, "retried") for delivery in deliveries]
        for result in sorted(set(of_each)):
            self._count(result, of_each.count(result))
        return [Verdict.ACK if result == "handled" else Verdict.RETRY for result in of_each]

    def _handle(self, events: Sequence[OrderEvent]) -> list[str]:
        if not events:
            return []
        try:
            done = self._timeouts.handle(events)
        except OrdersError as error:
            self._failed()
            log.warning("timeouts will be retried", messages=len(events), reason=error.detail)
            return ["retried"] * len(events)
        failpoints.hit("timeout.handled")
        return ["handled" if is_done else "early" for is_done in done]


def _read(delivery: Delivery) -> OrderEvent | None:
    try:
        return OrderEvent.from_body(delivery.message.body)
    except ValidationError:
        log.exception("unreadable timeout", message_id=delivery.message_id, attempt=delivery.attempt)
        return None
