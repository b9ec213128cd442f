"""A half message that was sent and is not resolved, wherever its local transaction takes place."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import structlog

from halfmessage import failpoints
from halfmessage.errors import CommitOutcomeUnknown, FailpointRaised, HalfMessageError
from halfmessage.mq.port import HalfMessage, Message, Producer, Resolution
from halfmessage.tx.record import Outcome

T = TypeVar("T")
Observe = Callable[[str, float], None]
"""Told how long a step took: its name, seconds."""

TX_ID, DELIVER_IF = "tx_id", "deliver_if"

log = structlog.get_logger()


def unobserved(_step: str, _seconds: float) -> None:
    """Be an `Observe` that looks away."""


@contextmanager
def observed(observe: Observe, step: str) -> Iterator[None]:
    """Tell how long a step took, if it succeeds."""
    started = time.perf_counter()
    yield
    observe(step, time.perf_counter() - started)


@dataclass(frozen=True, slots=True)
class OpenMessage:
    """One open transactional message. Left alone, its check-back decides it."""

    tx_id: int
    name: str
    deliver_if: Outcome
    half: HalfMessage
    _producer: Producer
    _observe: Observe

    def commit_elsewhere(self, work: Callable[[], T]) -> T:
        """Run a local transaction that is not in a database of ours: `work` does it whole, and writes its record too.

        Raise `CommitOutcomeUnknown` (leave the message alone, the check-back decides), or what `work` raised.
        """
        failpoints.hit(f"{self.name}.before_commit")
        with observed(self._observe, f"{self.name}.commit"):
            result = work()
        try:
            failpoints.hit(f"{self.name}.committed")
        except FailpointRaised as error:
            raise CommitOutcomeUnknown from error
        return result

    def resolve(self, outcome: Outcome) -> bool:
        """Tell the broker how it ended: delivered iff `deliver_if` is that outcome. Where that fails: check-back.

        Return whether the broker has acknowledged it.
        """
        return self._resolve(Resolution.COMMIT if outcome == self.deliver_if else Resolution.ROLLBACK)

    def drop(self) -> None:
        """Drop the message of a transaction that is given up before it did anything, so nothing needs undoing."""
        self._resolve(Resolution.ROLLBACK)

    def _resolve(self, resolution: Resolution) -> bool:
        started = time.perf_counter()
        is_acknowledged = False
        try:
            failpoints.hit(f"{self.name}.before_resolve")
            self._producer.resolve(self.half, resolution)
            is_acknowledged = True
            failpoints.hit(f"{self.name}.resolved")
        except HalfMessageError as error:
            log.warning("half message left to its check-back", tx_id=self.tx_id, reason=error.detail)
        self._observe(f"{self.name}.resolve", time.perf_counter() - started)
        return is_acknowledged


def begin(
    producer: Producer,
    observe: Observe,
    tx_id: int,
    message: Message,
    deliver_if: Outcome,
    name: str,
) -> OpenMessage:
    """Send the half message of a transaction, to be delivered iff the transaction ends as said.

    `name` is the prefix of its failpoints and steps. Raise `BrokerError`: nothing happened.
    """
    properties = {**message.properties, TX_ID: str(tx_id), DELIVER_IF: deliver_if.value}
    with observed(observe, f"{name}.half"):
        half = producer.begin(replace(message, properties=properties))
    failpoints.hit(f"{name}.half_sent")
    return OpenMessage(tx_id, name, deliver_if, half, producer, observe)
