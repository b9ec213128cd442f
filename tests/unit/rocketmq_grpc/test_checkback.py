"""Questions about half messages: who answers, what is left unanswered so that RocketMQ asks again."""

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("rocketmq.grpc_protocol", reason="the gRPC client is an extra: .[rocketmq]")

from rocketmq.grpc_protocol import MessageType, TransactionResolution, TransactionSource

from common.errors import BrokerError
from common.mq.port import CheckAnswer, HalfMessage, Message
from common.mq.rocketmq_grpc import wire
from common.mq.rocketmq_grpc.checkback import CheckBack

MESSAGE = Message("t", b"x", keys=("1",), properties={"tx_id": "7"})


def half(group: str = "order", **own: str) -> Any:
    properties = {wire.GROUP: group, **own}
    sent = wire.send_request(MESSAGE, message_id="m1", kind=MessageType.TRANSACTION, own=properties).messages[0]
    sent.user_properties[wire.CHECKS] = "2"
    return sent


def answered(checker: Callable[[HalfMessage], Any] | None, sent: Any) -> list[tuple[Any, ...]]:
    """Ask once; return what RocketMQ was told."""
    told: list[tuple[Any, ...]] = []
    asking = CheckBack("order", checker, lambda *answer: told.append(answer))
    asking.asked("endpoints", sent, "t1")
    asking._executor.shutdown()  # all questions are answered by then
    return told


@pytest.mark.parametrize(
    ("answer", "resolution"),
    [(CheckAnswer.COMMIT, TransactionResolution.COMMIT), (CheckAnswer.ROLLBACK, TransactionResolution.ROLLBACK)],
)
def test_an_answer_is_told(answer: CheckAnswer, resolution: int) -> None:
    """With the message's own id; the checker sees what was sent, and how often it was asked."""
    seen: list[HalfMessage] = []

    def checker(one: HalfMessage) -> CheckAnswer:
        seen.append(one)
        return answer

    told = answered(checker, half())
    assert told == [("endpoints", "t", "m1", "t1", resolution, TransactionSource.SOURCE_SERVER_CHECK)]
    assert [(one.message_id, one.message, one.checks) for one in seen] == [("m1", MESSAGE, 2)]


def _fails(_: HalfMessage) -> CheckAnswer:
    raise RuntimeError("the database is away")


@pytest.mark.parametrize(
    ("checker", "sent"),
    [
        (lambda _: CheckAnswer.UNKNOWN, half()),
        (_fails, half()),
        (lambda _: "nonsense", half()),
        (None, half()),
        (lambda _: CheckAnswer.COMMIT, half(group="pay")),
    ],
    ids=["unknown", "raises", "nonsense", "no checker", "another group's"],
)
def test_silence_has_it_asked_again(checker: Callable[[HalfMessage], Any] | None, sent: Any) -> None:
    """Nothing is told, so that nothing is decided by mistake."""
    assert answered(checker, sent) == []


def test_a_plain_message_is_committed_whoever_is_asked() -> None:
    """It went as a transaction because its topic takes nothing else."""
    (told,) = answered(None, half(group="pay", **{wire.PLAIN: "1"}))
    assert told[4] == TransactionResolution.COMMIT


def test_an_answer_that_is_lost_harms_nobody() -> None:
    """It is asked again; the thread that answers survives."""
    calls: list[Any] = []

    def lost(*answer: Any) -> None:
        calls.append(answer)
        raise BrokerError("away")

    asking = CheckBack("order", lambda _: CheckAnswer.COMMIT, lost)
    for _ in range(2):
        asking.asked("endpoints", half(), "t1")
    asking._executor.shutdown()
    assert len(calls) == 2


def test_a_closed_one_takes_no_question() -> None:
    """Whoever is asked next answers."""
    told: list[Any] = []
    asking = CheckBack("order", lambda _: CheckAnswer.COMMIT, lambda *answer: told.append(answer))
    asking.close()
    asking.asked("endpoints", half(), "t1")
    assert told == []
