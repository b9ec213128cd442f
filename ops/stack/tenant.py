"""One deployment's share of a stack, so that several can use one: databases, topics and groups of a name's own."""

import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pymysql
from sqlalchemy import make_url

from common import registry
from halfmessage.errors import DatabaseUnavailable
from halfmessage.mq.factory import split_prefix
from halfmessage.mq.rocketmq_console.console import RocketMQConsole
from ops.errors import CommandFailed
from ops.plan import Servers
from ops.stack import provision
from ops.stack.plan import HOST
from ops.stack.provision import Supplies
from ops.stack.settings import DATABASES, REDIS_DATABASES
from ops.stack.stack import Stack

_NAME = re.compile(r"[a-z0-9_]{1,32}")
_RESERVED = 16  # of Redis's databases: 0 is whose stack it is, 15 that of single tests


def servers(stack: Stack, name: str = "") -> Servers:
    """Return the servers of a running stack as a deployment's; without a name it has the stack to itself.

    With one (`a-z`, `0-9`, `_`) it has databases `test_NAME_order` and so on, topics and groups `NAME-…`, and a
    database of Redis; what is missing is created, what is there stays as it is. Raise `CommandFailed`,
    `NoDeployment`, `BrokerError` or `DatabaseUnavailable`.
    """
    urls = stack.urls()
    root = str(stack.layout.root)
    own = {service: urls[f"{service.upper()}_DATABASE_URL"] for service in DATABASES}
    if not name:
        return Servers(urls["ORDERS_BROKER_URL"], own, urls["ORDERS_REDIS_URL"], root)
    _check(name)
    databases = {service: _renamed(url, _database(name, service)) for service, url in own.items()}
    with _statements(urls["ORDERS_TEST_MYSQL"]) as execute:
        for service in databases:
            options = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
            execute(f"CREATE DATABASE IF NOT EXISTS `{_database(name, service)}` {options}")
    provision.make(Supplies.of_deployment(name), stack.broker_address())
    broker = urls["ORDERS_BROKER_URL"]
    broker += ("&" if urlsplit(broker).query else "?") + f"prefix={name}"
    redis = f"redis://{HOST}:{stack.plan.ports.redis}/{_redis_database(name)}"
    return Servers(broker, databases, redis, root)


def console(
    servers: Servers,
    *,
    subscriptions: tuple[tuple[str, str], ...] = registry.SUBSCRIPTIONS,
    admin_tool: bool = False,
) -> RocketMQConsole:
    """Return the console of a deployment on a stack; with `admin_tool` RocketMQ's own tool looks up keys and ids.

    `subscriptions`: the topics with the groups that the deployment has.

    Raise `NoDeployment` where the stack is gone.
    """
    stack = Stack(Path(servers.stack))
    prefix = split_prefix(servers.broker_url)[1]
    reader = stack.admin() if admin_tool else None
    return RocketMQConsole(
        stack.broker_address(), stack.namesrv_address(), prefix, subscriptions=subscriptions, reader=reader
    )


def drop(stack: Stack, name: str) -> None:
    """Delete the databases, topics and groups that `servers` made for a name, with what is in them; again: nothing.

    What it has in Redis expires by itself. Raise as `servers`.
    """
    _check(name)
    with _statements(stack.urls()["ORDERS_TEST_MYSQL"]) as execute:
        for service in DATABASES:
            execute(f"DROP DATABASE IF EXISTS `{_database(name, service)}`")
    provision.remove(name, stack.broker_address(), stack.namesrv_address())


def _check(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise CommandFailed(f"A name on a stack has 1 to 32 of a-z, 0-9 and _: {name!r} does not.")


def _database(name: str, service: str) -> str:
    return f"test_{name}_{service}"  # our user may make databases that begin so


def _redis_database(name: str) -> int:
    return _RESERVED + zlib.crc32(name.encode()) % (REDIS_DATABASES - _RESERVED)


def _renamed(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)


@contextmanager
def _statements(url: str) -> Iterator["_Execute"]:
    parts = make_url(url)
    try:
        with pymysql.connect(
            host=parts.host, port=parts.port or 0, user=parts.username, password=str(parts.password), connect_timeout=5
        ) as connection:
            yield _Execute(connection)
    except pymysql.Error as error:
        raise DatabaseUnavailable(f"MariaDB of the stack: {error.args[-1]}") from error


class _Execute:
    def __init__(self, connection: "pymysql.Connection[pymysql.cursors.Cursor]") -> None:
        self._connection = connection

    def __call__(self, statement: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
