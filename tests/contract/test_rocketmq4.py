"""What the contract asks of RocketMQ 4 that the contract's own tests see through a console, or wait too briefly for."""

from collections.abc import Sequence

import pytest

from halfmessage.clock import now_ms
from halfmessage.mq.port import Broker, CheckAnswer, Delivery, HalfMessage, Message, Resolution, Verdict
from tests.contract.conftest import ROCKETMQ4, ROCKETMQ4_WITHIN, BrokerFactory
from tests.support import eventually

pytestmark = pytest.mark.skipif(ROCKETMQ4 is None, reason="ORDERS_TEST_ROCKETMQ4 names no RocketMQ")
TOPIC = "order_rollback"
COMMITTED, DROPPED = Message(TOPIC, b"committed\0", keys=("7001",)), Message(TOPIC, b"dropped")


@pytest.fixture
def broker(broker_factory: BrokerFactory, request: pytest.FixtureRequest) -> Broker:
    if request.node.callspec.params["broker_factory"] != "rocketmq_remoting":
        pytest.skip("the contract's own tests say it all")
    return broker_factory(send_timeout=10.0)


def receiving(broker: Broker, topic: str = TOPIC) -> list[Delivery]:
    got: list[Delivery] = []

    def handle(deliveries: Sequence[Delivery]) -> list[Verdict]:
        got.extend(deliveries)
        return [Verdict.ACK] * len(deliveries)

    broker.consumer("stock", topic, handle)
    return got


def test_commit_and_roll_back(broker: Broker) -> None:
    """A half message resolved after `begin` has returned is delivered, or dropped, at once."""
    got, producer = receiving(broker), broker.producer("order")
    dropped, committed = producer.begin(DROPPED), producer.begin(COMMITTED)
    producer.resolve(dropped, Resolution.ROLLBACK)
    producer.resolve(committed, Resolution.COMMIT)
    eventually(lambda: got, within=ROCKETMQ4_WITHIN)
    assert [(d.message_id, d.message) for d in got] == [(committed.message_id, COMMITTED)]


def test_check_back(broker: Broker) -> None:
    """Half messages that a closed producer left open are asked of another of its group, which has sent nothing yet."""
    got, first = receiving(broker), broker.producer("order")
    first.begin(DROPPED)
    left = first.begin(COMMITTED)
    first.close()
    asked: list[HalfMessage] = []

    def checker(half: HalfMessage) -> CheckAnswer:
        asked.append(half)
        return CheckAnswer.COMMIT if half.message == COMMITTED else CheckAnswer.ROLLBACK

    broker.producer("order", checker, topics=[TOPIC])
    eventually(
        lambda: got and {half.message.body for half in asked} == {COMMITTED.body, DROPPED.body}, within=ROCKETMQ4_WITHIN
    )
    assert {d.message_id for d in got} == {left.message_id}


def test_delay(broker: Broker) -> None:
    """A delayed message hops and comes at its time: not before, and little more than a second after."""
    got = receiving(broker, "order_timeout")
    due = now_ms() + 17_000
    message_id = broker.producer("order").send_at(Message("order_timeout", b"x"), due)
    eventually(lambda: got, within=ROCKETMQ4_WITHIN)
    assert now_ms() >= due
    assert got[0].message_id == message_id
