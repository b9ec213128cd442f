"""The adapters that the contract of brokers is tried on."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import Broker, BrokerOptions
from tests.contract.apart import Apart
from tests.contract.rocketmq import Topics, required
from tests.contract.traits import BrokerFactory, Traits

__all__ = ["ROCKETMQ4", "ROCKETMQ4_WITHIN", "BrokerFactory"]

ROCKETMQ4 = os.environ.get("ORDERS_TEST_ROCKETMQ4")
ROCKETMQ4_WITHIN = 60.0  # seconds

# short times, and a first check late enough that tests which resolve by themselves are never asked
FAST = {
    "check_first_after": 0.1,
    "check_interval": 0.25,
    "invisible_for": 30.0,
    "retry_first_after": 0.02,
    "retry_longest": 0.1,
    "max_deliveries": 3,
}
# not final: https://github.com/apache/rocketmq/issues/8158
_ROCKETMQ: dict[str, Any] = {"console": False, "check_times": False, "final": False, "ordered": False, "step": 1000}
ADAPTERS = {
    "embedded": Traits(),
    "rocketmq_grpc": Traits(
        **_ROCKETMQ,
        invisible=1.0,
        patience=30.0,
        threads=frozenset({"channel_io_loop_thread", "_poll_wrapper"}),
    ),
    # its library tells a broker about a producer with its next heartbeat, up to 30 s later
    "rocketmq_remoting": Traits(**_ROCKETMQ, asked_soon=False, redelivery=False, patience=ROCKETMQ4_WITHIN),
}


@pytest.fixture(params=ADAPTERS)
def broker_factory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BrokerFactory]:
    """Open brokers on the same messages; `FAST` options unless told otherwise."""
    adapter = request.param
    for marker in request.node.iter_markers("needs"):
        if not getattr(ADAPTERS[adapter], marker.args[0]):
            pytest.skip(f"{adapter} does not offer this: {marker.args[0]}")
    names = None
    if adapter == "embedded":
        url = f"embedded:///{tmp_path}/broker.db"
    elif adapter == "rocketmq_grpc":
        url = f"rocketmq://{required('ORDERS_TEST_ROCKETMQ')}?min_invisible=1&poll=1"
        names = Topics(required("ORDERS_TEST_NAMESRV")).names()
    else:
        if ROCKETMQ4 is None:
            pytest.skip("ORDERS_TEST_ROCKETMQ4 names no RocketMQ")
        library = os.environ.get("LIBROCKETMQ")
        url = f"rocketmq4://{ROCKETMQ4}" + (f"?library={library}" if library else "")
        names = Topics(ROCKETMQ4).names()
    opened: list[Broker] = []

    def factory(**options: float) -> Broker:
        broker = open_broker(url, BrokerOptions(**(FAST | options)))  # type: ignore[arg-type]
        opened.append(broker)
        return broker if names is None else Apart(broker, names)

    yield BrokerFactory(factory, ADAPTERS[adapter])
    for broker in opened:
        broker.close()
