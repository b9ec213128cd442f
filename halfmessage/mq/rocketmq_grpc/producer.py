"""A producer on RocketMQ 5."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import structlog
from rocketmq import ClientConfiguration, Credentials
from rocketmq.grpc_protocol import Code, EndTransactionRequest, MessageType, TransactionResolution, TransactionSource
from rocketmq.v5.util import MessageIdCodec

from halfmessage.clock import now_ms
from halfmessage.errors import BrokerError
from halfmessage.mq.port import Checker, HalfMessage, Message, Resolution
from halfmessage.mq.rocketmq_grpc import faults, routes, wire
from halfmessage.mq.rocketmq_grpc.checkback import AskedProducer, CheckBack
from halfmessage.mq.rocketmq_grpc.goodbyes import Goodbyes
from halfmessage.mq.rocketmq_grpc.place import Place
from halfmessage.mq.rocketmq_grpc.session import Session

_RESOLUTIONS = {
    Resolution.COMMIT: TransactionResolution.COMMIT,
    Resolution.ROLLBACK: TransactionResolution.ROLLBACK,
}
_SECOND = 1000  # ms; the precision of RocketMQ's timers (timerPrecisionMs)
_MARGIN = 60_000  # ms kept from the longest delay: the clocks of two machines differ

_FORGOTTEN = "cannot found transaction data"  # ProxyServiceImpl of 5.2.0 says so with INTERNAL_SERVER_ERROR

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Handle:
    """What it takes to resolve a half message."""

    endpoints: Any
    topic: str
    transaction_id: str


def configuration(place: Place, timeout: float) -> Any:
    """Return the client's configuration; it takes whole seconds."""
    return ClientConfiguration(
        place.address, Credentials(place.key, place.secret), place.namespace, max(1, int(timeout))
    )


class RocketMQProducer:
    """Implements `halfmessage.mq.port.Producer`."""

    def __init__(
        self, place: Place, timeout: float, group: str, checker: Checker | None, topics: Iterable[str]
    ) -> None:
        """Connect in the background.

        Each step of a call gives up after `timeout` seconds: having a client, asking for a route, which is kept then,
        and the call itself.
        """
        self._place, self._timeout, self._group = place, timeout, group
        self._is_asked = checker is not None  # others keep out: they would take turns with those who know the answer
        self._topics = set(topics if self._is_asked else ())
        self._topics_lock = threading.Lock()
        self._routes = routes.Routes(timeout)
        self._check_back = CheckBack(group, checker, self._end)
        goodbyes = Goodbyes(place) if self._is_asked else None
        self._session = Session(place, f"producer {group}", self._make, goodbyes=goodbyes)
        self._session.start()

    def send(self, message: Message) -> str:
        """Send a normal message.

        To a topic for transactions it goes as one that is committed at once (such topics refuse anything else); to
        one for delayed messages as one that is due now.
        """
        client, queue = self._queue(message.topic)
        kinds = queue.accept_message_types
        if MessageType.NORMAL in kinds:
            return str(self._send(client, queue, message, MessageType.NORMAL).message_id)
        if MessageType.TRANSACTION in kinds:
            return self._send_committed(client, queue, message)
        if MessageType.DELAY in kinds:
            return str(self._send(client, queue, message, MessageType.DELAY).message_id)
        raise _unfit(message.topic, "normal", MessageType.NORMAL)

    def send_at(self, message: Message, deliver_at: int) -> str:
        """Send a delayed message; `deliver_at` in ms since the epoch.

        RocketMQ counts in seconds: it comes at the first full second from then. What is further away than it takes
        comes as near as it can, and is sent on by the consumer that gets it (`HOP_ENDS`).
        """
        return self.send_on(message, deliver_at, {})

    def send_on(self, message: Message, deliver_at: int, own: Mapping[str, str]) -> str:
        """Send a delayed message that may have come a part of its way already.

        The end of the hop behind it is past, as RocketMQ has delivered it: a clock of ours that says otherwise was set
        back, and the next hop would be short, or none.
        """
        client, queue = self._queue(message.topic)
        if MessageType.DELAY not in queue.accept_message_types:
            raise _unfit(message.topic, "delayed", MessageType.DELAY)
        now = max(now_ms(), int(own.get(wire.HOP_ENDS, 0)))
        furthest = now + int(self._place.max_delay * 1000) - min(_MARGIN, int(self._place.max_delay * 100))
        due = -(-deliver_at // _SECOND) * _SECOND
        own = {name: value for name, value in own.items() if name != wire.HOP_ENDS}
        own |= {wire.DELIVER_AT: str(deliver_at)} | ({wire.HOP_ENDS: str(furthest)} if due > furthest else {})
        return str(self._send(client, queue, message, MessageType.DELAY, own, min(due, furthest)).message_id)

    def begin(self, message: Message) -> HalfMessage:
        """Send a half message."""
        client, queue = self._queue(message.topic)
        if MessageType.TRANSACTION not in queue.accept_message_types:
            raise _unfit(message.topic, "transactional", MessageType.TRANSACTION)
        born_at = now_ms()
        own = {wire.GROUP: self._group, wire.BORN_AT: str(born_at)}  # the client's own time may be a millisecond later
        sent = self._send(client, queue, message, MessageType.TRANSACTION, own)
        return HalfMessage(
            sent.message_id, message, born_at, handle=_Handle(queue.endpoints, message.topic, sent.transaction_id)
        )

    def resolve(self, half: HalfMessage, resolution: Resolution) -> None:
        """Commit or roll back. What the proxy has forgotten (it was resolved, or the proxy restarted) is left alone."""
        handle = half.handle
        if not isinstance(handle, _Handle):
            raise BrokerError("Only its sender can resolve a half message; its check-back does it otherwise.")
        self._end(
            handle.endpoints,
            handle.topic,
            half.message_id,
            handle.transaction_id,
            _RESOLUTIONS[resolution],
            TransactionSource.SOURCE_CLIENT,
        )

    def ask(self, topics: Iterable[str] = ()) -> None:
        """Raise `BrokerError` unless RocketMQ answers, and takes messages for the topics."""
        client = self._session.client(self._timeout)
        try:
            routes.ask(client, self._place.probe or "orders_ping", self._timeout)
            for topic in topics:
                routes.ask_writable(client, topic, self._timeout)
        except BrokerError:
            self._session.suspect()
            raise

    def close(self) -> None:
        """Stop answering check-backs, tell RocketMQ goodbye."""
        self._check_back.close()
        self._session.close()

    def _make(self) -> Any:
        with self._topics_lock:
            topics = set(self._topics)
        return AskedProducer(
            configuration(self._place, self._timeout), topics, self._check_back.asked, tls=self._place.tls
        )

    def _queue(self, topic: str) -> tuple[Any, Any]:
        """Return the running client and the queue to send to."""
        client = self._session.client(self._timeout)
        queue = self._routes.queue(client, topic)
        if self._is_asked and MessageType.TRANSACTION in queue.accept_message_types and topic not in client.topics:
            client = self._announce(client, topic)
            queue = self._routes.queue(client, topic)
        return client, queue

    def _announce(self, client: Any, topic: str) -> Any:
        """Return a client that RocketMQ knows to publish to `topic`, or it would not ask it about half messages.

        A new one, as what we write on a running client's stream may meet what it writes itself, which breaks it.
        """
        with self._topics_lock:
            self._topics.add(topic)
        return self._session.anew(client, self._timeout)

    def _send(
        self,
        client: Any,
        queue: Any,
        message: Message,
        kind: int,
        own: Mapping[str, str] = MappingProxyType({}),
        at: int | None = None,
    ) -> Any:
        """Send once. The client's own `send` tries three times, which leaves copies of what only came late."""
        request = wire.send_request(
            message,
            message_id=MessageIdCodec().next_message_id(),
            kind=kind,
            own=own,
            namespace=self._place.namespace,
            deliver_at=at,
        )
        try:
            answer = self._call("SendMessage", queue.endpoints, request, client)
        except BrokerError:  # the topic may be another's by now, or have been made anew
            self._routes.forget(client, message.topic)
            raise
        return answer.entries[0]

    def _send_committed(self, client: Any, queue: Any, message: Message) -> str:
        own = {wire.GROUP: self._group, wire.PLAIN: "1"}
        sent = self._send(client, queue, message, MessageType.TRANSACTION, own)
        try:
            self._end(
                queue.endpoints,
                message.topic,
                sent.message_id,
                sent.transaction_id,
                TransactionResolution.COMMIT,
                TransactionSource.SOURCE_CLIENT,
            )
        except BrokerError as error:  # it is on disk, and its check-back commits it
            log.warning("broker.commit_left_to_check_back", message_id=sent.message_id, reason=error.detail)
        return str(sent.message_id)

    def _end(
        self, endpoints: Any, topic: str, message_id: str, transaction_id: str, resolution: int, source: int
    ) -> None:
        client = self._session.client(self._timeout)
        request = EndTransactionRequest(
            message_id=message_id, transaction_id=transaction_id, resolution=resolution, source=source
        )
        request.topic.name, request.topic.resource_namespace = topic, self._place.namespace
        try:
            self._call("EndTransaction", endpoints, request, client)
        except faults.Refused as error:
            if error.code != Code.INVALID_TRANSACTION_ID and _FORGOTTEN not in error.said:
                raise

    def _call(self, method: str, endpoints: Any, request: Any, client: Any) -> Any:
        try:
            with faults.translated():
                call = getattr(client.lines.to(endpoints), method)
                answer = call(request, metadata=client.sign(), timeout=self._timeout)
                faults.check(answer.status)
        except faults.Refused:
            raise
        except BrokerError:
            client.lines.renew(endpoints)
            self._session.suspect()
            raise
        return answer


def _unfit(topic: str, kind: str, wanted: int) -> BrokerError:
    name = MessageType.Name(wanted)
    return BrokerError(
        f"Topic {topic} takes no {kind} messages; create one that does: mqadmin updateTopic -a +message.type={name}."
    )
