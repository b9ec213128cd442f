"""What a consumer hands on and what it sends on; one whose group RocketMQ does not have: said by name."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, ClassVar

import pytest

pytest.importorskip("rocketmq.grpc_protocol", reason="the gRPC client is an extra: .[rocketmq]")

from rocketmq.grpc_protocol import Code

from halfmessage.clock import now_ms
from halfmessage.errors import BrokerError
from halfmessage.mq.port import BrokerOptions, Delivery, Message, Verdict
from halfmessage.mq.rocketmq_grpc import consumer as module
from halfmessage.mq.rocketmq_grpc import faults, wire
from halfmessage.mq.rocketmq_grpc.broker import RocketMQBroker
from halfmessage.mq.rocketmq_grpc.inbox import Batch
from halfmessage.mq.rocketmq_grpc.onward import Onward
from halfmessage.mq.rocketmq_grpc.place import Place
from tests.support import eventually
from tests.unit.rocketmq_grpc.kit import Client, Held, future


class Empty:
    """An inbox in which nothing ever is; receives are refused with `code` while there is one."""

    code: int | None = None
    refused = 0
    brought: tuple[wire.Received, ...] = ()  # by the next receive

    batch = 32

    def __init__(self, *_: Any) -> None:
        self.asked = 0
        self.invisible_for = 10.0
        self.quiet = threading.Event()

    def brokers(self, _: Any) -> dict[str, str]:
        return {"a": "queue"}

    def ask(self, *_: Any) -> "Future[Batch]":
        self.asked += 1
        return future(None)

    def got(self, _: "Future[Batch]") -> Batch:
        if Empty.code is not None:
            Empty.refused += 1
            raise faults.Refused(Empty.code, "the consumer group not exist")
        self.quiet.wait(0.005)  # as a receive that brings nothing
        brought, Empty.brought = Empty.brought, ()
        return Batch("endpoints", list(brought))

    settled: ClassVar[list[tuple[str, Verdict]]] = []

    def settle(self, _client: Any, _to: Any, messages: Sequence[wire.Received], verdicts: Sequence[Verdict]) -> None:
        Empty.settled.extend(zip((one.message_id for one in messages), verdicts, strict=True))


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Held:
    """Return the session that consumers get."""
    held = Held(Client())
    monkeypatch.setattr(module, "Session", lambda *_: held)
    monkeypatch.setattr(module, "Inbox", Empty)
    monkeypatch.setattr(module, "_PAUSE_WITHOUT_GROUP", 0.01)
    monkeypatch.setattr(Empty, "code", None)
    monkeypatch.setattr(Empty, "refused", 0)
    monkeypatch.setattr(Empty, "settled", [])
    return held


@pytest.fixture
def broker(session: Held, monkeypatch: pytest.MonkeyPatch) -> Iterator[RocketMQBroker]:
    """Return a broker that answers, with a consumer of group stock."""
    assert not session.refusal
    broker = RocketMQBroker(Place("127.0.0.1", 1), BrokerOptions())
    monkeypatch.setattr(broker, "_pinger", pinger := Client())
    pinger.ask = pinger.close = lambda *_: None  # type: ignore[attr-defined]
    broker.consumer("stock", "t", lambda deliveries: [Verdict.ACK] * len(deliveries))
    yield broker
    broker.close()


def refuses(broker: RocketMQBroker) -> str:
    try:
        broker.ping()
    except BrokerError as error:
        return error.detail
    return ""


def _put_off(message_id: str, **own: int) -> wire.Received:
    told = {name: str(value) for name, value in own.items()}
    return wire.Received(message_id, Message("t", b"x"), 1, 1, "receipt", told, "raw")


def test_only_what_was_put_on_a_hop_is_sent_on(session: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a clock that was set back by an hour all that is due is early; RocketMQ would give it back at once."""
    assert not session.refusal
    now = now_ms()
    due, hop, last = now + 3_600_000, {wire.HOP_ENDS: now - 1}, {wire.HOP_ENDS: now + 3_600_000}
    brought = (
        _put_off("whole way", **{wire.DELIVER_AT: due}),
        _put_off("on a hop", **{wire.DELIVER_AT: due}, **hop),
        _put_off("due where its hop ended", **{wire.DELIVER_AT: due}, **last),
        _put_off("not put off"),
    )
    handled: list[str] = []
    sent_on: list[str] = []
    monkeypatch.setattr(Onward, "send", lambda _, early: sent_on.append(early.message_id) or Verdict.ACK)

    def handle(deliveries: Sequence[Delivery]) -> list[Verdict]:
        handled.extend(delivery.message_id for delivery in deliveries)
        return [Verdict.ACK] * len(deliveries)

    broker = RocketMQBroker(Place("127.0.0.1", 1), BrokerOptions())
    broker.consumer("stock", "t", handle)
    monkeypatch.setattr(Empty, "brought", brought)
    eventually(lambda: len(handled) + len(sent_on) == len(brought))
    broker.close()
    assert handled == ["whole way", "due where its hop ended", "not put off"]
    assert sent_on == ["on a hop"]


def test_one_that_can_not_be_read_holds_up_no_other(session: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that came with it are handled; it is handed to nobody, and put with the dead letters."""
    assert not session.refusal
    brought = (replace(_put_off("damaged"), damage="no gzip"), _put_off("whole"))
    handled: list[str] = []

    def handle(deliveries: Sequence[Delivery]) -> list[Verdict]:
        handled.extend(delivery.message_id for delivery in deliveries)
        return [Verdict.ACK] * len(deliveries)

    broker = RocketMQBroker(Place("127.0.0.1", 1), BrokerOptions())
    broker.consumer("stock", "t", handle)
    monkeypatch.setattr(Empty, "brought", brought)
    eventually(lambda: len(Empty.settled) == len(brought))
    broker.close()
    assert handled == ["whole"]
    assert Empty.settled == [("whole", Verdict.ACK), ("damaged", Verdict.RETRY)]


class Answering(Empty):
    """An inbox whose receives come back when the test says so, with so many messages."""

    under_way: ClassVar[list["Future[Batch]"]] = []
    is_over = False  # then each comes back at once, with nothing
    batch = 2

    def ask(self, *_: Any) -> "Future[Batch]":
        if Answering.is_over:
            return future(Batch("endpoints", []))
        Answering.under_way.append(asked := Future())
        return asked

    def got(self, coming: "Future[Batch]") -> Batch:
        return coming.result()


@pytest.mark.parametrize(("threads", "most"), [(1, 1), (2, 2), (4, 3)])
def test_of_a_backlog_several_batches_are_asked_for(
    session: Held, monkeypatch: pytest.MonkeyPatch, threads: int, most: int
) -> None:
    """Once a receive comes back full, as many are under way as there are threads, three at most; then one again."""
    assert not session.refusal
    monkeypatch.setattr(module, "Inbox", Answering)
    monkeypatch.setattr(Answering, "under_way", under_way := [])

    def bring(*names: str) -> None:
        under_way.pop(0).set_result(Batch("endpoints", [_put_off(name) for name in names]))

    handled: list[str] = []

    def handle(deliveries: Sequence[Delivery]) -> list[Verdict]:
        handled.extend(delivery.message_id for delivery in deliveries)
        return [Verdict.ACK] * len(deliveries)

    broker = RocketMQBroker(Place("127.0.0.1", 1), BrokerOptions())
    broker.consumer("stock", "t", handle, threads=threads)
    eventually(lambda: len(under_way) == 1)
    bring("a", "b")
    eventually(lambda: (len(handled), len(under_way)) == (2, most))
    for number in range(most):  # each brings less than it could, so none takes its place but for the last
        bring(f"c{number}")
    eventually(lambda: (len(handled), len(under_way)) == (2 + most, 1))
    monkeypatch.setattr(Answering, "is_over", True)
    bring()
    broker.close()


def test_a_broker_that_refuses_a_group_is_not_ready(broker: RocketMQBroker, session: Held) -> None:
    """However well it answers everything else, until its session is let in."""
    broker.ping()
    session.refusal = faults.NoGroup("stock").detail
    assert "no consumer group stock" in refuses(broker)
    session.refusal = ""
    broker.ping()


def test_a_group_that_is_refused_at_each_receive_is_said_by_name(broker: RocketMQBroker, session: Held) -> None:
    """As brokers before 5.5 do where groups are not made by themselves; its session is not doubted."""
    Empty.code = Code.CONSUMER_GROUP_NOT_FOUND
    eventually(lambda: "no consumer group stock" in refuses(broker))
    eventually(lambda: Empty.refused > 3)  # each but the last has been dealt with by then
    assert session.suspected == 0
    Empty.code = None
    eventually(lambda: not refuses(broker))


def test_what_else_fails_has_the_session_look(broker: RocketMQBroker, session: Held) -> None:
    """A receive that failed may be a client that RocketMQ forgot."""
    Empty.code = Code.INTERNAL_SERVER_ERROR
    eventually(lambda: session.suspected > 1)
    assert not refuses(broker)
