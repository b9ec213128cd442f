"""The embedded broker, put together."""

from collections.abc import Iterable
from pathlib import Path

from halfmessage.clock import now_ms
from halfmessage.mq.embedded.console import EmbeddedConsole
from halfmessage.mq.embedded.consumer import EmbeddedConsumer
from halfmessage.mq.embedded.file import BrokerFile
from halfmessage.mq.embedded.housekeeping import Housekeeper
from halfmessage.mq.embedded.producer import EmbeddedProducer
from halfmessage.mq.embedded.reader import Reader
from halfmessage.mq.embedded.store import Store
from halfmessage.mq.embedded.wakeup import Wakeup
from halfmessage.mq.embedded.writer import Writer
from halfmessage.mq.port import BrokerOptions, Checker, Handler, Ready, always


class EmbeddedBroker:
    """Implements `halfmessage.mq.port.Broker` on one file; open it once in each process, after any fork."""

    def __init__(self, path: Path, options: BrokerOptions) -> None:
        """Open or create the file at `path`, whose directory exists. Raise `BrokerError`, `BrokerCorrupt`."""
        file = BrokerFile(path, options.send_timeout)
        reader = Reader(file, options.send_timeout)
        self._store = Store(Writer(file, options.send_timeout), reader, Wakeup(reader), options)
        self._console_reader = Reader(file, options.send_timeout)
        self._housekeeper = Housekeeper(self._store)
        self._producers: list[EmbeddedProducer] = []
        self._consumers: list[EmbeddedConsumer] = []

    def producer(
        self,
        group: str,
        checker: Checker | None = None,
        *,
        topics: Iterable[str] = (),  # noqa: ARG002 (it asks by group, whatever the topic)
    ) -> EmbeddedProducer:
        """Return a producer of `group`; with a checker it answers the group's check-backs."""
        producer = EmbeddedProducer(self._store, group, checker)
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
    ) -> EmbeddedConsumer:
        """Subscribe `group` to `topic` for good and run `handler` until closed. Raise `BrokerError`."""
        consumer = EmbeddedConsumer(self._store, group, topic, handler, ready, threads, batch)
        self._consumers.append(consumer)
        return consumer

    def console(self) -> EmbeddedConsole:
        """Return the console of this broker."""
        return EmbeddedConsole(self._store, self._console_reader)

    def ping(self, *_topics: str) -> None:
        """Write something for real. Raise `BrokerError` if it does not reach the disk, or not the file we opened.

        What can be written takes any topic.
        """
        self._store.writer.do(lambda c: c.execute("UPDATE housekeeping SET pinged_at = ?", (now_ms(),)).rowcount)

    def purge(self) -> None:
        """Delete now what the retention has outlived, instead of within a minute."""
        self._housekeeper.purge()

    def close(self) -> None:
        """Close consumers, then producers, then the connections; once more does nothing."""
        for consumer in self._consumers:
            consumer.close()
        for producer in self._producers:
            producer.close()
        self._housekeeper.close()
        self._store.wakeup.close()
        self._store.writer.close()
        self._store.reader.close()
        self._console_reader.close()
