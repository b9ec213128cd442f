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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from halfmessage import failpoints
from halfmessage.clock import now_ms
from halfmessage.db import Transactor
from halfmessage.errors import CommitOutcomeUnknown, FailpointRaised, HalfMessageError
from halfmessage.ids import IdSource, issued_at
from halfmessage.mq.port import CheckAnswer, HalfMessage, Message, Producer, Resolution
from halfmessage.tx.record import Outcome, Records

T = TypeVar("T")
Observe = Callable[[str, float], None]
"""Told how long a step took: its name, seconds."""

TX_ID, DELIVER_IF = "tx_id", "deliver_if"

log = structlog.get_logger()


def _unobserved(_step: str, _seconds: float) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Transaction:
    """One open transactional message. Left alone, its check-back decides it."""

    tx_id: int
    name: str
    deliver_if: Outcome
    _half: HalfMessage
    _producer: Producer
    _database: Transactor
    _records: Records
    _observe: Observe

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

    def resolve(self, outcome: Outcome) -> None:
        """Tell the broker how it ended: delivered iff `deliver_if` is that outcome. Where that fails: check-back."""
        self._resolve(Resolution.COMMIT if outcome == self.deliver_if else Resolution.ROLLBACK)

    def drop(self) -> None:
        """Drop the message of a transaction that is given up before it did anything, so nothing needs undoing."""
        self._resolve(Resolution.ROLLBACK)

    def _resolve(self, resolution: Resolution) -> None:
        started = time.perf_counter()
        try:
            failpoints.hit(f"{self.name}.before_resolve")
            self._producer.resolve(self._half, resolution)
            failpoints.hit(f"{self.name}.resolved")
        except HalfMessageError as error:
            log.warning("half message left to its check-back", tx_id=self.tx_id, reason=error.detail)
        self._observe(f"{self.name}.resolve", time.perf_counter() - started)


@dataclass(frozen=True, slots=True)
class Coordinator:
    """Begins transactional messages in the name of one service."""

    producer: Producer
    database: Transactor
    records: Records
    ids: IdSource
    observe: Observe = field(default=_unobserved)

    def begin(self, tx_id: int, message: Message, deliver_if: Outcome, *, name: str) -> Transaction:
        """Send the half message of a transaction, to be delivered iff the transaction ends as said.

        `tx_id` is a new one of `ids`, whose time its deadline counts from; `name` is the prefix of its failpoints and
        steps. Raise `BrokerError`: nothing happened.
        """
        properties = {**message.properties, TX_ID: str(tx_id), DELIVER_IF: deliver_if.value}
        with self.observed(f"{name}.half"):
            half = self.producer.begin(replace(message, properties=properties))
        failpoints.hit(f"{name}.half_sent")
        return Transaction(tx_id, name, deliver_if, half, self.producer, self.database, self.records, self.observe)

    @contextmanager
    def observed(self, step: str) -> Iterator[None]:
        """Tell how long a step took, if it succeeds."""
        started = time.perf_counter()
        yield
        self.observe(step, time.perf_counter() - started)


class Checker:
    """Answers check-backs from what the message carries and the record, never from a process's memory."""

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
        self._database = database
        self._records = records
        self._deadline_ms = int(deadline * 1000)
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
        outcome = self.outcome(tx_id)
        if outcome is None:
            return CheckAnswer.UNKNOWN
        if outcome is Outcome.EXPIRED:  # the rows tell how it ended: the sweep reads them
            return CheckAnswer.ROLLBACK
        return CheckAnswer.COMMIT if outcome == deliver_if else CheckAnswer.ROLLBACK

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
