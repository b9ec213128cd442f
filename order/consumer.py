"""Messages about orders → what they mean, done → acknowledged after the commit."""

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

import structlog
from pydantic import ValidationError

from halfmessage import failpoints
from halfmessage.errors import HalfMessageError
from halfmessage.mq.port import Delivery, Verdict
from halfmessage.participant.event import OrderEvent, in_parts

E = TypeVar("E", bound=OrderEvent)

log = structlog.get_logger()


class EventConsumer(Generic[E]):
    """Handles a batch of messages, so many orders together; one that can't be read, or is early, comes again alone."""

    def __init__(
        self,
        name: str,
        kind: type[E],
        handle: Callable[[Sequence[E]], list[bool]],
        count: Callable[[str, int], None] = lambda *_: None,
        failed: Callable[[], object] = lambda: None,
        *,
        together: int = 0,
    ) -> None:
        """Take the prefix of its failpoints, what a message says, and the use case.

        `handle` tells of each event whether it is done with; `count` is told results (``handled``, ``early`` or
        ``retried``, how many messages), `failed` when handling failed, whatever the messages were. So many orders
        (0: as many as `in_parts` says) are handled `together`; after each part the broker is told that the messages are
        still worked on.
        """
        self._name, self._kind, self._use_case = name, kind, handle
        self._count, self._failed, self._together = count, failed, together

    def __call__(self, deliveries: Sequence[Delivery]) -> list[Verdict]:
        """Do what the messages say. Return a verdict for each."""
        failpoints.hit(f"{self._name}.received")
        readable = {place: event for place, delivery in enumerate(deliveries) if (event := self._read(delivery))}
        results = self._results(readable, deliveries[0].keep)
        of_each = [results.get(place, "retried") for place in range(len(deliveries))]
        for result in sorted(set(of_each)):
            self._count(result, of_each.count(result))
        return [Verdict.ACK if result == "handled" else Verdict.RETRY for result in of_each]

    def _results(self, events: Mapping[int, E], keep: Callable[[], None]) -> dict[int, str]:
        """Return what became of each message: of one that came in parts, what became of its worst."""
        results = dict.fromkeys(events, "handled")
        failed = False
        for part in in_parts(events, self._together):
            of_part = ["retried"] * len(part) if failed else self._handle([event for _, event in part])
            failed = "retried" in of_part
            for (place, _), result in zip(part, of_part, strict=True):
                if result != "handled":
                    results[place] = result
            keep()
        return results

    def _handle(self, events: Sequence[E]) -> list[str]:
        try:
            done = self._use_case(events)
        except HalfMessageError as error:
            self._failed()
            log.warning("messages will be retried", about=self._name, messages=len(events), reason=error.detail)
            return ["retried"] * len(events)
        failpoints.hit(f"{self._name}.handled")
        return ["handled" if is_done else "early" for is_done in done]

    def _read(self, delivery: Delivery) -> E | None:
        try:
            return self._kind.from_body(delivery.message.body)
        except ValidationError:
            log.exception(
                "unreadable message", about=self._name, message_id=delivery.message_id, attempt=delivery.attempt
            )
            return None
