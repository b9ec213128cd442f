"""Questions about half messages: who answers, what is left unanswered so that RocketMQ asks again."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

pytest.importorskip("rocketmq.grpc_protocol", reason="the gRPC client is an extra: .[rocketmq]")

from rocketmq.grpc_protocol import Encoding, MessageType, Settings, TransactionResolution, TransactionSource
from structlog.testing import capture_logs

from halfmessage.errors import BrokerError
from halfmessage.mq.port import CheckAnswer, HalfMessage, Message
from halfmessage.mq.rocketmq_grpc import wire
from halfmessage.mq.rocketmq_grpc.checkback import AskedProducer, CheckBack
from halfmessage.mq.rocketmq_grpc.place import Place
from halfmessage.mq.rocketmq_grpc.producer import configuration
from tests.support import eventually
from tests.unit.rocketmq_grpc.kit import future

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


def test_a_question_that_can_not_be_read_is_left_unanswered() -> None:
    """RocketMQ parks it in the end, where it is seen."""
    sent = half()
    sent.body, sent.system_properties.body_encoding = b"no gzip", Encoding.GZIP
    with capture_logs() as logs:
        assert answered(lambda _: CheckAnswer.COMMIT, sent) == []
    assert [entry["event"] for entry in logs] == ["broker.message_damaged"]


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


def test_a_plain_message_is_committed_whichever_client_is_asked() -> None:
    """It went as a transaction because its topic takes nothing else."""
    (told,) = answered(None, half(group="pay", **{wire.PLAIN: "1"}))
    assert told[4] == TransactionResolution.COMMIT


def test_an_answer_that_is_lost_does_no_harm() -> None:
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
    """The client that is asked next answers."""
    told: list[Any] = []
    asking = CheckBack("order", lambda _: CheckAnswer.COMMIT, lambda *answer: told.append(answer))
    asking.close()
    asking.asked("endpoints", half(), "t1")
    assert told == []


@pytest.fixture
def producer() -> AskedProducer:
    """Return one that is not started."""
    return AskedProducer(configuration(Place("127.0.0.1", 1), 1.0), {"t"}, lambda *_: None, tls=False)


def test_writes_on_the_stream_wait_for_each_other(producer: AskedProducer) -> None:
    """GRPC breaks a stream on which two writes meet; the client's own may, at its start."""
    under_way: list[Future[None]] = []

    def write(*_: Any) -> "Future[None]":
        under_way.append(Future())
        return under_way[-1]

    producer._write_now = write
    first, second = (producer.rpc_client.telemetry_write_async("endpoints", n) for n in (1, 2))
    eventually(lambda: under_way)
    under_way[0].set_exception(asyncio.InvalidStateError())
    with pytest.raises(asyncio.InvalidStateError):
        first.result(5)
    eventually(lambda: len(under_way) == 2)
    assert not second.done()
    under_way[1].set_result(None)
    second.result(5)


def test_that_it_is_reached_is_told_by_an_answer_on_its_stream(producer: AskedProducer) -> None:
    """To what it writes now: an earlier answer is none. A write that fails is told too."""
    endpoints = producer.client_configuration.rpc_endpoints
    producer._write_now = lambda *_: future()
    producer.reset_setting(Settings())
    with pytest.raises(BrokerError, match="does not answer on the stream"):
        producer.listen(endpoints, 0.05)

    def answered(*_: Any) -> "Future[None]":
        producer.reset_setting(Settings())
        return future()

    producer._write_now = answered
    producer.listen(endpoints, 5)
    producer._write_now = lambda *_: future(error=asyncio.InvalidStateError())
    with pytest.raises(BrokerError, match="client failed"):
        producer.listen(endpoints, 5)
