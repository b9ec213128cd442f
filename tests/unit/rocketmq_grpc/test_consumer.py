"""A consumer whose group RocketMQ does not have: said by name, and readiness knows."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

pytest.importorskip("rocketmq.grpc_protocol", reason="the gRPC client is an extra: .[rocketmq]")

from rocketmq.grpc_protocol import Code

from common.errors import BrokerError
from common.mq.port import BrokerOptions, Verdict
from common.mq.rocketmq_grpc import consumer as module
from common.mq.rocketmq_grpc import faults
from common.mq.rocketmq_grpc.broker import RocketMQBroker
from common.mq.rocketmq_grpc.inbox import Batch
from common.mq.rocketmq_grpc.place import Place
from tests.support import eventually
from tests.unit.rocketmq_grpc.kit import Client, Held, future


class Empty:
    """An inbox in which nothing ever is; receives are refused with `code` while there is one."""

    code: int | None = None

    def __init__(self, *_: Any) -> None:
        self.asked = 0
        self.quiet = threading.Event()

    def brokers(self, _: Any) -> dict[str, str]:
        return {"a": "queue"}

    def ask(self, *_: Any) -> "Future[Batch]":
        self.asked += 1
        return future(None)

    def got(self, _: "Future[Batch]") -> Batch:
        if Empty.code is not None:
            raise faults.Refused(Empty.code, "the consumer group not exist")
        self.quiet.wait(0.005)  # as a receive that brings nothing
        return Batch("endpoints", [])

    def settle(self, *_: Any) -> None:
        pass


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Held:
    """Return the session that consumers get."""
    held = Held(Client())
    monkeypatch.setattr(module, "Session", lambda *_: held)
    monkeypatch.setattr(module, "Inbox", Empty)
    monkeypatch.setattr(module, "_PAUSE_WITHOUT_GROUP", 0.01)
    monkeypatch.setattr(Empty, "code", None)
    return held


@pytest.fixture
def broker(session: Held, monkeypatch: pytest.MonkeyPatch) -> Iterator[RocketMQBroker]:
    """Return a broker that answers, with a consumer of group stock."""
    assert not session.refusal
    broker = RocketMQBroker(Place("127.0.0.1", 1), BrokerOptions())
    monkeypatch.setattr(broker, "_pinger", pinger := Client())
    pinger.ask = pinger.close = lambda: None  # type: ignore[attr-defined]
    broker.consumer("stock", "t", lambda deliveries: [Verdict.ACK] * len(deliveries))
    yield broker
    broker.close()


def refuses(broker: RocketMQBroker) -> str:
    try:
        broker.ping()
    except BrokerError as error:
        return error.detail
    return ""


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
    assert session.suspected == 0
    Empty.code = None
    eventually(lambda: not refuses(broker))


def test_what_else_fails_has_the_session_look(broker: RocketMQBroker, session: Held) -> None:
    """A receive that failed may be a client that RocketMQ forgot."""
    Empty.code = Code.INTERNAL_SERVER_ERROR
    eventually(lambda: session.suspected > 1)
    assert not refuses(broker)
