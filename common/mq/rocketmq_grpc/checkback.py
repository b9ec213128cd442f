"""Check-back: RocketMQ asks on a producer's stream how a half message ended.

RocketMQ 5 knows no producer groups: it asks any client that said it publishes to the topic, each in turn. The group
that wants to be asked travels with the message; others leave the question to it. So let one group alone begin half
messages on a topic: seen on 5.2.0, with one open half message and one producer each of two groups, the turns fell so
that each was asked about the other's for ever.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from rocketmq import Producer
from rocketmq.grpc_protocol import TransactionResolution, TransactionSource

from common.errors import BrokerError
from common.mq.port import CheckAnswer, Checker, HalfMessage
from common.mq.rocketmq_grpc import wire
from common.mq.rocketmq_grpc.lines import Lines

RESOLUTIONS = {
    CheckAnswer.COMMIT: TransactionResolution.COMMIT,
    CheckAnswer.ROLLBACK: TransactionResolution.ROLLBACK,
}
Asked = Callable[[Any, Any, str], None]
"""Takes a question: RocketMQ's endpoints, the half message as gRPC's message, the transaction's id."""
Resolve = Callable[..., None]

log = structlog.get_logger()


class AskedProducer(Producer):  # type: ignore[misc]
    """The client's producer, which hands questions on as they came.

    Its own way through a `TransactionChecker` loses the order of the keys, and can't count an unanswered check.
    """

    def __init__(self, configuration: Any, topics: set[str], asked: Asked, *, tls: bool) -> None:
        """Take the topics whose questions it asks for."""
        super().__init__(configuration, topics, tls_enable=tls)
        self._asked = asked
        self.lines = Lines(tls=tls)

    def shutdown(self) -> None:
        """Tell RocketMQ goodbye, hang up."""
        super().shutdown()
        self.lines.close()

    def on_recover_orphaned_transaction_command(self, endpoints: Any, msg: Any, transaction_id: str) -> None:
        """Be asked; runs on the client's event loop, so it must not wait."""
        self._asked(endpoints, msg, transaction_id)


class CheckBack:
    """Asks the checker of a group, one question at a time, on a thread of its own."""

    def __init__(self, group: str, checker: Checker | None, resolve: Resolve) -> None:
        """Take who answers, and `resolve(endpoints, topic, message_id, transaction_id, resolution, source)`."""
        self._group, self._checker, self._resolve = group, checker, resolve
        self._closed = threading.Event()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"check-back of {group}")

    def asked(self, endpoints: Any, sent: Any, transaction_id: str) -> None:
        """Take a question down."""
        if not self._closed.is_set():
            self._executor.submit(self._work, endpoints, sent, transaction_id)

    def close(self) -> None:
        """Finish the question in hand, leave the rest to whoever is asked next."""
        self._closed.set()
        self._executor.shutdown(cancel_futures=True)

    def _work(self, endpoints: Any, sent: Any, transaction_id: str) -> None:
        received = wire.read(sent)
        answer = self._answer(received)
        if answer is CheckAnswer.UNKNOWN or self._closed.is_set():
            return
        topic, message_id = received.message.topic, received.raw_id
        source = TransactionSource.SOURCE_SERVER_CHECK
        try:
            self._resolve(endpoints, topic, message_id, transaction_id, RESOLUTIONS[answer], source)
        except BrokerError as error:  # it asks again
            log.warning("broker.check_answer_lost", message_id=message_id, reason=error.detail)

    def _answer(self, received: wire.Received) -> CheckAnswer:
        if wire.PLAIN in received.own:
            return CheckAnswer.COMMIT
        if self._checker is None or received.own.get(wire.GROUP, self._group) != self._group:
            return CheckAnswer.UNKNOWN
        checks = int(received.own.get(wire.CHECKS, 0))
        half = HalfMessage(received.message_id, received.message, received.born_at, checks)
        try:
            return CheckAnswer(self._checker(half))
        except Exception:
            log.exception("broker.check_failed", message_id=received.message_id)
            return CheckAnswer.UNKNOWN
