"""The one switch of the whole suite: embedded broker and SQLite, or RocketMQ, MariaDB and Redis.

With ORDERS_REAL=1 and ORDERS_TEST_STACK, the data directory of a stack (`orders stack up` prints it), deployments of
the tests run on that stack, each with databases and topics of its own. Without, they are embedded.
"""

import os
import uuid
from pathlib import Path

import pytest

from ops.plan import Servers
from ops.stack import Stack, tenant

REAL = os.environ.get("ORDERS_REAL") == "1"


def stack() -> Stack:
    """Return the stack whose servers may be killed. Fail where the environment names none."""
    directory = os.environ.get("ORDERS_TEST_STACK", "")
    if not directory:
        pytest.fail("ORDERS_REAL=1 needs ORDERS_TEST_STACK")
    return Stack(Path(directory), say=lambda _: None)


def servers() -> Servers | None:
    """Return real servers with databases and topics that no test had before; None: embedded."""
    if not REAL:
        return None
    return tenant.servers(stack(), f"t{uuid.uuid4().hex[:12]}")
