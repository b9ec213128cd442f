"""A RocketMQ, a MariaDB and a Redis of the drills' own; each deployment has databases, topics and groups of its own.

One with a small disk has servers of its own on that disk, and so has one that begins with a version of RocketMQ.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lab.drill.profiles import Profile
from ops.deployment import Deployment
from ops.errors import CommandFailed
from ops.plan import Servers
from ops.stack import Stack, tenant
from ops.stack.settings import SHORT_TIMING

_SERVERS: Mapping[str, str] = {"broker": "broker", "database": "mariadb", "redis": "redis"}


def stack_of(deployment: Deployment) -> Stack:
    """Return the stack that a deployment runs on. Raise `CommandFailed` where there is none."""
    servers = deployment.plan.servers
    if servers is None:
        raise CommandFailed("There are no servers here.")
    return Stack(Path(servers.stack), say=lambda _: None)


class Real:
    """Implements `lab.drill.backing.Backing` on one stack, started when it is first wanted."""

    def __init__(
        self,
        root: Path,
        say: Callable[[str], None] = lambda _: None,
        *,
        running: Stack | None = None,
        rocketmq: str | None = None,
    ) -> None:
        """Keep the stack's data below `root`; or use one that runs, and leave it running.

        `rocketmq`: the version to start, unless told `ops.versions.DEFAULT`.
        """
        self.stack = running or Stack(root / "stack", say=say)
        self._is_ours, self._up = running is None, running is not None
        self._say, self._rocketmq = say, running.plan.rocketmq if running else rocketmq
        self._names: dict[Path, str] = {}
        self._own: dict[Path, Stack] = {}

    def servers(self, directory: Path, profile: Profile) -> Servers:
        """Return the deployment's share of the stack. Raise `CommandFailed`, `BrokerError`, `DatabaseUnavailable`."""
        if profile.megabytes is not None or profile.rocketmq is not None:
            own = self._own[directory] = Stack(directory / "stack", say=self._say)
            own.up(port_base=0, rocketmq=profile.rocketmq or self._rocketmq)
            return tenant.servers(own)
        if not self._up:
            self.stack.up(port_base=0, rocketmq=self._rocketmq)
            self._up = True
        self._names[directory] = f"drill{secrets.token_hex(4)}"
        return tenant.servers(self.stack, self._names[directory])

    def settings(self, profile: Profile) -> Mapping[str, str | float]:  # noqa: ARG002 - the port's signature, as below
        """Return none: RocketMQ's times are the stack's."""
        return {}

    def check_interval(self, profile: Profile) -> float:  # noqa: ARG002
        """Return RocketMQ's, as docs/stack.md measured it: under load a round takes a second more than is set."""
        return float(SHORT_TIMING.broker["transactionCheckInterval"]) / 1000 + 1.0

    @contextmanager
    def outage(self, server: str, directory: Path) -> Iterator[str]:  # noqa: ARG002
        """Kill a server (kill -9), and start it again in the end."""
        if server not in _SERVERS:
            raise CommandFailed(f"There is no server {server!r}: {', '.join(_SERVERS)}.")
        name = _SERVERS[server]
        pid = self.stack.kill(name)
        try:
            yield f"{name} (pid {pid}) was killed by SIGKILL"
        finally:
            self.stack.start(name)

    def give_back(self, directory: Path, *, keep: bool) -> None:
        """Delete the deployment's databases and topics, unless they are kept as evidence; stop servers of its own."""
        own = self._own.pop(directory, None)
        if own is not None:
            own.down()
        name = self._names.get(directory)
        if name is not None and not keep:
            tenant.drop(self.stack, name)

    def close(self) -> None:
        """Stop the stack, if it is ours; its data stays until the run's directory goes."""
        if self._up and self._is_ours:
            self.stack.down()
            self._up = False
