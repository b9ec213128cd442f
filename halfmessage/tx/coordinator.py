"""Transactional messages: begin a half message, do the work in ONE local transaction, resolve; or be checked back.

Source of the pattern: https://rocketmq.apache.org/docs/featureBehavior/04transactionmessage/. What is ours is the
fence: the record of the transaction, written with the business rows or, by the checker, instead of them.

A service uses it for any message::

    records = Records(transaction_records, retention=7 * 24 * 3600)
    checker = Checker(database, records, deadline=5.0)
    coordinator = Coordinator(broker.producer("shop", checker), database, records, ids)

    tx_id = coordinator.ids.next()
    tx = coordinator.begin(tx_id, message(tx_id), deliver_if=Outcome.COMMITTED, name="sale")
    tx.commit(lambda connection: connection.execute(...))  # the record and the rows, or neither
    tx.resolve(Outcome.COMMITTED)
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from halfmessage import failpoints
from halfmessage.clock import now_ms
from halfmessage.db import Transactor
from halfmessage.errors import CommitOutcomeUnknown, FailpointRaised
from halfmessage.ids import IdSource, issued_at
from halfmessage.mq.port import CheckAnswer, HalfMessage, Message, Producer
from halfmessage.tx.opened import DELIVER_IF, TX_ID, Observe, OpenMessage, begin, observed, unobserved
from halfmessage.tx.record import Outcome, Records

__all__ = ["DELIVER_IF", "TX_ID", "Checker", "Coordinator", "Observe", "RecordChecker", "Transaction"]

T = TypeVar("T")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Transaction(OpenMessage):
    """One open transactional message, whose local transaction is in the database."""

    _database: Transactor
    _records: Records

    def commit(self, work: Callable[[Connection], T]) -> T:
        """Run the local transaction: the record and what `work` writes, in ONE database transaction.

        Raise `AlreadyAborted` (the checker gave up on us, or will; it resolves), `CommitOutcomeUnknown` (leave the
        message alone, the check-back decides), or what `work` or the database raised: rolled back, call
        `resolve(ABORTED)`.
        """

        def local_transaction(connection: Connection) -> T:
            self._records.commit(connection, self.tx_id)
            result = work(connection)
            failpoints.hit(f"{self.name}.before_commit")
            return result

        started = time.perf_counter()
        result = self._database.transact(local_transaction)
        self._observe(f"{self.name}.commit", time.perf_counter() - started)
        try:
            failpoints.hit(f"{self.name}.committed")
        except FailpointRaised as error:
            raise CommitOutcomeUnknown from error
        return result


@dataclass(frozen=True, slots=True)
class Coordinator:
    """Begins transactional messages in the name of one service."""

    producer: Producer
    database: Transactor
    records: Records
    ids: IdSource
    observe: Observe = field(default=unobserved)

    def begin(self, tx_id: int, message: Message, deliver_if: Outcome, *, name: str) -> Transaction:
        """Send the half message of a transaction, to be delivered iff the transaction ends as said.

        `tx_id` is a new one of `ids`, whose time its deadline counts from; `name` is the prefix of its failpoints and
        steps. Raise `BrokerError`: nothing happened.
        """
        opened = begin(self.producer, self.observe, tx_id, message, deliver_if, name)
        return Transaction(
            opened.tx_id, name, deliver_if, opened.half, self.producer, self.observe, self.database, self.records
        )

    def observed(self, step: str) -> AbstractContextManager[None]:
        """Tell how long a step took, if it succeeds."""
        return observed(self.observe, step)


class RecordChecker(ABC):
    """Answers check-backs from what the message carries and the record, never from a process's memory.

    Where records are, its subclass knows.
    """

    def __init__(self, *, count: Callable[[CheckAnswer], None] = lambda _: None, name: str = "check") -> None:
        """Take what counts answers, and the prefix of the failpoints (`name`)."""
        self._count = count
        self._name = name

    def __call__(self, half: HalfMessage) -> CheckAnswer:
        """Answer one check-back; fence the transaction if it is past its deadline. Raise what the database raises."""
        failpoints.hit(f"{self._name}.received")
        answer = self._answer(half)
        self._count(answer)
        return answer

    def _answer(self, half: HalfMessage) -> CheckAnswer:
        try:
            tx_id = int(half.message.properties[TX_ID])
            deliver_if = Outcome(half.message.properties[DELIVER_IF])
        except (KeyError, ValueError):
            log.exception("half message without a transaction of ours", message_id=half.message_id)
            return CheckAnswer.UNKNOWN
        outcome = self.outcome_of(tx_id, half.message)
        if outcome is None:
            return CheckAnswer.UNKNOWN
        if outcome is Outcome.EXPIRED:  # the rows tell how it ended: the sweep reads them
            return CheckAnswer.ROLLBACK
        return CheckAnswer.COMMIT if outcome == deliver_if else CheckAnswer.ROLLBACK

    @abstractmethod
    def outcome_of(self, tx_id: int, message: Message) -> Outcome | None:
        """Return how the transaction of a message ended, fencing it if it is past its deadline; None: ask again."""


class Checker(RecordChecker):
    """Answers from the records in the database."""

    def __init__(
        self,
        database: Transactor,
        records: Records,
        *,
        deadline: float,
        count: Callable[[CheckAnswer], None] = lambda _: None,
        name: str = "check",
    ) -> None:
        """Take how long a local transaction may take (seconds), and the prefix of the failpoints (`name`)."""
        super().__init__(count=count, name=name)
        self._database = database
        self._records = records
        self._deadline_ms = int(deadline * 1000)

    def outcome_of(self, tx_id: int, message: Message) -> Outcome | None:  # noqa: ARG002 - its id says it all
        """See `RecordChecker`."""
        return self.outcome(tx_id)

    def outcome(self, tx_id: int) -> Outcome | None:
        """Return how a transaction ended, fencing it if it is past its deadline; None: it may still be running.

        Past it is one whose time is further from now than the deadline, be it ahead. To fence is safe at any time: the
        deadline only spares who is still at work.
        """
        with self._database.read() as connection:
            outcome = self._records.find(connection, [tx_id]).get(tx_id)
        if outcome is not None:
            return outcome
        age = now_ms() - issued_at(tx_id)
        if abs(age) < self._deadline_ms:  # one of an hour ahead began before the clock was set back: it waits no hour
            return None
        outcome = self._records.fence(self._database, tx_id)
        failpoints.hit(f"{self._name}.fenced")
        if outcome is Outcome.EXPIRED:
            log.warning("transaction older than its record is kept: its message is not delivered", tx_id=tx_id)
        return outcome
