"""Who drives runs: a message as soon as one is started (fast), and a thread that sweeps (safe).

A message that is lost costs the time until the next sweep, and no more. The next try of a run that failed is the
sweep's: its delay is longer than the sweep's interval.
"""

import json
import threading
from collections.abc import Sequence
from typing import Final

import structlog

from halfmessage.errors import BrokerError, HalfMessageError
from halfmessage.mq.port import Broker, Delivery, Message, Producer, Verdict
from halfmessage.saga.engine import Engine

THREADS: Final = 4
"""Runs that the messages of one instance drive at once, unless told otherwise."""
INTERVAL: Final = 1.0
"""Seconds between sweeps that found nothing to do, unless told otherwise."""

log = structlog.get_logger()


class Wake:
    """Sends a message for a run that is due: what an `Engine` takes as `wake`."""

    def __init__(self, producer: Producer, topic: str) -> None:
        """Take a topic of normal messages."""
        self._producer, self._topic = producer, topic

    def __call__(self, run_id: int) -> None:
        """Send it. Where the broker does not answer, the sweep finds the run."""
        try:
            self._producer.send(message(self._topic, run_id))
        except BrokerError as error:
            log.warning("a run is left to the sweep", run_id=run_id, reason=error.detail)


def message(topic: str, run_id: int) -> Message:
    """Return the message that wakes a run: for a `Coordinator.begin` whose local transaction starts it, for example."""
    return Message(topic, json.dumps({"run_id": str(run_id)}).encode(), keys=(str(run_id),))


class WokenRuns:
    """Consumes what `Wake` sends."""

    def __init__(self, engine: Engine) -> None:
        """Take the engine that is to drive them."""
        self._engine = engine

    def subscribe(self, broker: Broker, topic: str, group: str, *, threads: int = THREADS) -> None:
        """Drive what the messages of `topic` name, so many runs at once. Raise `BrokerError`."""
        broker.consumer(group, topic, self, threads=threads, batch=1)

    def __call__(self, deliveries: Sequence[Delivery]) -> list[Verdict]:
        """Drive the runs, where they are still due; the answer is another try only where the database fails."""
        return [self._driven(delivery) for delivery in deliveries]

    def _driven(self, delivery: Delivery) -> Verdict:
        try:
            run_id = int(json.loads(delivery.message.body)["run_id"])
        except (ValueError, KeyError, TypeError):
            log.exception("unreadable message of a run", message_id=delivery.message_id, attempt=delivery.attempt)
            return Verdict.RETRY  # and dead in the end, where somebody sees it
        try:
            self._engine.drive(run_id, delivery.keep)
        except HalfMessageError as error:
            log.warning("a run is left until its claim is over", run_id=run_id, reason=error.detail)
            return Verdict.RETRY
        return Verdict.ACK


class Sweeper:
    """Sweeps on a thread of its own, at once again as long as there is something to do."""

    def __init__(self, engine: Engine, *, interval: float = INTERVAL) -> None:
        """Prepare; `start` starts it. `interval` in seconds."""
        self._engine, self._interval = engine, interval
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="saga-sweep", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop, after the run in hand."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        taken = 0
        while not self._closing.wait(0 if taken else self._interval):
            try:
                taken = self._engine.sweep(stop=self._closing.is_set)
            except Exception:  # a thread's edge: the next round may do better
                taken = 0
                log.exception("sweeping sagas failed")
