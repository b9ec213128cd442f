"""Sends messages on whose time has not come: delays longer than RocketMQ's limit go in hops."""

import threading
from collections.abc import Callable

import structlog

from halfmessage.clock import now_ms
from halfmessage.errors import BrokerError
from halfmessage.mq.port import Verdict
from halfmessage.mq.rocketmq_grpc import wire
from halfmessage.mq.rocketmq_grpc.producer import RocketMQProducer

log = structlog.get_logger()


def is_early(received: wire.Received) -> bool:
    """Tell whether a message is to be sent on: it was put on a hop, and is not due at its end.

    One that was put off until it is due never is, whatever our clock says: RocketMQ, whose clock counts, would give
    it back at once, over and over for as long as ours lies behind.
    """
    hop_ends = received.own.get(wire.HOP_ENDS)
    return hop_ends is not None and int(received.own[wire.DELIVER_AT]) > max(now_ms(), int(hop_ends))


class Onward:
    """Puts messages that came early back on their way, with a producer made when the first one comes."""

    def __init__(self, make: Callable[[], RocketMQProducer]) -> None:
        """Take what makes the producer."""
        self._make = make
        self._lock = threading.Lock()
        self._producer: RocketMQProducer | None = None

    def send(self, early: wire.Received) -> Verdict:
        """Send a message on; ACK once its successor is on disk. A crash between the two leaves two of it."""
        own = {**early.own, wire.FIRST_ID: early.message_id, wire.BORN_AT: str(early.born_at)}
        try:
            self._get().send_on(early.message, int(early.own[wire.DELIVER_AT]), own)
        except BrokerError as error:
            log.warning("broker.not_sent_on", message_id=early.message_id, reason=error.detail)
            return Verdict.RETRY
        return Verdict.ACK

    def close(self) -> None:
        """Close the producer, if there ever was one."""
        if self._producer is not None:
            self._producer.close()

    def _get(self) -> RocketMQProducer:
        with self._lock:
            if self._producer is None:
                self._producer = self._make()
            return self._producer
