"""What one stack is to be: its ports and its timing, kept in `stack.json` of its data directory."""

import json
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ops import versions
from ops.errors import CommandFailed
from ops.plan import QUIET_PORTS
from ops.stack.settings import DEFAULT_TIMING, SERVERS, SHORT_TIMING, Timing

HOST = "127.0.0.1"
DEFAULT_PORT_BASE = 18800
_LARGEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Ports:
    """Where each server listens.

    `proxy` is gRPC, `remoting` the proxy's for remoting clients; `fast` can't be chosen: RocketMQ listens there too,
    two below `broker`.
    """

    namesrv: int
    proxy: int
    remoting: int
    ha: int
    broker: int
    mariadb: int
    redis: int

    @classmethod
    def from_base(cls, base: int) -> "Ports":
        """Return eight ports in a row. Raise `CommandFailed` where there are none."""
        if not 1 <= base <= _LARGEST_PORT - 7:
            raise CommandFailed(f"--port-base goes from 1 to {_LARGEST_PORT - 7}, or is 0: find free ones.")
        return cls(
            namesrv=base, proxy=base + 1, remoting=base + 2, ha=base + 4, broker=base + 5, mariadb=base + 6,
            redis=base + 7,
        )  # fmt: skip

    @property
    def fast(self) -> int:
        """The broker's second port."""
        return self.broker - 2

    def of(self, server: str) -> tuple[int, ...]:
        """Return the ports of one server; the first is the one that clients use."""
        if server == "broker":
            return (self.proxy, self.remoting, self.broker, self.fast, self.ha)
        return (int(getattr(self, server)),)

    def all(self) -> tuple[int, ...]:
        """Return every port. Raise `CommandFailed` if two are the same."""
        ports = (*self.of("namesrv"), *self.of("broker"), *self.of("mariadb"), *self.of("redis"))
        twice = sorted({port for port in ports if ports.count(port) > 1})
        if twice:
            raise CommandFailed(f"Port {twice[0]} is given to two servers.")
        return ports


@dataclass(frozen=True, slots=True)
class StackPlan:
    """How a stack is to run.

    `defaults`: RocketMQ's own times instead of short ones for development. `rocketmq`: its version. `etcd`: the first
    of its two ports; 0: there is none.
    """

    ports: Ports
    defaults: bool = False
    password: str = field(default="", repr=False)
    rocketmq: str = versions.BEFORE_THERE_WAS_A_CHOICE
    etcd: int = 0

    @property
    def servers(self) -> tuple[str, ...]:
        """The servers that it has, in the order of starting."""
        return (*SERVERS, *(["etcd"] if self.etcd else []))

    def ports_of(self, server: str) -> tuple[int, ...]:
        """Return the ports of one server; the first is the one that clients use."""
        return (self.etcd, self.etcd + 1) if server == "etcd" else self.ports.of(server)

    def with_etcd(self) -> "StackPlan":
        """Return the plan with etcd, on the ports that it had, or else on free ones. Raise `CommandFailed`."""
        return self if self.etcd else replace(self, etcd=free_pair(self.ports.namesrv + 10))

    @property
    def timing(self) -> Timing:
        """The times that go with `defaults`."""
        return DEFAULT_TIMING if self.defaults else SHORT_TIMING

    def changed(self, ports: Mapping[str, int], *, defaults: bool | None, rocketmq: str | None = None) -> "StackPlan":
        """Return the plan with some ports, times and the version set anew. Raise `CommandFailed`.

        An older version is refused: it may not read what a newer one stored.
        """
        version = versions.check(rocketmq or self.rocketmq)
        if versions.is_older(version, self.rocketmq):
            raise CommandFailed(
                f"RocketMQ {self.rocketmq} has stored here what {version} may not read: keep {self.rocketmq}, or "
                "choose another --data-dir."
            )
        plan = replace(
            self,
            ports=replace(self.ports, **ports),
            defaults=self.defaults if defaults is None else defaults,
            rocketmq=version,
        )
        plan.ports.all()
        return plan


def new_plan(port_base: int = DEFAULT_PORT_BASE, rocketmq: str = versions.DEFAULT) -> StackPlan:
    """Return the plan of a new stack, with a password of its own; ports from 0: free ones. Raise `CommandFailed`."""
    version = versions.check(rocketmq)
    ports = Ports.from_base(port_base or free_port_base())
    return StackPlan(ports, password=secrets.token_urlsafe(24), rocketmq=version)


def load(path: Path) -> StackPlan | None:
    """Read a plan; None if there is none. Raise `CommandFailed` if it can't be understood."""
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return StackPlan(**{**raw, "ports": Ports(**raw["ports"])})
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise CommandFailed(f"{path} can't be read as the plan of a stack; remove it, then try again.") from error


def save(path: Path, plan: StackPlan) -> None:
    """Write a plan, whole or not at all, readable by its owner only: it holds the password."""
    write_private(path, json.dumps(asdict(plan), indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Replace a file by one with mode 0600. Raise OSError."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def is_free(port: int) -> bool:
    """Whether a port can be listened on, at our address and at all addresses."""
    for host in (HOST, ""):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT is no use
            try:
                listener.bind((host, port))
                listener.listen(1)
            except OSError:
                return False
    return True


def free_pair(wish: int = 0) -> int:
    """Return the first of two free ports in a row: `wish` if it is given, and they are free. Raise `CommandFailed`."""
    for first in (*([wish] if wish else []), *(secrets.choice(QUIET_PORTS) for _ in range(200))):
        if is_free(first) and is_free(first + 1):
            return first
    raise CommandFailed(f"No two free ports in a row were found on {HOST}.")


def free_port_base() -> int:
    """Return the first of eight free ports in a row, below those that the kernel gives away. Raise `CommandFailed`."""
    for _ in range(200):
        base = secrets.choice(QUIET_PORTS)  # one of them must still be free after a restart
        if all(map(is_free, Ports.from_base(base).all())):
            return base
    raise CommandFailed(f"No eight free ports in a row were found on {HOST}.")
