"""The backlog of groups on a real RocketMQ."""

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from common.registry import PARTICIPANTS, ROLLBACK_TOPIC, SUBSCRIPTIONS
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import BrokerOptions, Delivery, Message, Verdict
from ops.stack import Stack, tenant
from tests.support import eventually


@pytest.fixture
def share() -> Iterator[tuple[Stack, str]]:
    """Return the stack that ORDERS_TEST_STACK names, and a deployment's name on it."""
    stack, name = Stack(Path(os.environ["ORDERS_TEST_STACK"]), say=lambda _: None), f"b{uuid.uuid4().hex[:8]}"
    yield stack, name
    tenant.drop(stack, name)


def test_what_waits_and_what_was_put_off_is_told(share: tuple[Stack, str]) -> None:
    """Before there is a consumer all waits; what it puts off is in flight, what it acknowledged is neither."""
    servers = tenant.servers(*share)
    console = tenant.console(servers)

    def handle(deliveries: Sequence[Delivery]) -> list[Verdict]:
        return [Verdict.RETRY if one.message.body == b"off" else Verdict.ACK for one in deliveries]

    def told() -> dict[str, tuple[int, int]]:
        return {one.group: (one.waiting, one.in_flight) for one in console.backlog()}

    with closing(open_broker(servers.broker_url, BrokerOptions(retry_first_after=120.0))) as broker:
        producer = broker.producer("order")
        for body in (b"off", b"handled", b"handled"):
            producer.send(Message("order_rollback", body))
        waiting = {group: (3 if topic == ROLLBACK_TOPIC else 0, 0) for topic, group in SUBSCRIPTIONS}
        eventually(lambda: told() == waiting, within=10)
        broker.consumer("stock", "order_rollback", handle)
        eventually(lambda: told() == waiting | {"stock": (0, 1)}, within=60)
        assert {one.group for one in console.backlog() if one.oldest_age > 0} == set(PARTICIPANTS)
