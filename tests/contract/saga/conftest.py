"""The databases that the contract of sagas is tried on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from halfmessage import failpoints
from tests import postgresql
from tests.contract.rocketmq import required
from tests.contract.saga.shop import Shop
from tests.databases import Server


@pytest.fixture(params=["sqlite", "mysql", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return where an empty database is."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/saga.db"
        return
    server = Server(required("ORDERS_TEST_MYSQL")) if request.param == "mysql" else postgresql.server()
    yield server.create()
    server.close()


@pytest.fixture
def shop(url: str) -> Iterator[Shop]:
    """Return a log and its participants, empty."""
    made = Shop(url)
    made.create()
    yield made
    failpoints.arm("", frozenset())
    made.close()
