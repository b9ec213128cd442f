"""Makes an idle producer known to the brokers, so that it is asked about half messages.

The C client tells only brokers that it has met about its producers (sendHeartbeatToAllBroker in MQClientFactory.cpp,
"sendheartbeat brokeradd is empty"), and it meets those of a topic as it first sends there. A process started after a
crash may send nothing for long, and what its predecessor left open would have no answer. So it begins a half
message on each topic and rolls it back.
"""

import threading
from collections.abc import Callable, Iterable

import structlog

from halfmessage.errors import BrokerError

AGAIN_AFTER = 3.0  # seconds


class Primer:
    """A thread that primes each topic once, however long the broker is away."""

    def __init__(self, topics: Iterable[str], prime: Callable[[str], None], again_after: float) -> None:
        """Start if there are topics. `prime` raises `BrokerError` to be called again `again_after` seconds later."""
        self._topics = list(topics)
        self._prime = prime
        self._again_after = again_after
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rocketmq4 primer", daemon=True)
        if self._topics:
            self._thread.start()

    def close(self) -> None:
        """Give up what is not done yet."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while self._topics and not self._closed.is_set():
            try:
                self._prime(self._topics[0])
                del self._topics[0]
            except BrokerError as error:
                structlog.get_logger().warning("broker.not_primed", topic=self._topics[0], error=error.detail)
                self._closed.wait(self._again_after)
