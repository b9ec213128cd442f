"""Rollback messages → releases → acknowledged after the commit."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from pydantic import ValidationError

from halfmessage import failpoints
from halfmessage.errors import HalfMessageError, NotReleased
from halfmessage.mq.port import Broker, Delivery, Verdict
from halfmessage.participant.event import OrderEvent, in_parts
from halfmessage.participant.reservations import Reservations

_TOGETHER = 256  # messages in one batch
_AT_ONCE = 4  # batches: while one is committed, others are received, of which RocketMQ gives 32 messages at a time

log = structlog.get_logger()


class RollbackConsumer:
    """Handles a batch of rollbacks, so many orders in one transaction; one that can't be read is retried, then dead."""

    def __init__(
        self,
        reservations: Reservations[Any],
        count: Callable[[str, int], None] = lambda *_: None,
        failed: Callable[[], object] = lambda: None,
    ) -> None:
        """Take the use case, and what counts results (``released`` or ``retried``, how many messages).

        `failed` is told when releasing failed, whatever the messages were; not where single orders were refused.
        """
        self._reservations = reservations
        self._count, self._failed = count, failed

    def subscribe(self, broker: Broker, topic: str, ready: Callable[[], bool]) -> None:
        """Consume the rollbacks of `topic` in the group of the participant's name, while it is `ready`.

        Raise `BrokerError`.
        """
        broker.consumer(self._reservations.name, topic, self, batch=_TOGETHER, threads=_AT_ONCE, ready=ready)

    def __call__(self, deliveries: Sequence[Delivery]) -> list[Verdict]:
        """Release what the messages say. Return a verdict for each."""
        failpoints.hit(f"{self._reservations.name}.rollback_received")
        readable = {place: event for place, delivery in enumerate(deliveries) if (event := _read(delivery))}
        done = readable.keys() - self._failing(readable, deliveries[0].keep)
        failpoints.hit(f"{self._reservations.name}.released")
        verdicts = [Verdict.ACK if place in done else Verdict.RETRY for place in range(len(deliveries))]
        self._count("released", verdicts.count(Verdict.ACK))
        self._count("retried", verdicts.count(Verdict.RETRY))
        return verdicts

    def _failing(self, events: Mapping[int, OrderEvent], keep: Callable[[], None]) -> set[int]:
        """Release part after part; return the messages that are not released whole. After a failure none is tried."""
        failing: set[int] = set()
        refused: frozenset[int] | None = frozenset()
        for part in in_parts(events):
            if refused is not None:
                refused = self._release([event for _, event in part])
            failing |= {place for place, event in part if refused is None or not refused.isdisjoint(event.order_ids)}
            keep()
        return failing

    def _release(self, events: Sequence[OrderEvent]) -> frozenset[int] | None:
        """Return the orders that the database refuses to release, the others are; None: releasing failed."""
        orders = {order_id: event.tx_id for event in events for order_id in event.order_ids}
        refused: frozenset[int] = frozenset()
        try:
            self._reservations.release(orders)
        except NotReleased as error:
            refused = error.order_ids
            log.warning("rollbacks will be retried", orders=len(refused), reason=error.detail)
        except HalfMessageError as error:
            self._failed()
            log.warning("rollbacks will be retried", orders=len(orders), reason=error.detail)
            return None
        log.info("rollbacks handled", order_ids=[str(order_id) for order_id in orders if order_id not in refused])
        return refused


def _read(delivery: Delivery) -> OrderEvent | None:
    try:
        return OrderEvent.from_body(delivery.message.body)
    except ValidationError:
        log.exception("unreadable rollback", message_id=delivery.message_id, attempt=delivery.attempt)
        return None
