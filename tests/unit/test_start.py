"""What a service's process loads: what it needs, and nothing that is only installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common import optional_redis
from common.errors import OrdersError
from common.redis_client import RedisClient
from common.registry import NAMES

UNUSED = {"alembic", "cryptography", "opentelemetry", "psutil", "pygments", "pymysql", "redis", "rich", "rocketmq"}
"""Each takes up to a fifth of the work of a start."""

_PROGRAM = """
import gc, sys
from common.start import load

apps = [load(name) for name in sys.argv[1:]]
assert gc.isenabled() and gc.get_freeze_count() > 10_000

from common.config import Settings

services = [app.build(Settings()) for app in apps]
print(*{name.partition(".")[0] for name in sys.modules})
for service in services:
    for stop in service.stop:
        stop()
import cryptography, redis, rich  # hidden while others were loaded, and no longer
"""


def test_a_service_loads_nothing_that_it_does_not_use(tmp_path: Path) -> None:
    """Every service, built on files and without Redis: neither its own imports nor those of libraries go further."""
    settings = {
        "ORDERS_PORT": "1",
        "ORDERS_JWT_SECRET": "s" * 32,
        "ORDERS_DATABASE_URL": f"sqlite:///{tmp_path}/own.db",
        "ORDERS_BROKER_URL": f"embedded:///{tmp_path}/broker.db",
    }
    (tmp_path / "own.db").touch()
    built = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *NAMES],
        env=os.environ | settings,
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = set(built.stdout.split())
    assert {"flask", "sqlalchemy", "structlog"} <= loaded
    assert not loaded & UNUSED


def test_redis_is_opened_where_a_deployment_has_one() -> None:
    """An empty URL is none; another one is a client, or refused."""
    assert optional_redis.open_redis("") is None
    client = optional_redis.open_redis("redis://127.0.0.1:1")
    assert isinstance(client, RedisClient)
    client.close()
    with pytest.raises(OrdersError, match="The URL of Redis must be"):
        optional_redis.open_redis("redis://127.0.0.1:nothing")
