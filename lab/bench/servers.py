"""Real servers to measure on: a stack of our own, or a share of one that runs."""

import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

from ops.errors import CommandFailed
from ops.plan import Servers
from ops.stack import Stack, tenant

NAIVE = "naive"  # the database beside those of the services


@dataclass(frozen=True, slots=True)
class RealServers:
    """Where the servers are, and which stack they belong to."""

    servers: Servers
    stack: Stack
    name: str  # of our share: no other bench has it
    own: bool  # started for us

    @classmethod
    @contextmanager
    def open(
        cls, found: Path | None, place: Path | None, say: Callable[[str], None], rocketmq: str | None = None
    ) -> Iterator["RealServers"]:
        """Start a stack that is deleted afterwards; or use the one `found`, which must run, and leave it running.

        Either way our databases and topics are our own; on that one they are deleted afterwards. `rocketmq`: the
        version to run; one that is found must run it. Raise `OrdersError`.
        """
        own = found is None
        root = found or Path(tempfile.mkdtemp(prefix="orders-bench-stack-", dir=place))
        stack, name = Stack(root, say=say), f"bench_{secrets.token_hex(4)}"
        if not own and rocketmq not in {None, stack.plan.rocketmq}:
            raise CommandFailed(f"{root} runs RocketMQ {stack.plan.rocketmq}, not {rocketmq}.")
        try:
            if own:
                stack.up(port_base=0, rocketmq=rocketmq)
            yield cls(tenant.servers(stack, name), stack, name, own)
        finally:
            if own:
                stack.reset()
            else:
                tenant.drop(stack, name)
                _execute(stack, f"DROP DATABASE IF EXISTS {_named(name, NAIVE)}")

    def new_database(self) -> str:
        """Make one more database on MariaDB; return its URL. Raise `DatabaseUnavailable`."""
        database = _named(self.name, NAIVE)
        _execute(self.stack, f"CREATE DATABASE {database} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        url = make_url(self.stack.urls()["ORDERS_TEST_MYSQL"]).set(database=database)
        return url.update_query_dict({"charset": "utf8mb4"}).render_as_string(hide_password=False)

    def pids(self) -> dict[str, int]:
        """Return the servers' processes."""
        return {server.name: server.pid for server in self.stack.status().servers if server.pid is not None}

    def kill(self, name: str) -> None:
        """End a server that was started for us with SIGKILL, and return once it works again. Raise `NotInTime`."""
        if not self.own:
            raise CommandFailed("Servers that somebody else started are not killed.")
        self.stack.kill(name)
        self.stack.start(name)


def _named(name: str, database: str) -> str:
    return f"test_{name}_{database}"


def _execute(stack: Stack, statement: str) -> None:
    engine = create_engine(stack.urls()["ORDERS_TEST_MYSQL"])
    try:
        with engine.begin() as connection:
            connection.execute(text(statement))
    finally:
        engine.dispose()
