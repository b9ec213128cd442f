"""The outbox, put together."""

from halfmessage.db import Transactor
from halfmessage.mq.port import BrokerOptions, Handler
from halfmessage.transactional.outbox import rows
from halfmessage.transactional.outbox.console import OutboxConsole
from halfmessage.transactional.outbox.consumer import OutboxConsumer


class Outbox:
    """What delivers the rows of one database; as many processes as you like, each row to one of a group at a time."""

    def __init__(self, database: Transactor, options: BrokerOptions, *, poll_every: float) -> None:
        """Take where the tables are; `poll_every` in seconds."""
        self._database, self._options, self._poll_every = database, options, poll_every
        self._consumers: list[OutboxConsumer] = []

    def consumer(
        self, group: str, topic: str, handler: Handler, *, threads: int = 1, batch: int = 32
    ) -> OutboxConsumer:
        """Subscribe `group` to `topic` for good and run `handler` until closed. Raise `DatabaseUnavailable`."""
        consumer = OutboxConsumer(
            self._database,
            group,
            topic,
            handler,
            self._options,
            threads=threads,
            batch=batch,
            poll_every=self._poll_every,
        )
        self._consumers.append(consumer)
        return consumer

    def console(self) -> OutboxConsole:
        """Return its console."""
        return OutboxConsole(self._database)

    def ring(self) -> None:
        """Have this process's consumers look at once."""
        for consumer in self._consumers:
            consumer.ring()

    def purge(self, limit: int) -> int:
        """Delete up to `limit` messages that are over for longer than the retention; return how many."""
        return self._database.transact(lambda connection: rows.purge(connection, self._options.retention, limit))

    def close(self) -> None:
        """Close the consumers."""
        for consumer in self._consumers:
            consumer.close()
