"""Two deployments on one stack, each with databases and topics of its own."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.db import Database
from halfmessage.errors import BrokerError, DatabaseUnavailable
from halfmessage.mq.prefixed import prefixed
from halfmessage.mq.rocketmq_console import remoting
from ops.stack import Stack, tenant

pytestmark = pytest.mark.in_turn


@pytest.fixture(scope="module")
def stack() -> Stack:
    """Return the stack that ORDERS_TEST_STACK names; `orders stack up` prints it."""
    return Stack(Path(os.environ["ORDERS_TEST_STACK"]))


@pytest.fixture
def name(stack: Stack) -> Iterator[str]:
    """Return a name that no other test has."""
    name = f"t{uuid.uuid4().hex[:8]}"
    yield name
    tenant.drop(stack, name)


def test_a_name_has_what_is_its_own_until_it_is_dropped(stack: Stack, name: str) -> None:
    """Databases that answer, topics with a route; asked for again the same; dropped they are gone."""
    servers = tenant.servers(stack, name)
    assert tenant.servers(stack, name) == servers
    assert f"prefix={name}" in servers.broker_url
    assert not set(servers.database_urls.values()) & set(tenant.servers(stack).database_urls.values())
    assert servers.redis_url != tenant.servers(stack).redis_url
    databases = [Database(url) for url in servers.database_urls.values()]
    namesrv = stack.namesrv_address()
    for database in databases:
        database.ping()
    assert remoting.route(namesrv, prefixed(name, "order_rollback"))["queueDatas"]
    beside = prefixed(name, "stock")
    assert f"%RETRY%{beside}" in remoting.topics(stack.broker_address())
    assert beside in remoting.groups(stack.broker_address())
    tenant.drop(stack, name)
    assert not [topic for topic in remoting.topics(stack.broker_address()) if beside in topic]
    assert beside not in remoting.groups(stack.broker_address())
    for database in databases:
        database.close()
        with pytest.raises(DatabaseUnavailable):
            database.ping()
    with pytest.raises(BrokerError):
        remoting.route(namesrv, prefixed(name, "order_rollback"))
