"""Transactional messages, proved with a toy service: a diary whose entries are told, or whose failures are."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, func, insert, select

from halfmessage import failpoints
from halfmessage.clock import now_ms
from halfmessage.errors import BrokerError, CommitOutcomeUnknown, DatabaseUnavailable, DuplicateRow, FailpointRaised
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import (
    Broker,
    BrokerOptions,
    CheckAnswer,
    HalfMessage,
    Message,
    Resolution,
    State,
    Verdict,
)
from halfmessage.tx.coordinator import Checker, Coordinator, Transaction
from halfmessage.tx.record import AlreadyAborted, Outcome, Records, record_table
from tests.fakes import Faults, FaultyProducer, Ids, open_database
from tests.support import eventually

METADATA = MetaData()
ENTRIES = Table("entries", METADATA, Column("tx_id", BigInteger, primary_key=True, autoincrement=False))
RECORDS = record_table(METADATA)
COMMITTED, ABORTED = Outcome.COMMITTED, Outcome.ABORTED
SIGNS = pytest.mark.parametrize("deliver_if", [COMMITTED, ABORTED])
RETENTION = 3600.0  # seconds
OLD = 60.0  # seconds: older than the deadline below
OPTIONS = BrokerOptions(check_first_after=0.02, check_interval=0.02, check_max=1000)


class Diary:
    """A service of one table and one topic; `process` opens further processes of it."""

    def __init__(self, directory: Path, stack: ExitStack, options: BrokerOptions = OPTIONS) -> None:
        self._directory, self._stack, self._options = directory, stack, options
        self.ids, self.faults = Ids(), Faults()
        self.records = Records(RECORDS, retention=RETENTION)
        self.database = open_database(directory / "diary.db", METADATA)
        stack.callback(self.database.close)
        self.checker = Checker(self.database, self.records, deadline=30.0)
        self.delivered: list[int] = []
        self.broker = self.process()
        self.broker.consumer("reader", "told", self._read)
        self.producer = FaultyProducer(self.broker.producer("diary"), self.faults)
        self.coordinator = Coordinator(self.producer, self.database, self.records, self.ids)

    def process(self) -> Broker:
        broker = open_broker(f"embedded:///{self._directory}/broker.db", self._options)
        self._stack.callback(broker.close)
        return broker

    def check_backs(self) -> None:
        """Start a process whose only work is to answer check-backs."""
        self.process().producer("diary", self.checker)

    def _read(self, deliveries: Any) -> list[Verdict]:
        self.delivered += [int(delivery.message.body) for delivery in deliveries]
        return [Verdict.ACK] * len(deliveries)

    def begin(self, deliver_if: Outcome) -> Transaction:
        tx_id = self.coordinator.ids.next()
        return self.coordinator.begin(tx_id, Message("told", str(tx_id).encode()), deliver_if, name="diary")

    def entries(self) -> list[int]:
        with self.database.read() as connection:
            return list(connection.scalars(select(ENTRIES.c.tx_id)))

    def outcome(self, tx_id: int) -> Outcome | None:
        with self.database.read() as connection:
            return self.records.find(connection, [tx_id]).get(tx_id)

    def resolved(self) -> bool:
        """Tell whether no message is open, and all that is to be delivered was."""
        stats = self.broker.console().stats()
        return stats.half == stats.parked == stats.pending == 0

    def ends(self, tx: Transaction, outcome: Outcome) -> None:
        """Wait for the end, and see that rows, record and message agree on it."""
        eventually(self.resolved)
        assert self.outcome(tx.tx_id) in {outcome, None}
        assert self.entries() == ([tx.tx_id] if outcome is COMMITTED else [])
        assert self.delivered == ([tx.tx_id] if outcome is tx.deliver_if else [])


@pytest.fixture
def diary(tmp_path: Path) -> Iterator[Diary]:
    with ExitStack() as stack:
        yield Diary(tmp_path, stack)


def _entry(tx: Transaction) -> Callable[[Connection], object]:
    return lambda connection: connection.execute(insert(ENTRIES).values(tx_id=tx.tx_id))


class _Refused(Exception):
    pass


def _half_done(tx: Transaction) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        _entry(tx)(connection)
        raise _Refused

    return work


@SIGNS
def test_committed_and_resolved(diary: Diary, deliver_if: Outcome) -> None:
    """Committed: the rows are there, and the message is delivered iff it was to be."""
    tx = diary.begin(deliver_if)
    tx.commit(_entry(tx))
    tx.resolve(COMMITTED)
    diary.ends(tx, COMMITTED)
    assert diary.outcome(tx.tx_id) is COMMITTED


@SIGNS
def test_aborted_and_resolved(diary: Diary, deliver_if: Outcome) -> None:
    """Work that raises leaves neither rows nor record; the message is delivered iff it was to be."""
    tx = diary.begin(deliver_if)
    with pytest.raises(_Refused):
        tx.commit(_half_done(tx))
    tx.resolve(ABORTED)
    diary.ends(tx, ABORTED)


@SIGNS
def test_dropped(diary: Diary, deliver_if: Outcome) -> None:
    """A transaction given up before it did anything delivers nothing, whatever its sign."""
    diary.begin(deliver_if).drop()
    eventually(diary.resolved)
    assert diary.delivered == []


@SIGNS
def test_died_before_the_record(diary: Diary, deliver_if: Outcome) -> None:
    """A process that died before it committed is aborted by another one's check-back."""
    diary.ids.age = OLD
    tx = diary.begin(deliver_if)
    diary.check_backs()
    diary.ends(tx, ABORTED)
    assert diary.outcome(tx.tx_id) is ABORTED


@SIGNS
def test_died_after_the_record(diary: Diary, deliver_if: Outcome) -> None:
    """A process that died after it committed is confirmed by another one's check-back, however young."""
    tx = diary.begin(deliver_if)
    tx.commit(_entry(tx))
    diary.check_backs()
    diary.ends(tx, COMMITTED)


@SIGNS
@pytest.mark.parametrize("when", ["before", "after"])
def test_resolve_fails(diary: Diary, deliver_if: Outcome, when: str) -> None:
    """A broker that does not answer `resolve` is no error: the check-back does it, if it wasn't done."""
    tx = diary.begin(deliver_if)
    tx.commit(_entry(tx))
    diary.faults.plan("resolve", BrokerError(), when)
    tx.resolve(COMMITTED)
    diary.check_backs()
    diary.ends(tx, COMMITTED)


@SIGNS
def test_drop_fails(diary: Diary, deliver_if: Outcome) -> None:
    """A message that could not be dropped is aborted by its check-back."""
    diary.ids.age = OLD
    tx = diary.begin(deliver_if)
    diary.faults.plan("resolve", BrokerError())
    tx.drop()
    diary.check_backs()
    diary.ends(tx, ABORTED)


def test_broker_down_at_begin(diary: Diary) -> None:
    """Without a half message there is no transaction."""
    diary.faults.plan("begin", BrokerError())
    with pytest.raises(BrokerError):
        diary.begin(COMMITTED)
    assert diary.resolved()


def test_a_step_is_timed_once_it_is_over(diary: Diary) -> None:
    """And only if it succeeded; a message that is left to its check-back is told as resolved, after the try."""
    timed: list[tuple[str, bool]] = []
    coordinator = replace(diary.coordinator, observe=lambda step, _: timed.append((step, over)))
    over = False

    def begin() -> Transaction:
        return coordinator.begin(diary.ids.next(), Message("told", b"1"), COMMITTED, name="diary")

    def end() -> None:
        nonlocal over
        over = True

    diary.faults.plan("begin", BrokerError())
    with pytest.raises(BrokerError):
        begin()
    assert timed == []
    diary.faults.hooks["begin"] = end
    tx = begin()
    over = False
    diary.faults.hooks["resolve"] = end
    diary.faults.plan("resolve", BrokerError())
    tx.drop()
    assert timed == [("diary.half", True), ("diary.resolve", True)]


def test_half_message_carries_all_a_checker_needs(diary: Diary) -> None:
    """Beside the message's own properties: the transaction's id and the sign, and nothing from memory."""
    message = Message("told", b"1", properties={"mine": "x"})
    diary.coordinator.begin(diary.coordinator.ids.next(), message, ABORTED, name="diary")
    (view,) = diary.broker.console().find()
    assert view.message.properties == {"mine": "x", "tx_id": view.message.properties["tx_id"], "deliver_if": "aborted"}


def test_unknown_while_young(diary: Diary) -> None:
    """A transaction younger than the deadline is not decided: ask again. Then it commits, unharmed."""
    diary.check_backs()
    tx = diary.begin(COMMITTED)
    checks = eventually(lambda: [c.answer for c in diary.broker.console().find()[0].checks if c.answer is not None])
    assert set(checks) == {CheckAnswer.UNKNOWN}
    assert diary.outcome(tx.tx_id) is None
    tx.commit(_entry(tx))
    diary.ends(tx, COMMITTED)


@pytest.mark.parametrize(("age", "outcome"), [(29.0, None), (31.0, ABORTED), (-29.0, None), (-31.0, ABORTED)])
def test_deadline(diary: Diary, age: float, outcome: Outcome | None) -> None:
    """It is 30 seconds here; a second less, the transaction may be running, a second more, it is fenced."""
    diary.ids.age = age
    assert diary.checker.outcome(diary.ids.next()) is outcome


@pytest.mark.parametrize(("age", "outcome"), [(RETENTION - 1, ABORTED), (RETENTION + 1, Outcome.EXPIRED)])
def test_retention(diary: Diary, age: float, outcome: Outcome) -> None:
    """Up to there nothing is known of a transaction because it never committed; beyond, because it may be purged."""
    diary.ids.age = age
    tx = diary.begin(COMMITTED)
    assert diary.checker.outcome(tx.tx_id) is outcome
    with pytest.raises(AlreadyAborted):
        tx.commit(_entry(tx))


@SIGNS
def test_checker_first(diary: Diary, deliver_if: Outcome) -> None:
    """A local transaction that comes after the checker gave up on it is refused, and writes nothing."""
    diary.ids.age = OLD
    tx = diary.begin(deliver_if)
    assert diary.checker.outcome(tx.tx_id) is ABORTED
    with pytest.raises(AlreadyAborted):
        tx.commit(_entry(tx))
    diary.check_backs()
    diary.ends(tx, ABORTED)


@SIGNS
def test_local_transaction_first(diary: Diary, deliver_if: Outcome) -> None:
    """A checker that comes after the local transaction sees it committed, however old it is."""
    diary.ids.age = OLD
    tx = diary.begin(deliver_if)
    tx.commit(_entry(tx))
    assert diary.checker.outcome(tx.tx_id) is COMMITTED
    diary.check_backs()
    diary.ends(tx, COMMITTED)


def test_local_transaction_in_between(diary: Diary) -> None:
    """A local transaction that commits between the checker's look and its fence wins."""
    diary.ids.age = OLD
    tx = diary.begin(COMMITTED)
    tx.commit(_entry(tx))
    assert diary.records.fence(diary.database, tx.tx_id) is COMMITTED


def test_fence_of_two_checkers(diary: Diary) -> None:
    """Two checkers that fence the same transaction agree."""
    tx_id = diary.ids.next()
    assert [diary.records.fence(diary.database, tx_id) for _ in range(2)] == [ABORTED, ABORTED]


@SIGNS
def test_race(diary: Diary, deliver_if: Outcome) -> None:
    """Checker against local transaction, at once, many times: one wins, and rows and message agree with it."""
    diary.ids.age = OLD
    won = {COMMITTED: 0, ABORTED: 0}
    expected = []
    for attempt in range(60):
        tx = diary.begin(deliver_if)
        outcome = _race(diary, tx, head_start=attempt % 12 / 5000)
        won[outcome] += 1
        assert (tx.tx_id in diary.entries()) == (outcome is COMMITTED)
        if outcome is deliver_if:
            expected.append(tx.tx_id)
    diary.check_backs()
    eventually(diary.resolved)
    assert sorted(diary.delivered) == expected
    assert all(won.values()), f"no race: {won}"


def _race(diary: Diary, tx: Transaction, head_start: float) -> Outcome:
    """Let both run; the checker has a head start (seconds), from too short to too long for it to win."""
    both = threading.Barrier(2)
    said: list[Outcome | None] = []

    def check() -> None:
        both.wait()
        said.append(diary.checker.outcome(tx.tx_id))

    checker = threading.Thread(target=check)
    checker.start()
    both.wait()
    time.sleep(head_start)
    try:
        tx.commit(_entry(tx))
        mine = COMMITTED
    except AlreadyAborted:
        mine = ABORTED
    checker.join()
    assert said == [mine]
    return mine


@SIGNS
@pytest.mark.parametrize("stands", [True, False], ids=["it committed", "it did not"])
def test_ambiguous_commit(diary: Diary, monkeypatch: pytest.MonkeyPatch, deliver_if: Outcome, stands: bool) -> None:
    """A connection lost in COMMIT: there is no guess, the check-back settles it by what the database has."""
    diary.ids.age = OLD
    tx = diary.begin(deliver_if)
    transact = diary.database.transact

    def lost(work: Any) -> None:
        if stands:
            transact(work)
        raise CommitOutcomeUnknown

    with monkeypatch.context() as patch:
        patch.setattr(diary.database, "transact", lost)
        with pytest.raises(CommitOutcomeUnknown):
            tx.commit(_entry(tx))
    diary.check_backs()
    diary.ends(tx, COMMITTED if stands else ABORTED)


def test_commit_returns_what_work_returns(diary: Diary) -> None:
    """The work's result comes out; what it raises comes out too, and may be tried again in the same transaction."""
    tx = diary.begin(COMMITTED)
    with pytest.raises(DuplicateRow):
        tx.commit(lambda c: (_entry(tx)(c), _entry(tx)(c)))
    assert tx.commit(lambda c: (_entry(tx)(c), "result")[1]) == "result"
    tx.resolve(COMMITTED)
    diary.ends(tx, COMMITTED)


def _half(**properties: str) -> HalfMessage:
    return HalfMessage("id", Message("told", b"", properties=properties), now_ms(), 1)


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"tx_id": "7"},
        {"deliver_if": "committed"},
        {"tx_id": "seven", "deliver_if": "committed"},
        {"tx_id": "7", "deliver_if": "perhaps"},
    ],
)
def test_malformed_half_message(diary: Diary, properties: dict[str, str]) -> None:
    """A half message that is none of ours is answered UNKNOWN: the broker parks it for a human, nothing is fenced."""
    assert diary.checker(_half(**properties)) is CheckAnswer.UNKNOWN
    assert diary.outcome(7) is None


@pytest.mark.parametrize("hours", [-1, 1, -24 * 365])
def test_begun_under_another_clock(diary: Diary, hours: int) -> None:
    """A clock that was set back makes open transactions lie in the future: they are fenced now, not in an hour."""
    diary.ids.age = hours * 3600.0 - (0.0 if hours < 0 else 60.0)
    tx_id = diary.ids.next()
    assert diary.checker(_half(tx_id=str(tx_id), deliver_if="aborted")) is CheckAnswer.COMMIT
    assert diary.outcome(tx_id) is ABORTED


def test_older_than_records_are_kept(diary: Diary) -> None:
    """A transaction whose record may have been purged may have committed: it ends, and nothing is delivered for it."""
    diary.ids.age = RETENTION + 1
    tx_id = diary.ids.next()
    for deliver_if in ("aborted", "committed", "expired"):
        assert diary.checker(_half(tx_id=str(tx_id), deliver_if=deliver_if)) is CheckAnswer.ROLLBACK
    assert diary.outcome(tx_id) is Outcome.EXPIRED


@pytest.mark.parametrize("outcome", [COMMITTED, ABORTED])
def test_a_record_is_believed_as_long_as_it_is_there(diary: Diary, outcome: Outcome) -> None:
    """An old transaction's record, not purged yet, decides as ever."""
    diary.ids.age = RETENTION + 1
    tx_id = diary.ids.next()
    row = {"tx_id": tx_id, "outcome": outcome.value, "decided_at": now_ms() - 1000}
    diary.database.transact(lambda c: c.execute(insert(RECORDS).values(row)))
    assert diary.checker.outcome(tx_id) is outcome
    assert diary.checker(_half(tx_id=str(tx_id), deliver_if=outcome.value)) is CheckAnswer.COMMIT


def test_a_local_transaction_that_was_suspended_for_too_long_gives_up(diary: Diary) -> None:
    """One as old as records are kept writes nothing, though no fence is there (any more)."""
    diary.ids.age = RETENTION + 1
    with pytest.raises(AlreadyAborted):
        diary.begin(COMMITTED).commit(_unreached)
    with diary.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(RECORDS)) == 0


def test_a_local_transaction_whose_clock_is_behind_finds_the_fence(diary: Diary) -> None:
    """The fence of an expired transaction holds against a process that takes it for young."""
    diary.ids.age = RETENTION + 1
    tx = diary.begin(COMMITTED)
    assert diary.checker.outcome(tx.tx_id) is Outcome.EXPIRED
    with pytest.raises(AlreadyAborted):
        replace(tx, _records=Records(RECORDS, retention=10 * RETENTION)).commit(_unreached)
    assert diary.outcome(tx.tx_id) is Outcome.EXPIRED


def _unreached(_: Connection) -> None:
    raise AssertionError("what the local transaction writes comes after its record")


def test_answers_are_counted(diary: Diary) -> None:
    """Each check-back's answer is counted."""
    counted: list[CheckAnswer] = []
    checker = Checker(diary.database, diary.records, deadline=30.0, count=counted.append)
    half = _half(tx_id=str(diary.ids.next()), deliver_if="aborted")
    checker(half)
    diary.records.fence(diary.database, int(half.message.properties["tx_id"]))
    checker(half)
    checker(_half(tx_id=half.message.properties["tx_id"], deliver_if="committed"))
    assert counted == [CheckAnswer.UNKNOWN, CheckAnswer.COMMIT, CheckAnswer.ROLLBACK]


def test_checker_without_database(diary: Diary, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checker that can't read the record raises, which counts as UNKNOWN; later the message is settled."""
    diary.ids.age = OLD
    tx = diary.begin(COMMITTED)
    with monkeypatch.context() as patch:

        def down() -> None:
            raise DatabaseUnavailable

        patch.setattr(diary.database, "read", down)
        diary.check_backs()
        console = diary.broker.console()
        eventually(lambda: any(check.answer is CheckAnswer.UNKNOWN for check in console.find()[0].checks))
    diary.ends(tx, ABORTED)


def test_parked_is_settled_after_resume(tmp_path: Path) -> None:
    """A half message that the broker gave up on stays unresolved, until an operator resumes it."""
    with ExitStack() as stack:
        diary = Diary(tmp_path, stack, replace(OPTIONS, check_interval=0.3, check_max=1))
        diary.check_backs()
        tx = diary.begin(COMMITTED)
        parked = eventually(lambda: diary.broker.console().find(state=State.PARKED))
        tx.commit(_entry(tx))
        assert diary.delivered == []
        diary.broker.console().resume(parked[0].message_id)
        diary.ends(tx, COMMITTED)


def test_resolved_twice(diary: Diary) -> None:
    """Resolving again, or differently, changes nothing: the first word counts."""
    tx = diary.begin(COMMITTED)
    tx.resolve(COMMITTED)
    tx.resolve(ABORTED)
    tx.resolve(COMMITTED)
    eventually(diary.resolved)
    assert diary.delivered == [tx.tx_id]
    (view,) = diary.broker.console().find()
    assert view.resolution is Resolution.COMMIT


def test_steps_are_observed(diary: Diary) -> None:
    """Each step's duration is told, under the transaction's name."""
    steps: list[str] = []
    coordinator = Coordinator(
        diary.producer, diary.database, diary.records, diary.ids, lambda step, _: steps.append(step)
    )
    tx = coordinator.begin(coordinator.ids.next(), Message("told", b"1"), COMMITTED, name="diary")
    tx.commit(lambda _: None)
    tx.resolve(COMMITTED)
    assert steps == ["diary.half", "diary.commit", "diary.resolve"]


@pytest.fixture
def _armed(request: pytest.FixtureRequest) -> Iterator[None]:
    failpoints.arm(f"close.{request.param}=raise", [f"close.{request.param}"])
    yield
    failpoints.arm("", [])


def _begin_close(diary: Diary) -> Transaction:
    tx_id = diary.coordinator.ids.next()
    return diary.coordinator.begin(tx_id, Message("told", str(tx_id).encode()), COMMITTED, name="close")


@pytest.mark.usefixtures("_armed")
@pytest.mark.parametrize("_armed", ["half_sent"], indirect=True)
def test_failpoint_half_sent(diary: Diary) -> None:
    """A transaction stopped right after its half message is aborted by the check-back."""
    diary.ids.age = OLD
    with pytest.raises(FailpointRaised):
        _begin_close(diary)
    diary.check_backs()
    eventually(diary.resolved)
    assert diary.delivered == []


@pytest.mark.usefixtures("_armed")
@pytest.mark.parametrize("_armed", ["before_commit"], indirect=True)
def test_failpoint_before_commit(diary: Diary) -> None:
    """A local transaction stopped before COMMIT leaves nothing."""
    tx = _begin_close(diary)
    with pytest.raises(FailpointRaised):
        tx.commit(_entry(tx))
    tx.resolve(ABORTED)
    diary.ends(tx, ABORTED)


@pytest.mark.usefixtures("_armed")
@pytest.mark.parametrize("_armed", ["committed"], indirect=True)
def test_failpoint_committed(diary: Diary) -> None:
    """One stopped right after COMMIT does not say that nothing happened: it does not know."""
    tx = _begin_close(diary)
    with pytest.raises(CommitOutcomeUnknown):
        tx.commit(_entry(tx))
    diary.check_backs()
    diary.ends(tx, COMMITTED)


@pytest.mark.usefixtures("_armed")
@pytest.mark.parametrize("_armed", ["before_resolve", "resolved"], indirect=True)
def test_failpoint_around_resolve(diary: Diary) -> None:
    """One stopped before or after resolving has succeeded all the same."""
    tx = _begin_close(diary)
    tx.commit(_entry(tx))
    tx.resolve(COMMITTED)
    diary.check_backs()
    diary.ends(tx, COMMITTED)


def test_only_what_is_asked_for_is_found(diary: Diary) -> None:
    """However many records there are."""
    first, second, unknown = (diary.ids.next() for _ in range(3))
    for tx_id in (first, second):
        diary.records.fence(diary.database, tx_id)
    with diary.database.read() as connection:
        assert diary.records.find(connection, [second, unknown]) == {second: ABORTED}


def test_decided_at(diary: Diary) -> None:
    """The record tells when it was decided."""
    before = now_ms()
    tx_id = diary.ids.next()
    diary.records.fence(diary.database, tx_id)
    with diary.database.read() as connection:
        decided = diary.records.decided(connection, [tx_id, 8])
    assert decided.keys() == {tx_id}
    outcome, at = decided[tx_id]
    assert outcome is ABORTED
    assert before <= at <= now_ms()


def test_purge(diary: Diary) -> None:
    """Records that may not be asked for are deleted, twice as old as that, oldest first, so many at once."""
    over = now_ms() - int(2 * RETENTION * 1000)
    times = [over - 1000 + i for i in range(7)] + [over + 60_000 + i for i in range(3)]
    rows = [{"tx_id": i, "outcome": "committed", "decided_at": at} for i, at in enumerate(times)]
    diary.database.transact(lambda c: c.execute(insert(RECORDS), rows))
    purged = [diary.database.transact(lambda c: diary.records.purge(c, 5)) for _ in range(3)]
    assert purged == [5, 2, 0]
    with diary.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(RECORDS)) == 3
