"""How a message gets out, unseen by the code that sends: as a half message of a broker, or as a row of an outbox.

Failpoints of a half message named N: N.half_sent, N.before_commit, N.committed, N.before_resolve, N.resolved; of a row
N.before_commit, N.committed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection

from halfmessage.mq.port import Message
from halfmessage.transactional.outbox.rows import add
from halfmessage.tx.coordinator import Coordinator
from halfmessage.tx.opened import OpenMessage
from halfmessage.tx.record import Outcome, Records


class Opened(Protocol):
    """One message that is on its way out."""

    def write(self, connection: Connection) -> None:
        """Write what decides it, in the local transaction. Raise `AlreadyAborted` if it took too long."""

    def committed(self) -> None:
        """Have it delivered. Raises nothing: where that fails, somebody else does it later."""

    def dropped(self) -> None:
        """Have it dropped, as the local transaction was rolled back. Raises nothing."""


class Way(Protocol):
    """Where messages go."""

    def open(self, tx_id: int, message: Message) -> Opened:
        """Store what has to be stored before COMMIT. Raise `BrokerError` or `MessageRefused`: nothing happened."""


@dataclass(frozen=True, slots=True)
class _Half:
    opened: OpenMessage
    records: Records

    def write(self, connection: Connection) -> None:
        self.records.commit(connection, self.opened.tx_id)

    def committed(self) -> None:
        self.opened.resolve(Outcome.COMMITTED)

    def dropped(self) -> None:
        self.opened.resolve(Outcome.ABORTED)


@dataclass(frozen=True, slots=True)
class HalfMessages:
    """Implements `Way` on a broker."""

    coordinator: Coordinator

    def open(self, tx_id: int, message: Message) -> Opened:
        """Send the half message."""
        opened = self.coordinator.begin(tx_id, message, Outcome.COMMITTED, name=message.topic)
        return _Half(opened, self.coordinator.records)


@dataclass(frozen=True, slots=True)
class _Row:
    tx_id: int
    message: Message
    ring: Callable[[], None]

    def write(self, connection: Connection) -> None:
        add(connection, self.tx_id, self.message)

    def committed(self) -> None:
        self.ring()

    def dropped(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Rows:
    """Implements `Way` on a table of the same database: what commits the rows commits the message."""

    ring: Callable[[], None]

    def open(self, tx_id: int, message: Message) -> Opened:
        """Do nothing yet."""
        return _Row(tx_id, message, self.ring)
