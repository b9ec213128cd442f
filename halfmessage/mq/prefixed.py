"""A broker that several deployments share: each has topics and groups of its own, by a prefix unseen by the code above.

RocketMQ's own namespaces do not do it: the proxy of 5.2.0 takes a resource's name and passes its namespace by.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

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


def prefixed(prefix: str, name: str) -> str:
    """Return what the broker calls a topic or group; without a prefix, its own name."""
    return f"{prefix}-{name}" if prefix else name


class PrefixedBroker:
    """Implements `halfmessage.mq.port.Broker` on another one, which closes with it."""

    def __init__(self, broker: Broker, prefix: str, console: Console | None = None) -> None:
        """Take the broker, what begins the names of all topics and groups, and a console that knows them."""
        self._broker, self._prefix, self._console = broker, prefix, console

    def producer(self, group: str, checker: Checker | None = None, *, topics: Iterable[str] = ()) -> Producer:
        """Return a producer of the group that is called so here."""

        def check(half: HalfMessage) -> CheckAnswer:
            assert checker is not None  # noqa: S101  # nosec B101 - handed on only where there is one
            return checker(replace(half, message=self._seen(half.message)))

        own = [prefixed(self._prefix, topic) for topic in topics]
        made = self._broker.producer(prefixed(self._prefix, group), check if checker else None, topics=own)
        return _PrefixedProducer(made, self._prefix)

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
        """Run `handler` on the messages of the topic that is called so here."""

        def handle(deliveries: Sequence[Delivery]) -> Sequence[Verdict]:
            return handler([replace(delivery, message=self._seen(delivery.message)) for delivery in deliveries])

        own_group, own_topic = prefixed(self._prefix, group), prefixed(self._prefix, topic)
        return self._broker.consumer(own_group, own_topic, handle, threads=threads, batch=batch, ready=ready)

    def console(self) -> Console:
        """Return the console that was given, else the broker's, in its own words."""
        return self._console or self._broker.console()

    def ping(self, *topics: str) -> None:
        """Raise `BrokerError` unless the broker answers and can store, also in the topics that are called so here."""
        self._broker.ping(*(prefixed(self._prefix, topic) for topic in topics))

    def close(self) -> None:
        """Close the broker."""
        self._broker.close()

    def _seen(self, message: Message) -> Message:
        return replace(message, topic=message.topic.removeprefix(f"{self._prefix}-"))


class _PrefixedProducer:
    """Implements `halfmessage.mq.port.Producer`."""

    def __init__(self, producer: Producer, prefix: str) -> None:
        self._producer, self._prefix = producer, prefix

    def send(self, message: Message) -> str:
        return self._producer.send(self._sent(message))

    def send_at(self, message: Message, deliver_at: int) -> str:
        return self._producer.send_at(self._sent(message), deliver_at)

    def begin(self, message: Message) -> HalfMessage:
        return replace(self._producer.begin(self._sent(message)), message=message)

    def resolve(self, half: HalfMessage, resolution: Resolution) -> None:
        self._producer.resolve(half, resolution)

    def close(self) -> None:
        self._producer.close()

    def _sent(self, message: Message) -> Message:
        return replace(message, topic=prefixed(self._prefix, message.topic))
