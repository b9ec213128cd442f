"""`order_timeout` messages → unpaid orders closed → acknowledged after the commit."""

from collections.abc import Callable, Mapping, Sequence

import structlog
from pydantic import ValidationError

from halfmessage import failpoints
from halfmessage.errors import HalfMessageError
from halfmessage.mq.port import Delivery, Verdict
from halfmessage.participant.event import OrderEvent, in_parts
from order.service.timeouts import Timeouts

log = structlog.get_logger()


class TimeoutConsumer:
    """Handles a batch of timeouts, so many orders together; one that can't be read, or is early, comes again alone."""

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
        readable = {place: event for place, delivery in enumerate(deliveries) if (event := _read(delivery))}
        results = self._results(readable, deliveries[0].keep)
        of_each = [results.get(place, "retried") for place in range(len(deliveries))]
        for result in sorted(set(of_each)):
            self._count(result, of_each.count(result))
        return [Verdict.ACK if result == "handled" else Verdict.RETRY for result in of_each]

    def _results(self, events: Mapping[int, OrderEvent], keep: Callable[[], None]) -> dict[int, str]:
        """Return what became of each message: of one that came in parts, what became of its worst."""
        results = dict.fromkeys(events, "handled")
        failed = False
        for part in in_parts(events):
            of_part = ["retried"] * len(part) if failed else self._handle([event for _, event in part])
            failed = "retried" in of_part
            for (place, _), result in zip(part, of_part, strict=True):
                if result != "handled":
                    results[place] = result
            keep()
        return results

    def _handle(self, events: Sequence[OrderEvent]) -> list[str]:
        try:
            done = self._timeouts.handle(events)
        except HalfMessageError as error:
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
