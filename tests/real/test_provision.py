"""Topics and groups on a real RocketMQ: made beforehand, seen by its own tools."""

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from halfmessage.errors import BrokerError
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import Broker, BrokerOptions, Delivery, Message, Verdict
from halfmessage.mq.rocketmq_console import remoting
from ops import versions
from ops.commands import provision as commands
from ops.stack import Stack, provision
from ops.stack.provision import Supplies
from tests.support import eventually


@pytest.fixture
def stack() -> Stack:
    """Return the stack that ORDERS_TEST_STACK names."""
    return Stack(Path(os.environ["ORDERS_TEST_STACK"]), say=lambda _: None)


@pytest.fixture
def prefix(stack: Stack) -> Iterator[str]:
    """Return a prefix that no other test has; what was made for it is deleted afterwards."""
    prefix = f"p{uuid.uuid4().hex[:8]}"
    yield prefix
    provision.remove(prefix, stack.broker_address(), stack.namesrv_address())


def test_what_is_provisioned_is_there_and_the_admin_tool_sees_its_groups(stack: Stack, prefix: str) -> None:
    """`consumerProgress -g` answers of a group that never had a dead letter nor a redelivery."""
    namesrv = stack.namesrv_address()
    words = ["--name-server", f"{namesrv.host}:{namesrv.port}", "--prefix", prefix]
    would = CliRunner().invoke(commands.command, [*words, "--dry-run"])
    assert f"would make group {prefix}-stock" in would.output
    made = CliRunner().invoke(commands.command, words)
    assert made.output == would.output.replace("would make", "made")
    assert CliRunner().invoke(commands.command, words).output == "broker-a: nothing is missing.\n"
    with closing(open_broker(f"{stack.urls()['ORDERS_BROKER_URL']}&prefix={prefix}", BrokerOptions())) as broker:
        got: list[Delivery] = []

        def handle(deliveries: Sequence[Delivery]) -> list[Verdict]:
            got.extend(deliveries)
            return [Verdict.ACK] * len(deliveries)

        broker.producer("order").send(Message("order_rollback", b"{}"))
        broker.consumer("stock", "order_rollback", handle)
        eventually(lambda: got, within=30)
        said = eventually(lambda: _progress(stack, f"{prefix}-stock"), within=100)
    assert f"{prefix}-order_rollback" in said
    assert "Consume TPS" in said


def test_a_consumer_without_its_group_says_so_and_works_once_it_is_there(stack: Stack, prefix: str) -> None:
    """RocketMQ 5.5 gives it nothing, older ones make the group: either way its message comes, and nothing is silent."""
    provision.make(Supplies.of_deployment(prefix), stack.broker_address())
    remoting.delete_group(stack.broker_address(), f"{prefix}-stock")
    with closing(open_broker(f"{stack.urls()['ORDERS_BROKER_URL']}&prefix={prefix}", BrokerOptions())) as broker:
        inbox: list[Delivery] = []

        def handle(deliveries: Sequence[Delivery]) -> list[Verdict]:
            inbox.extend(deliveries)
            return [Verdict.ACK] * len(deliveries)

        broker.consumer("stock", "order_rollback", handle)
        broker.producer("order").send(Message("order_rollback", b"{}"))
        if not versions.is_older(stack.plan.rocketmq, "5.5.0"):
            eventually(lambda: f"no consumer group {prefix}-stock" in _not_ready(broker), within=30)
            assert inbox == []
            provision.make(Supplies.of_deployment(prefix), stack.broker_address())
        eventually(lambda: inbox and not _not_ready(broker), within=30)


def _not_ready(broker: Broker) -> str:
    try:
        broker.ping()
    except BrokerError as error:
        return error.detail
    return ""


def _progress(stack: Stack, group: str) -> str | None:
    """Return what the command prints; None where the tool lost patience with a busy machine."""
    said = stack.admin().run("consumerProgress", "-g", group)
    return None if "timeout" in said else said
