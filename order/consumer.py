"""`order_timeout` messages → unpaid orders closed → acknowledged after the commit."""

from collections.abc import Callable, Sequence

import structlog
from pydantic import ValidationError

from common import failpoints
from common.errors import OrdersError
from common.events import OrderEvent
from common.mq.port import Delivery, Verdict
from order.service.timeouts import Timeouts, TimeoutTooEarly

log = structlog.get_logger()


class TimeoutConsumer:
    """Handles timeouts; one that fails comes again, alone."""

    def __init__(self, timeouts: Timeouts, count: Callable[[str], None] = lambda _: None) -> None:
        """Take the use case, and what counts results: ``handled``, ``early`` or ``retried``."""
        self._timeouts = timeouts
        self._count = count

    def __call__(self, deliveries: Sequence[Delivery]) -> list[Verdict]:
        """Close what the messages say. Return a verdict for each."""
        return [self._handle(delivery) for delivery in deliveries]

    def _handle(self, delivery: Delivery) -> Verdict:
        failpoints.hit("timeout.received")
        result = self._try(delivery)
        self._count(result)
        return Verdict.ACK if result == "handled" else Verdict.RETRY

    def _try(self, delivery: Delivery) -> str:
        try:
            self._timeouts.handle(OrderEvent.from_body(delivery.message.body))
        except ValidationError:
            log.exception("unreadable timeout", message_id=delivery.message_id, attempt=delivery.attempt)
            return "retried"
        except TimeoutTooEarly:
            return "early"
        except OrdersError as error:
            log.warning("timeout will be retried", message_id=delivery.message_id, reason=error.detail)
            return "retried"
        failpoints.hit("timeout.handled")
        return "handled"
