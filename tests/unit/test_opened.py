"""A transactional message whose local transaction is elsewhere than in a database."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from halfmessage import failpoints
from halfmessage.errors import BrokerError, CommitOutcomeUnknown, FailpointRaised
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import BrokerOptions, CheckAnswer, HalfMessage, Message, State
from halfmessage.tx.coordinator import RecordChecker
from halfmessage.tx.opened import OpenMessage, begin, unobserved
from halfmessage.tx.record import Outcome
from tests.fakes import FaultyProducer
from tests.faults import Faults

_POINTS = {f"sale.{step}" for step in ("half_sent", "before_commit", "committed", "before_resolve", "resolved")}


class Elsewhere:
    """A broker with a half message on it, and a record that is a dict."""

    def __init__(self, place: Path) -> None:
        self.broker = open_broker(f"embedded:///{place}/broker.db", BrokerOptions())
        self.faults = Faults()
        self.records: dict[int, Outcome] = {}
        self.steps: list[str] = []
        producer = FaultyProducer(self.broker.producer("shop"), self.faults)
        message = Message("told", b"7", keys=("7",))
        self.open = begin(producer, lambda step, _: self.steps.append(step), 7, message, Outcome.COMMITTED, "sale")

    def commit(self) -> str:
        self.records[7] = Outcome.COMMITTED
        return "done"

    def state(self) -> State:
        return self.broker.console().find(key="7")[0].state

    def close(self) -> None:
        failpoints.arm("", _POINTS)
        self.broker.close()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    with closing(Elsewhere(tmp_path)) as made:
        yield made


def test_it_is_committed_and_delivered(elsewhere: Elsewhere) -> None:
    """Each step is told; the broker's word that it has it is told to the caller."""
    assert elsewhere.open.commit_elsewhere(elsewhere.commit) == "done"
    assert elsewhere.state() is State.HALF
    assert elsewhere.open.resolve(Outcome.COMMITTED)
    assert elsewhere.state() is State.READY
    assert elsewhere.steps == ["sale.half", "sale.commit", "sale.resolve"]


def test_a_resolution_that_fails_is_told(elsewhere: Elsewhere) -> None:
    """The check-back decides it then, so no caller may rely on it yet."""
    elsewhere.faults.plan("resolve", BrokerError())
    assert elsewhere.open.resolve(Outcome.COMMITTED) is False
    assert elsewhere.state() is State.HALF


def test_what_the_work_raises_is_the_callers(elsewhere: Elsewhere) -> None:
    """It is not told as a step that took so long."""

    def fail() -> None:
        raise BrokerError

    with pytest.raises(BrokerError):
        elsewhere.open.commit_elsewhere(fail)
    assert elsewhere.steps == ["sale.half"]


@pytest.mark.parametrize(("point", "error"), [("before_commit", FailpointRaised), ("committed", CommitOutcomeUnknown)])
def test_its_failpoints(elsewhere: Elsewhere, point: str, error: type[Exception]) -> None:
    """Before the work nothing was done; after it, what was done stands."""
    failpoints.arm(f"sale.{point}=raise", _POINTS)
    with pytest.raises(error):
        elsewhere.open.commit_elsewhere(elsewhere.commit)
    assert bool(elsewhere.records) is (point == "committed")


class _Checker(RecordChecker):
    def outcome_of(self, tx_id: int, message: Message) -> Outcome | None:
        assert tx_id == 7
        return Outcome(message.tag) if message.tag else None


def test_a_checker_answers_from_wherever_the_records_are() -> None:
    """It is asked with the message, which may say where they are."""
    counted: list[CheckAnswer] = []
    checker = _Checker(count=counted.append)

    def half(tag: str) -> HalfMessage:
        return HalfMessage("1", Message("told", b"", tag, (), {"tx_id": "7", "deliver_if": "committed"}), 0)

    answers = [checker(half(tag)) for tag in ("committed", "aborted", "expired", "")]
    commit, rollback, unknown = CheckAnswer.COMMIT, CheckAnswer.ROLLBACK, CheckAnswer.UNKNOWN
    assert answers == counted == [commit, rollback, rollback, unknown]


def test_no_observer_is_needed(tmp_path: Path) -> None:
    """Without an observer it works as well."""
    with closing(open_broker(f"embedded:///{tmp_path}/broker.db", BrokerOptions())) as broker:
        opened = begin(broker.producer("shop"), unobserved, 7, Message("told", b"7"), Outcome.COMMITTED, "sale")
        assert isinstance(opened, OpenMessage)
        opened.drop()
