"""Check-back: RocketMQ asks on a producer's stream how a half message ended.

RocketMQ 5 knows no producer groups: it asks any client that said it publishes to the topic, each in turn. The group
that wants to be asked travels with the message; others leave the question to it. So let one group alone begin half
messages on a topic: seen on 5.2.0, with one open half message and one producer each of two groups, the turns fell so
that each was asked about the other's for ever.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import structlog
from rocketmq import Producer
from rocketmq.grpc_protocol import TransactionResolution, TransactionSource
from rocketmq.v5.client.connection import RpcClient

from halfmessage.errors import BrokerError
from halfmessage.mq.port import CheckAnswer, Checker, HalfMessage
from halfmessage.mq.rocketmq_grpc import faults, wire
from halfmessage.mq.rocketmq_grpc.lines import Lines

RESOLUTIONS = {
    CheckAnswer.COMMIT: TransactionResolution.COMMIT,
    CheckAnswer.ROLLBACK: TransactionResolution.ROLLBACK,
}
Asked = Callable[[Any, Any, str], None]
"""Takes a question: RocketMQ's endpoints, the half message as gRPC's message, the transaction's id."""
Resolve = Callable[..., None]

log = structlog.get_logger()


class AskedProducer(Producer):  # type: ignore[misc]
    """The client's producer, which hands questions on as they came, and knows whether they still reach it.

    Its own way through a `TransactionChecker` loses the order of the keys, and can't count an unanswered check. Its
    stream may go deaf: it writes its settings twice in its first second, and where one write meets the other, or fails,
    it opens another stream on which it says nothing for 300 s. Till then RocketMQ asks it nothing, though its
    heartbeats are answered and the stream stands (client 5.1.2, RocketMQ 5.2.0).
    """

    def __init__(self, configuration: Any, topics: set[str], asked: Asked, *, tls: bool) -> None:
        """Take the topics whose questions it asks for."""
        super().__init__(configuration, topics, tls_enable=tls)
        self._asked = asked
        self.lines = Lines(tls=tls)
        self._writing = asyncio.Lock()
        self._answered = threading.Event()
        self._write_now = self.rpc_client.telemetry_write_async
        self.rpc_client.telemetry_write_async = self._write  # the client's own writes pass through it too

    def listen(self, endpoints: Any, within: float) -> None:
        """Return once RocketMQ answered on the stream of questions. Raise `BrokerError` if not in that many seconds.

        It is told the settings again, which it answers on the same stream.
        """
        self._answered.clear()
        with faults.translated():
            self.rpc_client.telemetry_write_async(endpoints, self.sync_setting_req(endpoints)).result(within)
        if not self._answered.wait(within):
            raise BrokerError("RocketMQ does not answer on the stream that check-backs come on.")

    def reset_setting(self, settings: Any) -> None:
        """Take RocketMQ's answer to our settings."""
        super().reset_setting(settings)
        self._answered.set()

    def shutdown(self) -> None:
        """Tell RocketMQ goodbye, hang up."""
        super().shutdown()
        self.lines.close()

    def on_recover_orphaned_transaction_command(self, endpoints: Any, msg: Any, transaction_id: str) -> None:
        """Be asked; runs on the client's event loop, so it must not wait."""
        self._asked(endpoints, msg, transaction_id)

    def _write(self, endpoints: Any, request: Any) -> "Future[Any]":
        return asyncio.run_coroutine_threadsafe(self._write_alone(endpoints, request), RpcClient.get_channel_io_loop())

    async def _write_alone(self, endpoints: Any, request: Any) -> None:
        async with self._writing:
            await asyncio.wrap_future(self._write_now(endpoints, request))


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
        """Finish the question in hand, leave the rest to the next producer that is asked."""
        self._closed.set()
        self._executor.shutdown(cancel_futures=True)

    def _work(self, endpoints: Any, sent: Any, transaction_id: str) -> None:
        received = wire.read(sent)
        if received.damage:  # RocketMQ asks again, and parks it in the end
            log.error("broker.message_damaged", message_id=received.message_id, reason=received.damage, put="parked")
            return
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
