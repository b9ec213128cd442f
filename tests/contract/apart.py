"""A broker that others use too, made a test's own: topics and groups of its own, and no console."""

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import pytest

from halfmessage.mq.port import (  # fmt: skip
    Broker,
    CheckAnswer,
    Checker,
    Consumer,
    Delivery,
    HalfMessage,
    Handler,
    Message,
    Producer,
    Resolution,
    Verdict,
)


class Names:
    """The names of one test: the same in all its brokers, and no other test's."""

    def __init__(self, create_topic: Callable[[str], None], create_group: Callable[[str], None]) -> None:
        self._suffix = uuid.uuid4().hex[:8]
        self._create_topic, self._create_group = create_topic, create_group
        self._known: set[str] = set()

    def topic(self, topic: str) -> str:
        name = self.own(topic)
        if name not in self._known:
            self._known.add(name)
            self._create_topic(name)
        return name

    def group(self, group: str, topic: str) -> str:
        """Return a group of one topic: one of RocketMQ has the same topics everywhere.

        Its name begins so that librocketmq 2.1.0 survives it (docs/rocketmq4.md).
        """
        name = f"g-{self.own(group)}-{topic}"
        if name not in self._known:
            self._known.add(name)
            self._create_group(name)
        return name

    def own(self, name: str) -> str:
        return f"{name}-{self._suffix}"

    def sent(self, message: Message) -> Message:
        return replace(message, topic=self.topic(message.topic))

    def seen(self, message: Message) -> Message:
        return replace(message, topic=message.topic.removesuffix(f"-{self._suffix}"))


class ApartProducer:
    def __init__(self, producer: Producer, names: Names) -> None:
        self._producer, self._names = producer, names

    def send(self, message: Message) -> str:
        return self._producer.send(self._names.sent(message))

    def send_at(self, message: Message, deliver_at: int) -> str:
        return self._producer.send_at(self._names.sent(message), deliver_at)

    def begin(self, message: Message) -> HalfMessage:
        return replace(self._producer.begin(self._names.sent(message)), message=message)

    def resolve(self, half: HalfMessage, resolution: Resolution) -> None:
        self._producer.resolve(half, resolution)

    def close(self) -> None:
        self._producer.close()


class Apart:
    """Implements `Broker` on another one."""

    def __init__(self, broker: Broker, names: Names) -> None:
        self._broker, self._names = broker, names

    def producer(self, group: str, checker: Checker | None = None, *, topics: Iterable[str] = ()) -> ApartProducer:
        def check(half: HalfMessage) -> CheckAnswer:
            assert checker is not None
            return checker(replace(half, message=self._names.seen(half.message)))

        own = [self._names.topic(topic) for topic in topics]
        made = self._broker.producer(self._names.own(group), checker and check, topics=own)
        return ApartProducer(made, self._names)

    def consumer(self, group: str, topic: str, handler: Handler, **options: Any) -> Consumer:
        def handle(deliveries: Sequence[Delivery]) -> Sequence[Verdict]:
            return handler([replace(d, message=self._names.seen(d.message)) for d in deliveries])

        own, there = self._names.group(group, topic), self._names.topic(topic)
        return self._broker.consumer(own, there, handle, **options)

    def console(self) -> NoReturn:
        pytest.skip("this broker's client has no console: only its admin tool looks at messages")

    def ping(self, *topics: str) -> None:
        self._broker.ping(*topics)

    def close(self) -> None:
        self._broker.close()
