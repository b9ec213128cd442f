"""One deployment for all end-to-end tests: starting its processes costs seconds."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops.client import Client
from ops.deployment import Deployment, Plan, free_port_base
from tests.e2e.shop import Shop
from tests.stack import servers

MakeClient = Callable[..., Client]
"""Called with a user and scopes (`orders` unless told); returns a client, closed after the test."""

QUICK = {  # what is repeated, is repeated soon; a half message is never parked, however long a service is stopped
    "check_first_after": 0.5,
    "check_interval": 0.5,
    "check_max": 10_000,
    "retry_first_after": 0.2,
    "retry_longest": 1.0,
    "transaction_deadline": 4.0,
}


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Run a deployment with a catalogue, which all tests share; orders have an hour to be paid."""
    plan = Plan(free_port_base(), pay_timeout=3600.0, extra=QUICK, servers=servers())
    deployment = Deployment(tmp_path_factory.mktemp("shop"), plan)
    try:
        deployment.prepare()
        deployment.start()
        deployment.fill_catalogue()
        yield deployment
    finally:
        deployment.stop()


@pytest.fixture
def data_dir(deployment: Deployment) -> Path:
    """Where the shared deployment keeps its data."""
    return deployment.directory.root


@pytest.fixture
def client(deployment: Deployment) -> Iterator[MakeClient]:
    """Return what makes REST clients of the shared deployment."""
    made: list[Client] = []

    def make(user: str, *scopes: str) -> Client:
        made.append(deployment.client(user, scopes or ("orders",)))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def shop(deployment: Deployment) -> Iterator[Shop]:
    """Return the shared deployment, and what a test wants of it."""
    shop = Shop(deployment)
    yield shop
    shop.close()
