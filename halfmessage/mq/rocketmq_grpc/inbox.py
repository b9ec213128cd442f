"""Receiving in batches and settling them, in RocketMQ's gRPC messages.

Not through `SimpleConsumer.receive` and `ack`: they ask one broker at a time, and acknowledge one message a call.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import structlog
from rocketmq.grpc_protocol import (
    AckMessageRequest,
    ChangeInvisibleDurationRequest,
    Code,
    FilterType,
    ForwardMessageToDeadLetterQueueRequest,
    ReceiveMessageRequest,
)
from rocketmq.v5.client.connection import RpcClient

from halfmessage.errors import BrokerError
from halfmessage.mq.port import BrokerOptions, Verdict
from halfmessage.mq.rocketmq_grpc import faults, routes, wire
from halfmessage.mq.rocketmq_grpc.place import Place

if TYPE_CHECKING:
    from concurrent.futures import Future

_LARGEST_BATCH = 32  # of one receive (ProxyConfig: maxMessageNum… of a pop in the broker)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Batch:
    """What one receive brought, and from where."""

    endpoints: Any
    messages: Sequence[wire.Received]


class Inbox:
    """One group's messages of one topic."""

    def __init__(self, place: Place, options: BrokerOptions, group: str, topic: str, batch: int) -> None:
        """Take whose messages, and how many at a time."""
        self._place, self._options, self._group, self._topic = place, options, group, topic
        self.batch = min(batch, _LARGEST_BATCH)  # messages that one receive brings at most

    def brokers(self, client: Any) -> dict[str, Any]:
        """Return one readable queue of each broker: a receive gets messages of all queues of its broker.

        Raise `BrokerError` where none can be read; then RocketMQ is asked anew the next time.
        """
        route = routes.find(client, self._topic, self._options.send_timeout)
        readable = [queue for queue in route.message_queues if queue.is_readable() and queue.is_master_broker()]
        if not readable:
            client.route_manager.remove_topic_route_data(self._topic)
            raise BrokerError(
                f"Topic {self._topic} has no queue that can be read; check the permission of its brokers."
            )
        return {str(queue).rsplit(".", 2)[0]: queue for queue in readable}

    def ask(self, client: Any, queue: Any) -> "Future[Batch]":
        """Ask one broker for messages, which takes up to `Place.poll` seconds while there are none.

        It is never cancelled: a message that comes meanwhile would be handed to no consumer until its invisible time is
        over (seen on 5.2.0). And RocketMQ ends it for a new message only, not for one that comes again, so it is as
        short as the proxy allows.
        """
        request = ReceiveMessageRequest(batch_size=self.batch, auto_renew=False)
        request.message_queue.CopyFrom(queue.message_queue0())
        self._address(request.group)
        request.filter_expression.type, request.filter_expression.expression = FilterType.TAG, "*"
        request.invisible_duration.FromMilliseconds(self._invisible_ms())
        request.long_polling_timeout.FromMilliseconds(int(self._place.poll * 1000))
        return asyncio.run_coroutine_threadsafe(
            self._receive(client, queue.endpoints, request), RpcClient.get_channel_io_loop()
        )

    def got(self, coming: "Future[Batch]") -> Batch:
        """Return what came. Raise `BrokerError`."""
        with faults.translated():
            return coming.result()

    def settle(
        self, client: Any, endpoints: Any, messages: Sequence[wire.Received], verdicts: Sequence[Verdict]
    ) -> None:
        """Acknowledge, put off or bury each; what could not be read is buried instead of put off.

        Raise `BrokerError`: what it could not tell comes again.
        """
        calls = []
        handled = [one for one, verdict in zip(messages, verdicts, strict=True) if verdict is Verdict.ACK]
        if handled:
            calls.append(client.rpc_client.ack_message_async(endpoints, self._ack(handled), **self._how(client)))
        for one, verdict in zip(messages, verdicts, strict=True):
            if verdict is Verdict.RETRY and one.attempt < self._options.max_deliveries and not one.damage:
                request = self._put_off(one)
                calls.append(client.rpc_client.change_invisible_duration_async(endpoints, request, **self._how(client)))
            elif verdict is Verdict.RETRY:
                request = self._bury(one)
                bury = client.rpc_client.forward_message_to_dead_letter_queue_async
                calls.append(bury(endpoints, request, **self._how(client)))
        for call in calls:
            self._finish(call)

    def extend(self, client: Any, endpoints: Any, messages: Sequence[wire.Received]) -> list[wire.Received]:
        """Begin the invisible time of messages anew; return them with the receipts that they are settled by now.

        Where that fails, a message keeps the receipt that it has. Raises nothing.
        """
        change = client.rpc_client.change_invisible_duration_async
        calls = [change(endpoints, self._hide(one, self._invisible_ms()), **self._how(client)) for one in messages]
        return [self._extended(one, call) for one, call in zip(messages, calls, strict=True)]

    def _extended(self, one: wire.Received, call: Any) -> wire.Received:
        try:
            answer = self._finish(call)
        except BrokerError as error:  # it may come twice then, as after any crash
            log.warning("broker.not_kept", topic=self._topic, reason=error.detail)
            return one
        return replace(one, receipt=answer.receipt_handle or one.receipt)

    async def _receive(self, client: Any, endpoints: Any, request: Any) -> Batch:
        timeout = self._place.poll + self._options.send_timeout
        call = await client.rpc_client.receive_message(endpoints, request, metadata=client.sign(), timeout=timeout)
        messages = []
        async for answer in call:
            if answer.HasField("message"):
                messages.append(wire.read(answer.message))
            elif answer.HasField("status") and answer.status.code != Code.MESSAGE_NOT_FOUND:
                faults.check(answer.status)
        return Batch(endpoints, messages)

    def _how(self, client: Any) -> dict[str, Any]:
        return {"metadata": client.sign(), "timeout": self._options.send_timeout}

    def _finish(self, call: Any) -> Any:
        with faults.translated():
            answer = call.result(self._options.send_timeout + 1)
        try:
            faults.check(answer.status)
            for entry in getattr(answer, "entries", ()):
                faults.check(entry.status)
        except faults.Refused as error:
            if error.code != Code.INVALID_RECEIPT_HANDLE:
                raise
            log.info("broker.settled_too_late", topic=self._topic)
        return answer

    def _ack(self, handled: Sequence[wire.Received]) -> Any:
        request = AckMessageRequest()
        self._address(request.group)
        self._address(request.topic, self._topic)
        for one in handled:
            request.entries.add(message_id=one.raw_id, receipt_handle=one.receipt)
        return request

    def _put_off(self, one: wire.Received) -> Any:
        options = self._options
        delay = min(options.retry_first_after * 2 ** min(one.attempt - 1, 60), options.retry_longest)
        return self._hide(one, max(1, int(delay * 1000)))

    def _hide(self, one: wire.Received, ms: int) -> Any:
        request = ChangeInvisibleDurationRequest(message_id=one.raw_id, receipt_handle=one.receipt)
        self._address(request.group)
        self._address(request.topic, self._topic)
        request.invisible_duration.FromMilliseconds(ms)
        return request

    def _bury(self, one: wire.Received) -> Any:
        request = ForwardMessageToDeadLetterQueueRequest(
            message_id=one.raw_id,
            receipt_handle=one.receipt,
            delivery_attempt=one.attempt,
            max_delivery_attempts=self._options.max_deliveries,
        )
        self._address(request.group)
        self._address(request.topic, self._topic)
        return request

    def _address(self, resource: Any, name: str | None = None) -> None:
        resource.name, resource.resource_namespace = name or self._group, self._place.namespace

    def _invisible_ms(self) -> int:
        return int(self.invisible_for * 1000)

    @property
    def invisible_for(self) -> float:
        """Seconds in which no other consumer is given what was received."""
        return max(self._options.invisible_for, self._place.min_invisible)
