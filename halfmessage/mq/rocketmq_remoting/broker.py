"""RocketMQ 4 as a broker of the port, put together."""

import atexit
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import NoReturn
from urllib.parse import parse_qs, urlsplit

import structlog

from halfmessage.errors import BrokerError, ConsoleUnavailable, Misconfigured
from halfmessage.mq.port import BrokerOptions, Checker, Handler, Ready, always
from halfmessage.mq.rocketmq_remoting.consumer import RemotingConsumer
from halfmessage.mq.rocketmq_remoting.library import load
from halfmessage.mq.rocketmq_remoting.ping import ping
from halfmessage.mq.rocketmq_remoting.producer import RemotingProducer
from halfmessage.mq.rocketmq_remoting.session import Link

_EXAMPLE = "rocketmq4://host:9876[;host2:9876][?library=/path/to/librocketmq.so]"
_NAME_SERVERS = re.compile(r"[^:;,@]+:\d+(;[^:;,@]+:\d+)*")


def open_rocketmq4(url: str, options: BrokerOptions) -> "RemotingBroker":
    """Open `url`: `rocketmq4://nameserver:9876`, several parted by `;`, and where librocketmq is if need be.

    It need not be up. Raise `Misconfigured`: a wrong URL, or the package or the native library is missing.
    """
    parts = urlsplit(url)
    query = parse_qs(parts.query, keep_blank_values=True)
    if not _NAME_SERVERS.fullmatch(parts.netloc) or parts.path or parts.fragment or query.keys() - {"library"}:
        raise Misconfigured(f"Not a URL of RocketMQ's name servers, which looks like {_EXAMPLE}")
    return RemotingBroker(parts.netloc, options, *query.get("library", [])[:1])


class RemotingBroker:
    """Implements `halfmessage.mq.port.Broker`. Of the options only `send_timeout` counts."""

    def __init__(self, name_servers: str, options: BrokerOptions, library: str | None = None) -> None:
        """Take name servers as `host:port[;host:port]` and where librocketmq is, if not in the loader's path.

        Connects to nothing yet. Raise `Misconfigured` where the package or the library is missing.
        """
        self._link = Link(load(library), name_servers, options.send_timeout)
        self._producers: list[RemotingProducer] = []
        self._consumers: list[RemotingConsumer] = []
        self._topics: dict[str, str] = {}
        atexit.register(self.close)  # a process that ends without a shutdown hangs for ever

    def producer(
        self,
        group: str,
        checker: Checker | None = None,
        *,
        topics: Iterable[str] = (),
    ) -> RemotingProducer:
        """Return a producer of `group`; with a checker it answers the group's check-backs. Raise `BrokerError`.

        Without `topics` it is asked only once it has sent something, see `primer`.
        """
        producer = RemotingProducer(self._link, group, checker, topics=topics)
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
    ) -> RemotingConsumer:
        """Subscribe `group` to `topic` and run `handler`. Raise `BrokerError`.

        A new group starts from the oldest message while the topic's first is kept, later from the newest: this
        client can't be told.
        """
        # a second topic would not fail but lose messages: the brokers take the subscriptions of a group's members
        # for one, whichever they heard of last
        if self._topics.setdefault(group, topic) != topic:
            raise BrokerError(f"RocketMQ: group {group!r} has {self._topics[group]!r} already; a group has one topic.")
        forwarder = self.producer(f"{group}-hop")
        consumer = RemotingConsumer(
            self._link, group, topic, handler, forwarder.forward, ready=ready, threads=threads, batch=batch
        )
        self._consumers.append(consumer)
        return consumer

    def console(self) -> NoReturn:
        """Raise `ConsoleUnavailable`: the client's interface has none."""
        raise ConsoleUnavailable(
            "rocketmq4:// can't look at messages: use RocketMQ's admin tool (mqadmin queryMsgByKey -t TOPIC -k KEY "
            "finds them by order id and by message id, mqadmin consumerProgress -g GROUP tells what waits), see "
            "docs/rocketmq4.md."
        )

    def ping(self, *_topics: str) -> None:
        """Raise `BrokerError` unless a name server answers and its broker takes connections; topics are not asked."""
        ping(self._link.name_servers, self._link.send_timeout)

    def close(self) -> None:
        """Close consumers, then producers; once more does nothing. What fails to shut down is logged."""
        atexit.unregister(self.close)
        consumers, self._consumers = self._consumers, []
        producers, self._producers = self._producers, []
        parts: tuple[RemotingConsumer | RemotingProducer, ...] = (*consumers, *producers)
        for part in parts:
            try:
                part.close()
            except BrokerError as error:
                with suppress(ValueError):  # at the end of a process the log may be closed already
                    structlog.get_logger().warning("broker.shutdown_failed", error=error.detail)
