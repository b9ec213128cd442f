"""Check-backs: whatever happens, what C gets is exact."""

import threading

import pytest

from halfmessage.mq.port import (
    CheckAnswer,
    HalfMessage,
    Message,
    Resolution,
    Verdict,
)
from halfmessage.mq.rocketmq_remoting import callbacks
from halfmessage.mq.rocketmq_remoting.producer import RemotingProducer
from halfmessage.mq.rocketmq_remoting.wire import pack
from tests.native.standin import Standin
from tests.support import eventually
from tests.unit.rocketmq_remoting.kit import COMMITS, ROLLBACK, ROLLS_BACK, UNKNOWN, Open, says


@pytest.mark.parametrize(
    ("answer", "status"),
    [(CheckAnswer.COMMIT, COMMITS), (CheckAnswer.ROLLBACK, ROLLS_BACK), (CheckAnswer.UNKNOWN, UNKNOWN)]
    + [(inexact, UNKNOWN) for inexact in (False, True, 0, 1, None, "commit", Resolution.COMMIT, [])],
)
def test_check_back_answers_exactly(open_: Open, standin: Standin, answer: object, status: int) -> None:
    """An answer that is none is UNKNOWN: False would commit, True roll back."""
    open_().producer("order", says(answer))
    assert standin.dll.standin_check(standin.dll.standin_foreign_half(b"order", b"t1", b"aborted")) == status


@pytest.mark.parametrize("error", [RuntimeError("the database is away"), SystemExit(0), KeyboardInterrupt()])
def test_checker_that_raises(open_: Open, standin: Standin, error: BaseException) -> None:
    """Whatever a checker raises, C gets UNKNOWN, the half message is asked about again, and then answered."""

    def checker(half: HalfMessage) -> CheckAnswer:
        if half.checks < 3:
            raise error
        return CheckAnswer.ROLLBACK

    open_().producer("order", checker)
    place = standin.dll.standin_foreign_half(b"order", b"t1", b"aborted")
    assert [standin.dll.standin_check(place) for _ in range(3)] == [UNKNOWN, UNKNOWN, ROLLS_BACK]


def test_checker_gets_the_message_whole(open_: Open, standin: Standin) -> None:
    """A check-back carries id, message and birth as they were at the beginning, and counts; on a thread of ours."""
    asked: list[HalfMessage] = []
    on: list[str] = []

    def checker(half: HalfMessage) -> CheckAnswer:
        asked.append(half)
        on.append(threading.current_thread().name)
        return CheckAnswer.UNKNOWN

    broker = open_()
    half = broker.producer("order", checker).begin(ROLLBACK)
    standin.dll.standin_check(0)
    standin.dll.standin_check(0)
    assert [(a.message_id, a.message, a.born_at, a.checks) for a in asked] == [
        (half.message_id, ROLLBACK, half.born_at, checks) for checks in (1, 2)
    ]
    assert on == ["check-back of order"] * 2


@pytest.mark.parametrize("answer", [False, True, None, 0, 1, Verdict.ACK])
def test_nothing_but_members_leaves_a_callback(answer: object) -> None:
    """Whatever goes wrong inside, what a callback returns to C is a member of the enumeration that C expects."""
    assert callbacks.guarded(lambda _: answer, Resolution.ROLLBACK, "x")(b"message") is Resolution.ROLLBACK


def test_half_message_of_another_client(open_: Open, standin: Standin) -> None:
    """A half message that the gRPC client sent is checked by its tx_id and deliver_if."""
    asked: list[HalfMessage] = []
    open_().producer("order", lambda half: asked.append(half) or CheckAnswer.COMMIT)  # type: ignore[func-returns-value]
    standin.dll.standin_check(standin.dll.standin_foreign_half(b"order", b"t1", b""))
    (half,) = asked
    assert half.message == Message("order_rollback", b"{}", "rollback", ("7001", "7002"), {"tx_id": "t1"})
    assert half.message_id.startswith("C0A80001")


def test_half_message_that_cannot_be_read(open_: Open, standin: Standin) -> None:
    """What can't be read is UNKNOWN, not 0 = COMMIT."""
    producer = open_().producer("order", says(CheckAnswer.ROLLBACK))
    half = producer.begin(ROLLBACK)
    standin.dll.standin_spoil(0)
    assert standin.dll.standin_check(0) == UNKNOWN
    producer.resolve(half, Resolution.COMMIT)


def test_producer_without_a_checker_is_asked(open_: Open, standin: Standin) -> None:
    """A producer that has no checker answers UNKNOWN."""
    producer = open_().producer("order")
    half = producer.begin(ROLLBACK)
    assert standin.dll.standin_check(0) == UNKNOWN
    producer.resolve(half, Resolution.ROLLBACK)


def test_idle_producer_makes_itself_known(open_: Open, standin: Standin) -> None:
    """A producer that is to be asked sends and rolls back a half message on each topic, however long that fails."""
    broker = open_()
    standin.play(error=True)
    producer = RemotingProducer(
        broker._link, "order", says(CheckAnswer.COMMIT), topics=["order_rollback", "other"], prime_again_after=0.01
    )
    eventually(lambda: standin.dll.standin_refused() >= 2)
    assert standin.returned(standin.LOCAL_EXECUTE) == []
    standin.play()
    eventually(lambda: standin.returned(standin.LOCAL_EXECUTE) == [ROLLS_BACK] * 2)
    producer.close()


def test_primer_left_open_is_rolled_back(open_: Open, standin: Standin) -> None:
    """What a primer left open when its process died is rolled back without asking the checker."""
    producer = open_().producer("order", says(CheckAnswer.COMMIT))
    producer._begin(pack(Message("order_rollback", b"primer"), primer=True))
    assert standin.dll.standin_check(0) == ROLLS_BACK


def test_primer_gives_up_when_closed(open_: Open, standin: Standin) -> None:
    """Closing ends a primer that waits for the broker."""
    standin.play(error=True)
    producer = open_().producer("order", says(CheckAnswer.COMMIT), topics=["order_rollback"])
    eventually(lambda: standin.dll.standin_refused() == 1)
    producer.close()
