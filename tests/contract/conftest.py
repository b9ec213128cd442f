"""The adapters that the contract of brokers is tried on."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.mq.factory import open_broker
from common.mq.port import Broker, BrokerOptions

BrokerFactory = Callable[..., Broker]

# short times, and a first check late enough that tests which resolve by themselves are never asked
FAST = {
    "check_first_after": 0.1,
    "check_interval": 0.25,
    "invisible_for": 30.0,
    "retry_first_after": 0.02,
    "retry_longest": 0.1,
    "max_deliveries": 3,
}


@pytest.fixture(params=["embedded"])
def broker_factory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BrokerFactory]:
    """Open brokers, as so many processes would, on the same messages; `FAST` options unless told otherwise."""
    urls = {"embedded": f"embedded:///{tmp_path}/broker.db"}
    opened: list[Broker] = []

    def factory(**options: float) -> Broker:
        broker = open_broker(urls[request.param], BrokerOptions(**(FAST | options)))  # type: ignore[arg-type]
        opened.append(broker)
        return broker

    yield factory
    for broker in opened:
        broker.close()
