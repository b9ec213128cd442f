"""Real servers, told by environment variables; without ORDERS_REAL=1 these tests are skipped, with it they must run."""

import os
from collections.abc import Callable, Iterator
from importlib import import_module

import pytest
import redis

from common import migrations
from common.db import Database
from common.redis_client import RedisClient
from lab.drill.proxy import Proxy
from tests.databases import Server

Migrated = Callable[[str], str]
OpenDatabase = Callable[..., Database]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this directory, and skip it unless it was asked for."""
    for item in items:
        if "tests/real/" in item.nodeid:
            item.add_marker(pytest.mark.real)
            if os.environ.get("ORDERS_REAL") != "1":
                item.add_marker(pytest.mark.skip(reason="needs real servers: set ORDERS_REAL=1"))


def _url(variable: str) -> str:
    url = os.environ.get(variable, "")
    assert url, f"ORDERS_REAL=1 needs {variable}"
    return url


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Return the MySQL or MariaDB server."""
    server = Server(_url("ORDERS_TEST_MYSQL"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def migrated(server: Server) -> Migrated:
    """Return a fresh database of a service, with its newest schema."""

    def make(service: str) -> str:
        import_module(f"{service}.model")
        url = server.create()
        migrations.upgrade(service, url)
        return url

    return make


@pytest.fixture
def open_database() -> Iterator[OpenDatabase]:
    """Open databases that are closed after the test."""
    opened: list[Database] = []

    def open_(url: str, **options: float) -> Database:
        opened.append(Database(url, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield open_
    for database in opened:
        database.close()


@pytest.fixture
def proxy() -> Iterator[Callable[[str], Proxy]]:
    """Stand between a client and the server at a URL."""
    made: list[Proxy] = []

    def stand(url: str) -> Proxy:
        made.append(Proxy(url))
        return made[-1]

    yield stand
    for one in made:
        one.close()


@pytest.fixture
def redis_url() -> Iterator[str]:
    """Return where Redis is, with nothing of ours in it."""
    url = _url("ORDERS_TEST_REDIS")
    client = redis.Redis.from_url(url)
    for key in client.scan_iter("orders:*"):
        client.delete(key)
    for key in client.scan_iter("LIMITS*orders:*"):
        client.delete(key)
    yield url
    client.close()


@pytest.fixture
def open_redis() -> Iterator[Callable[[str], RedisClient]]:
    """Open clients, as so many instances would, that are closed after the test."""
    opened: list[RedisClient] = []

    def open_(url: str) -> RedisClient:
        opened.append(RedisClient(url, back_off=0.3))
        return opened[-1]

    yield open_
    for client in opened:
        client.close()
