"""How a deployment is to run: which instances of each service, on which ports, with which settings."""

import secrets
import socket
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

from common import registry
from common.config import Settings
from common.registry import ALL_NAMES, CONSOLE, GATEWAY, MOST_INSTANCES, NAMES, PARTICIPANTS, SANDBOX
from ops.errors import CommandFailed

HOST = "127.0.0.1"
DISCOVERY_FILES = ("discovery_ca", "discovery_certificate", "discovery_key")
"""Settings of the files for a list of instances that speaks TLS."""
_LAST_PORT = 65535
QUIET_PORTS = range(10_000, 32_000)  # below those that Linux gives to outgoing connections, any of which could be next
_ONE_OF_EACH: Mapping[str, int] = MappingProxyType(dict.fromkeys(ALL_NAMES, 1))


@dataclass(frozen=True, slots=True)
class Servers:
    """The real servers that a deployment uses instead of the embedded ones; a database URL for each service.

    `stack` is the data directory of the stack that runs them, empty where somebody else does.
    """

    broker_url: str = field(repr=False)
    database_urls: Mapping[str, str] = field(repr=False)
    redis_url: str = field(repr=False)
    stack: str = ""


@dataclass(frozen=True, slots=True)
class Gateway:
    """How the gateway of a deployment is: `tls`, HTTPS; `separate`, a listener of its own for administrators."""

    tls: bool = False
    separate: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """How a deployment is to run.

    `extra` holds further settings by their names in `common.config.Settings`, `instances` how many of a service run
    (one of each that isn't named), `servers` the real ones (None: embedded), `console` whether the web console runs
    beside them, `gateway` the one address before them (None: there is none). `joined`: the data directory of the
    deployment that it is part of; then it has only those services that `instances` names, and all else is that one's.

    The first instance is called as its service and has its usual port; instance number n is called `order-n` and
    listens 100 (n - 1) ports above the first: a port depends on the name alone, and no new service moves it.
    """

    port_base: int = registry.FIRST_PORT
    pay_timeout: float = 900.0
    extra: Mapping[str, str | float] = field(default_factory=dict, repr=False)
    instances: Mapping[str, int] = field(default_factory=dict)
    servers: Servers | None = None
    console: bool = False
    gateway: Gateway | None = None
    joined: str = ""

    def __post_init__(self) -> None:
        """Raise `CommandFailed` for settings and services that don't exist, and for ports that can't be."""
        unknown = sorted(set(self.extra) - set(Settings.model_fields))
        if unknown:
            raise CommandFailed(f"There is no setting {unknown[0]!r}.")
        strangers = sorted(set(self.instances) - set(NAMES))
        if strangers:
            raise CommandFailed(f"There is no service {strangers[0]!r}: {', '.join(NAMES)}.")
        for service, number in self.instances.items():
            if not 1 <= number <= MOST_INSTANCES:
                raise CommandFailed(f"--{service} goes from 1 to {MOST_INSTANCES}.")
        offsets = [port - self.port_base for port in self.listens.values()]
        smallest, largest = 1 - min(0, *offsets), _LAST_PORT - max(offsets)
        if not smallest <= self.port_base <= largest:
            raise CommandFailed(f"--port-base goes from {smallest} to {largest}.")

    @property
    def services(self) -> tuple[str, ...]:
        """The services that it has: all but what the settings `participants` and `providers` leave out."""
        if self.joined:
            return tuple(name for name in ALL_NAMES if name in self.instances)
        left_out = set(PARTICIPANTS) - self._named("participants")
        if "pay" in left_out or SANDBOX not in self._named("providers"):
            left_out.add(SANDBOX)
        if not self.console:
            left_out.add(CONSOLE.name)
        return tuple(name for name in ALL_NAMES if name not in left_out)

    def _named(self, setting: str) -> set[str]:
        """Return the names in a setting that is a list."""
        given = self.extra.get(setting, Settings.model_fields[setting].default)
        return set(str(given).replace(" ", "").split(","))

    @property
    def subscriptions(self) -> tuple[tuple[str, str], ...]:
        """The topics with the groups that its services consume them in."""
        return registry.subscriptions_of(self.services)

    @property
    def processes(self) -> dict[str, str]:
        """The service that each process is an instance of, in the order of stopping."""
        counts = {**_ONE_OF_EACH, **self.instances}
        return {
            registry.instance(service, number): service
            for service in self.services
            for number in range(1, counts[service] + 1)
        }

    @property
    def ports(self) -> dict[str, int]:
        """The port of each process, and of the gateway."""
        ports = {name: self.port_base + offset for name, offset in self._offsets.items()}
        return ports if self.gateway is None else {GATEWAY.name: self.port_base + registry.gateway_offset(), **ports}

    @property
    def listens(self) -> dict[str, int]:
        """All ports that are to be free: those of `ports`, and where the gateway listens for administrators alone."""
        if self.gateway is None or not self.gateway.separate:
            return self.ports
        return {**self.ports, f"{GATEWAY.name}'s admin listener": self.admin_port}

    @property
    def admin_port(self) -> int:
        """Where the gateway listens for administrators, if it has a listener of its own for them."""
        return self.port_base + registry.gateway_offset(admin=True)

    @property
    def urls(self) -> dict[str, str]:
        """The base URL of each process, and of the gateway."""
        return {name: self.url(name, port) for name, port in self.ports.items()}

    def url(self, name: str, port: int) -> str:
        """Return the base URL of what listens on a port under this name."""
        by_tls = name == GATEWAY.name and self.gateway is not None and self.gateway.tls
        return f"{'https' if by_tls else 'http'}://{HOST}:{port}"

    def instances_of(self, service: str) -> list[str]:
        """Return the names of a service's processes, the first instance first."""
        return [name for name, what in self.processes.items() if what == service]

    def addresses(self, service: str) -> str:
        """Return where a service is, as `common.peer.Peer` takes it: the URLs of its instances with commas between.

        Of one that it has not: where its first instance would be, which nothing else may have.
        """
        urls = self.urls
        nowhere = f"http://{HOST}:{self.port_base + registry.offset(service, 1)}"
        return ",".join(urls[name] for name in self.instances_of(service)) or nowhere

    def as_settings(self) -> dict[str, Any]:
        """Return the plan as `run/state.json` keeps it."""
        return {
            "port_base": self.port_base,
            "pay_timeout": self.pay_timeout,
            "extra": dict(self.extra),
            "instances": dict(self.instances),
            "servers": self.servers and asdict(self.servers),
            "console": self.console,
            "joined": self.joined,
            "gateway": self.gateway and asdict(self.gateway),
        }

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "Plan":
        """Return the plan that `as_settings` told."""
        servers, gateway = settings.get("servers"), settings.get("gateway")
        given = {"servers": servers and Servers(**servers), "gateway": gateway and Gateway(**gateway)}
        return cls(**{**settings, **given})

    @property
    def _offsets(self) -> dict[str, int]:
        """How far above `port_base` each process listens."""
        return {
            name: registry.offset(service, self.instances_of(service).index(name) + 1)
            for name, service in self.processes.items()
        }


def ports_are_free(plan: Plan) -> bool:
    """Whether every port of a plan can be listened on."""
    return all(map(port_is_free, plan.listens.values()))


_given: deque[frozenset[int]] = deque(maxlen=16)
_giving = threading.Lock()


def free_port_base(instances: Mapping[str, int] | None = None) -> int:
    """Return a `port_base` with which every port is free, the console's and the gateway's too.

    `instances`: how many of each service there are to be.

    What this process was given lately is passed over: its deployments, side by side, may not listen there yet.
    """
    for _ in range(200):
        plan = Plan(
            secrets.choice(QUIET_PORTS), instances=instances or {}, console=True, gateway=Gateway(separate=True)
        )
        ports = frozenset(plan.listens.values())
        with _giving:
            if ports_are_free(plan) and all(map(ports.isdisjoint, _given)):
                _given.append(ports)
                return plan.port_base
    raise CommandFailed(f"Not enough free ports in a row were found on {HOST}.")


def port_is_free(port: int) -> bool:
    """Whether a port can be listened on."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: TIME_WAIT is no use
        try:
            listener.bind((HOST, port))
            listener.listen(1)
        except OSError:
            return False
    return True
