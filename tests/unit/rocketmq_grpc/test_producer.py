"""Sending: which kind goes as what, how far a delay hops, and what a resolution may fail with."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rocketmq.grpc_protocol", reason="the gRPC client is an extra: .[rocketmq]")

from rocketmq.grpc_protocol import Code, MessageType, TransactionResolution

from halfmessage.clock import now_ms
from halfmessage.errors import BrokerError
from halfmessage.mq.port import CheckAnswer, Checker, HalfMessage, Message, Resolution, Verdict
from halfmessage.mq.rocketmq_grpc import producer as module
from halfmessage.mq.rocketmq_grpc import routes, wire
from halfmessage.mq.rocketmq_grpc.onward import Onward
from halfmessage.mq.rocketmq_grpc.place import Place
from halfmessage.mq.rocketmq_grpc.producer import RocketMQProducer
from tests.unit.rocketmq_grpc.kit import Client, Held

MESSAGE = Message("t", b"x", keys=("1",))
DAY = 86_400_000


class Bench:
    """A producer on a client of ours."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        *kinds: int,
        place: Place | None = None,
        checker: Checker | None = lambda _: CheckAnswer.UNKNOWN,
    ) -> None:
        self.client = Client(*kinds)
        self.session = Held(self.client)
        monkeypatch.setattr(module, "Session", lambda *_, **__: self.session)
        self.producer = RocketMQProducer(place or Place("127.0.0.1", 1), 1.0, "order", checker, ())

    @property
    def sent(self) -> list[Any]:
        return [request.messages[0] for request in self.client.rpc_client.asked("send_message")]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Return a producer whose topic takes every kind."""
    made = Bench(monkeypatch)
    yield made
    made.producer.close()


@pytest.mark.parametrize(
    ("kinds", "goes_as"),
    [
        ((MessageType.NORMAL, MessageType.DELAY), MessageType.NORMAL),
        ((MessageType.TRANSACTION,), MessageType.TRANSACTION),
        ((MessageType.DELAY,), MessageType.DELAY),
    ],
)
def test_a_plain_message_goes_anywhere(monkeypatch: pytest.MonkeyPatch, kinds: tuple[int, ...], goes_as: int) -> None:
    """As what the topic takes; where that is a transaction, as one that is committed at once."""
    made = Bench(monkeypatch, *kinds)
    assert made.producer.send(MESSAGE) == "m1"
    assert made.sent[0].system_properties.message_type == goes_as
    ends = made.client.rpc_client.asked("end_transaction")
    assert [end.resolution for end in ends] == (
        [TransactionResolution.COMMIT] if goes_as == MessageType.TRANSACTION else []
    )
    made.producer.close()


@pytest.mark.parametrize("call", ["send", "send_at", "begin"])
def test_a_topic_of_the_wrong_kind(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Says how to create the right one, and sends nothing."""
    made = Bench(monkeypatch, MessageType.FIFO)
    arguments = (MESSAGE, 1) if call == "send_at" else (MESSAGE,)
    with pytest.raises(BrokerError, match=r"message\.type="):
        getattr(made.producer, call)(*arguments)
    assert made.sent == []
    made.producer.close()


def test_a_delay_is_rounded_up_to_the_second(bench: Bench) -> None:
    """RocketMQ's timers count in seconds: never early."""
    due = (now_ms() // 1000) * 1000 + 5001
    bench.producer.send_at(MESSAGE, due)
    assert bench.sent[0].system_properties.delivery_timestamp.ToMilliseconds() == due + 999
    assert dict(bench.sent[0].user_properties) == {wire.DELIVER_AT: str(due)}


def test_a_delay_beyond_the_limit_goes_as_far_as_it_may(bench: Bench) -> None:
    """A first hop of nearly a day; when it is really due travels along."""
    due = now_ms() + 10 * DAY
    bench.producer.send_at(MESSAGE, due)
    ends = bench.sent[0].system_properties.delivery_timestamp.ToMilliseconds()
    assert DAY - 120_000 < ends - now_ms() < DAY
    assert dict(bench.sent[0].user_properties) == {wire.DELIVER_AT: str(due), wire.HOP_ENDS: str(ends)}


def test_a_message_that_came_early_is_sent_on(bench: Bench) -> None:
    """Its next hop carries the first id, the birth and the due time of the first."""
    due = now_ms() + 10 * DAY
    early = wire.Received("first", MESSAGE, 77, 1, "receipt", {wire.DELIVER_AT: str(due)}, "raw")
    assert Onward(lambda: bench.producer).send(early) is Verdict.ACK
    properties = bench.sent[0].user_properties
    told = {name: properties[name] for name in (wire.FIRST_ID, wire.BORN_AT, wire.DELIVER_AT)}
    assert told == {wire.FIRST_ID: "first", wire.BORN_AT: "77", wire.DELIVER_AT: str(due)}


def test_the_last_hop_is_marked_as_none(bench: Bench) -> None:
    """Or it would be sent on again and again by a clock that was set back."""
    due = now_ms() + DAY // 2
    bench.producer.send_on(MESSAGE, due, {wire.HOP_ENDS: str(now_ms())})
    assert dict(bench.sent[0].user_properties) == {wire.DELIVER_AT: str(due)}


def test_a_hop_is_as_long_under_a_clock_that_was_set_back(bench: Bench) -> None:
    """By three days: counted from that clock it would end before it began, and come back at once."""
    ended = now_ms() + 3 * DAY
    bench.producer.send_on(MESSAGE, ended + 10 * DAY, {wire.HOP_ENDS: str(ended)})
    hop = bench.sent[0].system_properties.delivery_timestamp.ToMilliseconds() - ended
    assert DAY - 120_000 < hop < DAY


def test_a_message_that_could_not_be_sent_on_comes_again(bench: Bench) -> None:
    """The hop before is not acknowledged, so nothing is lost; the session is told to look, the line made anew."""
    bench.client.rpc_client.answers["send_message_async"] = _raises(TimeoutError())
    early = wire.Received("first", MESSAGE, 77, 1, "receipt", {wire.DELIVER_AT: str(now_ms() + DAY)}, "raw")
    assert Onward(lambda: bench.producer).send(early) is Verdict.RETRY
    assert bench.session.suspected == bench.client.lines.renewed == 1


def test_a_refusal_is_no_reason_to_doubt_the_client(bench: Bench) -> None:
    """RocketMQ answered: only calls that got no answer have the session look."""
    bench.client.rpc_client.answers["send_message_async"] = _answers(Code.MESSAGE_BODY_TOO_LARGE)
    with pytest.raises(BrokerError, match="4 MiB"):
        bench.producer.send(MESSAGE)
    assert bench.session.suspected == bench.client.lines.renewed == 0


def test_a_topic_that_takes_nothing_is_asked_about_anew(bench: Bench) -> None:
    """Once it takes messages again the next one is sent, not when the client looks by itself, 30 s later."""
    bench.client.closed_until = 1
    assert bench.producer.send(MESSAGE) == "m1"
    assert bench.client.forgotten == ["t"]


def test_a_topic_that_takes_nothing_is_asked_about_once_a_second(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many orders are refused meanwhile."""
    now = [100.0]
    monkeypatch.setattr(routes, "time", SimpleNamespace(monotonic=lambda: now[0]))
    bench.client.closed_until = 2
    for _ in range(5):
        with pytest.raises(BrokerError, match="no queue that takes messages"):
            bench.producer.begin(MESSAGE)
    assert bench.client.forgotten == ["t"]
    now[0] += 1.0
    bench.producer.begin(MESSAGE)
    assert bench.client.forgotten == ["t", "t"]


@pytest.mark.parametrize("error", [None, TimeoutError()])
def test_a_send_that_failed_has_its_route_asked_anew(bench: Bench, error: Exception | None) -> None:
    """The topic may have been deleted and made anew, elsewhere."""
    answer = _answers(Code.TOPIC_NOT_FOUND) if error is None else _raises(error)
    bench.client.rpc_client.answers["send_message_async"] = answer
    with pytest.raises(BrokerError):
        bench.producer.send(MESSAGE)
    assert bench.client.forgotten == ["t"]


@pytest.mark.parametrize(
    ("code", "said"),
    [(Code.INVALID_TRANSACTION_ID, ""), (Code.INTERNAL_SERVER_ERROR, "x cannot found transaction data x")],
)
def test_resolving_what_is_resolved_changes_nothing(bench: Bench, code: int, said: str) -> None:
    """The proxy has forgotten it: its check-back did it, or it restarted. No error."""
    half = bench.producer.begin(MESSAGE)
    bench.client.rpc_client.answers["end_transaction_async"] = _answers(code, said)
    bench.producer.resolve(half, Resolution.COMMIT)


def test_resolving_may_fail(bench: Bench) -> None:
    """Other refusals are errors, and so is a half message of another producer."""
    half = bench.producer.begin(MESSAGE)
    bench.client.rpc_client.answers["end_transaction_async"] = _answers(Code.FORBIDDEN)
    with pytest.raises(BrokerError, match="access control"):
        bench.producer.resolve(half, Resolution.ROLLBACK)
    with pytest.raises(BrokerError, match="check-back"):
        bench.producer.resolve(HalfMessage("m", MESSAGE, 1), Resolution.ROLLBACK)


def test_a_new_topic_for_transactions_is_announced(bench: Bench) -> None:
    """RocketMQ asks by topic: a client that did not name it is made anew, once."""
    bench.producer.begin(Message("new", b"x"))
    bench.producer.begin(Message("new", b"x"))
    assert bench.session.renewed == 1


def test_one_that_knows_no_answers_is_not_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """RocketMQ would ask it in turn with those that do, and each time count a check."""
    bench = Bench(monkeypatch, checker=None)
    bench.producer.send(Message("new", b"x"))
    bench.producer.begin(Message("new", b"x"))
    assert bench.session.renewed == 0
    bench.producer.close()


def _raises(error: Exception) -> Any:
    def answer() -> Any:
        raise error

    return answer


def _answers(code: int, said: str = "") -> Any:
    return lambda: SimpleNamespace(status=SimpleNamespace(code=code, message=said), entries=[])
