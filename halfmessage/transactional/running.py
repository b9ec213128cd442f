"""What `TransactionalMessages` has open in one process."""

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

import structlog
from sqlalchemy import inspect

from halfmessage.db import Transactor
from halfmessage.errors import HalfMessageError, Misconfigured
from halfmessage.ids import LeasedIds
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import Backlog, BrokerStats, Handler, MessageView, State
from halfmessage.saga.definition import Saga
from halfmessage.saga.operating import Counts
from halfmessage.transactional import tables
from halfmessage.transactional.incoming import Subscription, purge_inbox
from halfmessage.transactional.options import Options
from halfmessage.transactional.outbox.broker import Outbox
from halfmessage.transactional.sagas import Around, ServiceSagas
from halfmessage.transactional.ways import HalfMessages, Rows, Way
from halfmessage.tx.coordinator import Checker, Coordinator
from halfmessage.tx.record import Records

TABLE: Final = "table"
_PURGED_TOGETHER = 500  # rows of one transaction

log = structlog.get_logger()


class Console(Protocol):
    """What every broker's console can do here; a part of `halfmessage.mq.port.Console`."""

    def find(self, *, key: str | None = None, state: State | None = None, limit: int = 100) -> list[MessageView]:
        """Return matching messages, newest first."""

    def stats(self) -> BrokerStats:
        """Count what needs attention."""

    def backlog(self) -> list[Backlog]:
        """Return what each group that ever consumed has before it, by topic and group."""

    def resend(self, message_id: str) -> None:
        """Give a dead message to its group again, attempts counted anew. Raise `MessageNotFound`."""

    def resume(self, message_id: str) -> None:
        """Have a parked half message checked again, counted anew. Raise `MessageNotFound`."""


class Deliverer(Protocol):
    """What messages come from: a broker or an outbox."""

    def consumer(self, group: str, topic: str, handler: Handler, *, threads: int = 1, batch: int = 32) -> object:
        """Subscribe `group` to `topic` and run `handler` on threads of its own."""

    def console(self) -> Console:
        """Return its console. Raise `ConsoleUnavailable` where it has none."""

    def close(self) -> None:
        """Let handlers end, and give everything back."""


@dataclass(frozen=True, slots=True)
class Status:
    """What an operator watches."""

    stats: BrokerStats
    backlog: tuple[Backlog, ...]
    sagas: Counts

    @property
    def needs_attention(self) -> bool:
        """Whether something lies still until somebody sends it on."""
        return bool(self.stats.dead or self.stats.parked or self.sagas.troubled)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is on its way."""
        return not (self.stats.half or self.stats.pending or self.sagas.open)


class Running:
    """Ids, a broker with a producer, consumers, and the housekeeping."""

    def __init__(
        self,
        name: str,
        database: Transactor,
        url: str,
        sends: Sequence[str],
        subscriptions: Sequence[Subscription],
        sagas: Sequence[Saga],
        options: Options,
        around: Around,
    ) -> None:
        """Open them. Raise `BrokerError`, `DatabaseUnavailable`, `LeaseLost`, `Misconfigured`.

        `subscriptions`: those that were declared so far; a console looks at the messages of these, and of those that
        are consumed later on.
        """
        self.pid = os.getpid()
        self._database, self._options = database, options
        self._records = Records(tables.RECORDS, retention=options.record_retention)
        self._closed = threading.Event()
        self._house: threading.Thread | None = None
        self._outbox: Outbox | None = None
        _find_tables(database)
        self.ids = LeasedIds(database, name, table=tables.LEASES.name)
        self.ids.start()
        try:
            self.sagas = ServiceSagas(database, self.ids, sagas, options, around)
            self._consumed = [(each.topic, each.group) for each in subscriptions]
            self._deliverer, self.way = self._opened(name, url, sends)
        except BaseException:
            self.ids.close()
            raise

    def _opened(self, name: str, url: str, sends: Sequence[str]) -> tuple[Deliverer, Way]:
        if urlsplit(url).scheme == TABLE:
            if url != f"{TABLE}://":
                raise Misconfigured(f"An outbox is in the engine's database: its URL is {TABLE}:// and no more.")
            self._outbox = Outbox(self._database, self._options.broker, poll_every=self._options.poll_every)
            return self._outbox, Rows(self._outbox.ring)
        broker = open_broker(url, self._options.broker, subscriptions=self._consumed)
        checker = Checker(self._database, self._records, deadline=self._options.deadline)
        producer = broker.producer(name, checker, topics=sends)
        return broker, HalfMessages(Coordinator(producer, self._database, self._records, self.ids))

    def consume(self, subscription: Subscription, handler: Handler) -> None:
        """Run a handler. Raise `BrokerError`, `DatabaseUnavailable`."""
        options = self._options
        if (pair := (subscription.topic, subscription.group)) not in self._consumed:
            self._consumed.append(pair)
        self._deliverer.consumer(
            subscription.group, subscription.topic, handler, threads=options.threads, batch=options.batch
        )

    def console(self) -> Console:
        """Return the console. Raise `ConsoleUnavailable`."""
        return self._deliverer.console()

    def status(self) -> Status:
        """Return what an operator watches."""
        console = self.console()
        return Status(console.stats(), tuple(console.backlog()), self.sagas.counts())

    def keep_house(self) -> None:
        """Purge now and then, and drive sagas, on a thread each."""
        self.sagas.start()
        self._house = threading.Thread(target=self._keep_house, name="halfmessage-housekeeping", daemon=True)
        self._house.start()

    def _keep_house(self) -> None:
        while not self._closed.wait(self._options.housekeeping_every):
            try:
                self.sweep()
            except HalfMessageError as error:
                log.warning("nothing was purged", reason=error.detail)

    def sweep(self) -> int:
        """Delete what is older than it has to be kept, so many rows at a time; return how many."""
        options = self._options
        purges: list[Callable[[], int]] = [
            lambda: self._database.transact(lambda c: self._records.purge(c, _PURGED_TOGETHER)),
            lambda: self._database.transact(lambda c: purge_inbox(c, options.inbox_retention, _PURGED_TOGETHER)),
            self.sagas.purge_runs,
            self.sagas.purge_barrier,
        ]
        if (outbox := self._outbox) is not None:
            purges.append(lambda: outbox.purge(_PURGED_TOGETHER))
        return sum(_all_of(purge) for purge in purges)

    def close(self) -> None:
        """Close all of it, consumers first."""
        self._closed.set()
        if self._house is not None:
            self._house.join()
        self.sagas.close()
        self._deliverer.close()
        self.ids.close()


def _find_tables(database: Transactor) -> None:
    """Raise `Misconfigured` where a table is missing: it is made by a migration, never by itself."""
    with database.read() as connection:
        found = set(inspect(connection).get_table_names())
    if missing := sorted(tables.METADATA.tables.keys() - found):
        raise Misconfigured(f"Migrate the database (`flask tx migrate`, or your Alembic): no {', '.join(missing)}.")


def _all_of(purge: Callable[[], int]) -> int:
    total, last = 0, _PURGED_TOGETHER
    while last == _PURGED_TOGETHER:
        last = purge()
        total += last
    return total
