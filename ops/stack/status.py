"""How the servers of a stack are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from halfmessage.clock import now_ms, rfc3339
from ops.stack.daemons import Identity, is_running

_STARTING = 60_000  # ms a server may take to its first answer before it counts as unready


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server; `state` is ready, starting, unready, dead or stopped, `reason` why it isn't ready.

    `port` is the one that clients use, `ports` all that it listens on.
    """

    name: str
    pid: int | None
    port: int
    ports: tuple[int, ...]
    state: str
    reason: str | None
    since: str | None

    @classmethod
    def of(
        cls, name: str, running: Identity | None, ports: tuple[int, ...], state: str, reason: str | None
    ) -> "ServerStatus":
        """Return the status of a server that runs as `running`, or does not."""
        since = rfc3339(running.since) if running else None
        return cls(name, running.pid if running else None, ports[0], ports, state, reason, since)


@dataclass(frozen=True, slots=True)
class StackStatus:
    """A whole stack; `urls` is how to connect, `defaults` whether it has RocketMQ's own times."""

    data_dir: str
    servers: tuple[ServerStatus, ...]
    urls: Mapping[str, str] = field(repr=False)
    defaults: bool
    rocketmq: str = ""

    @property
    def ready(self) -> bool:
        """Whether every server does its work."""
        return {server.state for server in self.servers} == {"ready"}

    @property
    def running(self) -> bool:
        """Whether any server runs."""
        return any(server.pid is not None for server in self.servers)


def judge(
    started: Identity | None, running: Identity | None, probe: Callable[[], str | None]
) -> tuple[str, str | None]:
    """Return a server's state and, if it isn't ready, why."""
    if started is None:
        return "stopped", "not started"
    if running is None:
        return ("stopped", f"process {started.pid} is another directory's") if is_running(started) else (
            "dead", f"process {started.pid} is gone")  # fmt: skip
    reason = probe()
    if reason is None:
        return "ready", None
    return ("starting" if now_ms() - running.since < _STARTING else "unready"), reason
