"""A topic that takes nothing for a while: permission taken and given back, or made anew. On a real RocketMQ."""

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rocketmq.grpc_protocol", reason="the gRPC client is an extra: .[rocketmq]")

from halfmessage.errors import BrokerError
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import Broker, BrokerOptions, Message, Producer
from halfmessage.mq.rocketmq_console import remoting
from halfmessage.mq.rocketmq_console.defaults import CLUSTER, Kind
from ops.stack.stack import Stack
from tests.support import eventually

pytestmark = pytest.mark.timeout(120)

_BACK_WITHIN = 5.0  # seconds; the client itself asks for routes every 30 s, and the stack's proxy keeps them for 2 s
_SEEN_WITHIN = 70.0  # seconds: a client sends by the route it knows, and first asks for another 40 s after it began


@pytest.fixture(scope="module")
def stack() -> Stack:
    """Return the stack whose topics are meant."""
    directory = os.environ.get("ORDERS_TEST_STACK", "")
    assert directory, "ORDERS_REAL=1 needs ORDERS_TEST_STACK"
    return Stack(Path(directory), say=lambda _: None)


@pytest.fixture
def topic(stack: Stack) -> str:
    """Create a topic of this test's own."""
    name = f"route-{uuid.uuid4().hex[:12]}"
    remoting.create_topic(stack.broker_address(), name, Kind.NORMAL)
    return name


@pytest.fixture
def broker(stack: Stack) -> Iterator[Broker]:
    """Open the broker."""
    broker = open_broker(stack.urls()["ORDERS_BROKER_URL"], BrokerOptions(send_timeout=2.0))
    yield broker
    broker.close()


@pytest.fixture
def producer(broker: Broker, topic: str) -> Producer:
    """Return one that has sent to the topic, and remembers its route."""
    producer = broker.producer("order")
    eventually(lambda: _takes(producer, topic), within=_SEEN_WITHIN)
    return producer


def _takes(producer: Producer, topic: str) -> bool:
    try:
        producer.send(Message(topic, b"x"))
    except BrokerError:
        return False
    return True


def _is_ready(broker: Broker, topic: str) -> bool:
    try:
        broker.ping(topic)
    except BrokerError:
        return False
    return True


def _comes_back(broker: Broker, producer: Producer, topic: str) -> None:
    """Hold that a message is taken within the time, and that a probe says so."""
    began = time.monotonic()
    eventually(lambda: _takes(producer, topic), within=_SEEN_WITHIN)
    assert time.monotonic() - began < _BACK_WITHIN
    eventually(lambda: _is_ready(broker, topic), within=_BACK_WITHIN)


def test_write_permission_taken_and_given_back(stack: Stack, topic: str, broker: Broker, producer: Producer) -> None:
    """Refused, and not ready, meanwhile; taken again as soon as RocketMQ's proxy knows."""
    namesrv = stack.namesrv_address()
    (name,) = remoting.masters(namesrv)
    remoting.set_writable(namesrv, name, writable=False)
    try:
        eventually(lambda: not _takes(producer, topic), within=_SEEN_WITHIN)
        eventually(lambda: not _is_ready(broker, topic), within=_SEEN_WITHIN)
    finally:
        remoting.set_writable(namesrv, name, writable=True)
    _comes_back(broker, producer, topic)


def test_a_topic_that_is_made_anew(stack: Stack, topic: str, broker: Broker, producer: Producer) -> None:
    """Refused, and not ready, while there is none."""
    remoting.delete_topic(stack.broker_address(), stack.namesrv_address(), topic, CLUSTER)
    eventually(lambda: not _takes(producer, topic), within=_SEEN_WITHIN)
    eventually(lambda: not _is_ready(broker, topic), within=_SEEN_WITHIN)
    remoting.create_topic(stack.broker_address(), topic, Kind.NORMAL)
    _comes_back(broker, producer, topic)
