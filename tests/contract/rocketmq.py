"""A real RocketMQ for the contract, with topics of each test's own.

`orders stack up` prints the variables: ORDERS_TEST_ROCKETMQ is the proxy's host:port for gRPC (rocketmq://),
ORDERS_TEST_NAMESRV the name server's; ORDERS_TEST_ROCKETMQ4 is the name server's too, where a librocketmq is found.
"""

import os

import pytest

from halfmessage.mq.rocketmq_console.defaults import Kind
from halfmessage.mq.rocketmq_console.remoting import address, create_group, create_topic, route
from tests.contract.apart import Names

_KINDS = {"order_rollback": Kind.TRANSACTION, "order_timeout": Kind.DELAY}
_ANY_TOPIC = "stack_probe"  # one that `orders stack` creates


def required(variable: str) -> str:
    """Return what a variable names; skip where it names nothing, fail where it must."""
    named = os.environ.get(variable)
    if not named and os.environ.get("CI") == "true" and os.environ.get("ORDERS_REAL") == "1":
        pytest.fail(f"ORDERS_REAL=1 needs {variable}")
    if not named:
        pytest.skip(f"{variable} names no server (orders stack up does)")
    return named


class Topics:
    """Creates topics, each of the kind that the tests use it for, and groups."""

    def __init__(self, namesrv: str) -> None:
        route_data = route(address(namesrv), _ANY_TOPIC)
        self._broker = address(route_data["brokerDatas"][0]["brokerAddrs"]["0"])

    def create(self, name: str) -> None:
        create_topic(self._broker, name, _KINDS.get(name.rsplit("-", 1)[0], Kind.NORMAL))

    def create_group(self, name: str) -> None:
        create_group(self._broker, name)

    def names(self) -> Names:
        """Return the names of one test."""
        return Names(self.create, self.create_group)
