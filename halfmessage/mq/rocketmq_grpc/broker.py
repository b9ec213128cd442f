"""RocketMQ 5, put together."""

import os
import threading
from collections.abc import Iterable
from typing import NoReturn

from halfmessage.errors import BrokerError, ConsoleUnavailable
from halfmessage.mq.port import BrokerOptions, Checker, Handler, Message, Ready, always
from halfmessage.mq.rocketmq_grpc.consumer import RocketMQConsumer
from halfmessage.mq.rocketmq_grpc.onward import Onward
from halfmessage.mq.rocketmq_grpc.place import Place
from halfmessage.mq.rocketmq_grpc.producer import RocketMQProducer


class RocketMQBroker:
    """Implements `halfmessage.mq.port.Broker`.

    It connects with the first producer or consumer, which must be made after any fork: gRPC does not survive one.
    """

    def __init__(self, place: Place, options: BrokerOptions) -> None:
        """Take where it is; it need not be up."""
        self._place, self._options = place, options
        self._pid: int | None = None
        self._lock = threading.Lock()
        self._producers: list[RocketMQProducer] = []
        self._consumers: list[RocketMQConsumer] = []
        self._pinger: RocketMQProducer | None = None
        self._onward = Onward(lambda: self._make_producer("onward", None, ()))

    def producer(self, group: str, checker: Checker | None = None, *, topics: Iterable[str] = ()) -> RocketMQProducer:
        """Return a producer of `group`; with a checker it answers check-backs, of `topics` from the start."""
        producer = self._make_producer(group, checker, topics)
        self._producers.append(producer)
        return producer

    def consumer(
        self,
        group: str,
        topic: str,
        handler: Handler,
        *,
        threads: int = 1,
        batch: int = 32,
        ready: Ready = always,
    ) -> RocketMQConsumer:
        """Run `handler` on the messages of `topic` until closed."""
        self._refuse_after_fork()
        consumer = RocketMQConsumer(
            self._place, self._options, self._onward, group, topic, handler, ready, threads, batch
        )
        self._consumers.append(consumer)
        return consumer

    def console(self) -> NoReturn:
        """Raise `ConsoleUnavailable`: RocketMQ's gRPC protocol tells nothing of messages but to their consumers."""
        raise ConsoleUnavailable(
            "RocketMQ tells its gRPC clients nothing of messages: name its name server in the URL, namesrv=HOST:PORT."
        )

    def ping(self, *topics: str) -> None:
        """Store a message in the topic `probe` of the URL, or, without one, have a question answered.

        Ask also whether each of `topics` has a queue that takes messages. Raise `BrokerError` also where RocketMQ
        refuses a consumer for want of its group.
        """
        refused = next((consumer.refusal for consumer in self._consumers if consumer.refusal), "")
        if refused:
            raise BrokerError(refused)
        with self._lock:
            if self._pinger is None:
                self._pinger = self._make_producer("ping", None, ())
        if self._place.probe:
            self._pinger.send(Message(self._place.probe, b"ping"))
        if topics or not self._place.probe:
            self._pinger.ask(topics)

    def close(self) -> None:
        """Close consumers, then producers; once more does nothing."""
        for consumer in self._consumers:
            consumer.close()
        self._onward.close()
        for producer in (*self._producers, *([self._pinger] if self._pinger else [])):
            producer.close()
        self._consumers, self._producers, self._pinger = [], [], None

    def _make_producer(self, group: str, checker: Checker | None, topics: Iterable[str]) -> RocketMQProducer:
        self._refuse_after_fork()
        return RocketMQProducer(self._place, self._options.send_timeout, group, checker, topics)

    def _refuse_after_fork(self) -> None:
        pid = os.getpid()
        if self._pid not in {None, pid}:
            raise BrokerError("This connection to RocketMQ belongs to another process; open the broker after forking.")
        self._pid = pid
