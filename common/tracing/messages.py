"""A broker whose messages carry their trace, whatever adapter is below, and whose handlers go on with it.

The words are those of https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/ and, for
`messaging.rocketmq.*`, of .../messaging/rocketmq/. A message carries `traceparent` (https://www.w3.org/TR/trace-context/),
55 bytes, as a property; not `tracestate`, whose bytes are a client's to choose.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    Tracer,
    format_trace_id,
    get_current_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from common.tracing.batches import BATCH_TRACE
from halfmessage.mq.port import (
    Broker,
    CheckAnswer,
    Checker,
    Console,
    Consumer,
    Delivery,
    HalfMessage,
    Handler,
    Message,
    Producer,
    Ready,
    Resolution,
    Verdict,
    always,
)

TRACEPARENT: Final = "traceparent"
_KEYS: Final = 32  # of a message that a span tells: a batch's message has one for each of its orders
_W3C: Final = TraceContextTextMapPropagator()


class TracedBroker:
    """Implements `halfmessage.mq.port.Broker` on another one, which closes with it."""

    def __init__(self, broker: Broker, tracer: Tracer, kind: str) -> None:
        """Take the broker, what makes spans, and the scheme of the broker's URL."""
        self._broker, self._spans = broker, _Spans(tracer, kind)

    def producer(self, group: str, checker: Checker | None = None, *, topics: Iterable[str] = ()) -> Producer:
        """Return a producer whose messages go on with the trace of their sender, and its check-backs with theirs."""
        spans = self._spans

        def check(half: HalfMessage) -> CheckAnswer:
            assert checker is not None  # noqa: S101  # nosec B101 - handed on only where there is one
            with spans.check_back(half, group) as span:
                answer = checker(half)
                span.set_attribute("orders.check_back.answer", answer.value)
                return answer

        made = self._broker.producer(group, check if checker else None, topics=topics)
        return _TracedProducer(made, spans, group)

    def consumer(
        self,
        group: str,
        topic: str,
        handler: Handler,
        *,
        threads: int = 1,
        batch: int = 32,
        ready: Ready = always,
    ) -> Consumer:
        """Run `handler` in the trace of the messages that it gets."""
        spans = self._spans

        def handle(deliveries: Sequence[Delivery]) -> Sequence[Verdict]:
            with spans.process(deliveries, group, topic) as span:
                verdicts = handler(deliveries)
                span.set_attribute("orders.retried", sum(verdict is Verdict.RETRY for verdict in verdicts))
                return verdicts

        return self._broker.consumer(group, topic, handle, threads=threads, batch=batch, ready=ready)

    def console(self) -> Console:
        """Return the broker's console."""
        return self._broker.console()

    def ping(self, *topics: str) -> None:
        """Raise `BrokerError` unless the broker answers."""
        self._broker.ping(*topics)

    def close(self) -> None:
        """Close the broker."""
        self._broker.close()


class _TracedProducer:
    """Implements `halfmessage.mq.port.Producer`."""

    def __init__(self, producer: Producer, spans: "_Spans", group: str) -> None:
        self._producer, self._spans, self._group = producer, spans, group

    def send(self, message: Message) -> str:
        with self._spans.send(message, self._group, "normal") as (span, sent):
            return _sent_as(span, self._producer.send(sent))

    def send_at(self, message: Message, deliver_at: int) -> str:
        with self._spans.send(message, self._group, "delay") as (span, sent):
            span.set_attribute("messaging.rocketmq.message.delivery_timestamp", deliver_at)
            return _sent_as(span, self._producer.send_at(sent, deliver_at))

    def begin(self, message: Message) -> HalfMessage:
        with self._spans.send(message, self._group, "transaction") as (span, sent):
            half = self._producer.begin(sent)
            _sent_as(span, half.message_id)
            return half

    def resolve(self, half: HalfMessage, resolution: Resolution) -> None:
        with self._spans.settle(half, self._group, resolution):
            self._producer.resolve(half, resolution)

    def close(self) -> None:
        self._producer.close()


def _sent_as(span: Span, message_id: str) -> str:
    span.set_attribute("messaging.message.id", message_id)
    return message_id


class _Spans:
    """Makes the spans of messages."""

    def __init__(self, tracer: Tracer, kind: str) -> None:
        self._tracer, self._kind = tracer, kind

    @contextmanager
    def send(self, message: Message, group: str, kind: str) -> Iterator[tuple[Span, Message]]:
        """Trace a send, of which a half message is one; yield the message with its trace in it."""
        half = kind == "transaction"
        attributes = self._of(message, group, "send", "send") | {"messaging.rocketmq.message.type": kind}
        name = f"send {'half message ' if half else ''}{message.topic}"
        with self._tracer.start_as_current_span(name, kind=SpanKind.PRODUCER, attributes=attributes) as span:
            carried: dict[str, str] = {}
            _W3C.inject(carried)
            own = {TRACEPARENT: carried[TRACEPARENT]} if TRACEPARENT in carried else {}
            yield span, replace(message, properties={**message.properties, **own})

    @contextmanager
    def settle(self, half: HalfMessage, group: str, resolution: Resolution) -> Iterator[None]:
        """Trace a commit or a roll-back."""
        context = None if get_current_span().get_span_context().is_valid else _context_of(half.message)
        attributes = self._of(half.message, group, resolution.value, "settle")
        attributes["messaging.message.id"] = half.message_id
        with self._tracer.start_as_current_span(
            f"{resolution.value} {half.message.topic}", context, SpanKind.CLIENT, attributes
        ):
            yield

    @contextmanager
    def check_back(self, half: HalfMessage, group: str) -> Iterator[Span]:
        """Trace a check-back, in any process: in the trace that sent the half message, and linked to it."""
        attributes = self._of(half.message, group, "check-back", "process")
        attributes |= {"messaging.message.id": half.message_id, "orders.check_back.number": half.checks}
        context, links = _context_of(half.message), _links([half.message])
        with self._tracer.start_as_current_span(
            f"check-back {half.message.topic}", context, SpanKind.CONSUMER, attributes, links
        ) as span:
            yield span

    @contextmanager
    def process(self, deliveries: Sequence[Delivery], group: str, topic: str) -> Iterator[Span]:
        """Trace what a handler does: in the first message's trace that is sent, and linked to all of them.

        Each other trace gets a span that links to that one.
        """
        messages = [delivery.message for delivery in deliveries]
        first = next((one for one in messages if _origin(one).trace_flags.sampled), messages[0])
        attributes = self._of(first, group, "process", "process")
        attributes["messaging.consumer.group.name"] = group
        attributes |= {"messaging.batch.message_count": len(messages)} if len(messages) > 1 else {}
        attributes["orders.attempt"] = max(delivery.attempt for delivery in deliveries)
        began, name = time.time_ns(), f"process {topic}"
        with self._tracer.start_as_current_span(
            name, _context_of(first), SpanKind.CONSUMER, attributes, _links(messages)
        ) as span:
            yield span
        self._tell_others(name, deliveries, group, span.get_span_context(), began)

    def _tell_others(
        self, name: str, deliveries: Sequence[Delivery], group: str, batch: SpanContext, began: int
    ) -> None:
        told = {batch.trace_id}
        for delivery in deliveries:
            origin = _origin(delivery.message)
            if not origin.is_valid or origin.trace_id in told:
                continue
            told.add(origin.trace_id)
            attributes = self._of(delivery.message, group, "process", "process")
            attributes |= {BATCH_TRACE: format_trace_id(batch.trace_id), "messaging.message.id": delivery.message_id}
            context = _context_of(delivery.message)
            self._tracer.start_span(
                f"{name} (in a batch)", context, SpanKind.CONSUMER, attributes, [Link(batch)], began
            ).end()

    def _of(self, message: Message, group: str, operation: str, kind: str) -> dict[str, AttributeValue]:
        found: dict[str, AttributeValue] = {
            "messaging.system": "rocketmq",
            "messaging.operation.name": operation,
            "messaging.operation.type": kind,
            "messaging.destination.name": message.topic,
            "messaging.rocketmq.client_group": group,
            "messaging.rocketmq.message.keys": message.keys[:_KEYS],
            "messaging.message.body.size": len(message.body),
            "orders.broker": self._kind,
        }
        return found | ({"messaging.rocketmq.message.tag": message.tag} if message.tag else {})


def _context_of(message: Message) -> Context:
    """Return the context in which a message was sent; an empty one where it carries none that can be read."""
    return _W3C.extract({TRACEPARENT: message.properties.get(TRACEPARENT, "")}, Context())


def _origin(message: Message) -> SpanContext:
    return get_current_span(_context_of(message)).get_span_context()


def _links(messages: Sequence[Message]) -> list[Link]:
    return [Link(origin) for origin in map(_origin, messages) if origin.is_valid]
