"""One deployment: order, stock and goods on this machine, in one data directory."""

import signal
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import auth, migrations
from common.config import Settings
from common.mq.factory import open_broker
from common.mq.port import Broker
from ops import catalogue, runstate
from ops.child import python_module
from ops.client import SERVICES, Client, probe
from ops.errors import CommandFailed, NoDeployment
from ops.places import DataDir
from ops.runstate import RunState
from ops.supervisor import Supervisor, is_alive
from ops.waiting import wait_for

HOST = "127.0.0.1"
_LONGEST_PORT_BASE = 65535 - len(SERVICES) + 1
_STRAGGLERS = 20.0  # seconds; processes whose supervisor was killed finish their requests and end by themselves


@dataclass(frozen=True, slots=True)
class Plan:
    """How a deployment is to run; `extra` holds further settings by their names in `common.config.Settings`."""

    port_base: int = 8001
    pay_timeout: float = 900.0
    extra: Mapping[str, str | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise `CommandFailed` for settings that don't exist and ports that can't be."""
        unknown = sorted(set(self.extra) - set(Settings.model_fields))
        if unknown:
            raise CommandFailed(f"There is no setting {unknown[0]!r}.")
        if not 1 <= self.port_base <= _LONGEST_PORT_BASE:
            raise CommandFailed(f"--port-base goes from 1 to {_LONGEST_PORT_BASE}.")

    @property
    def ports(self) -> dict[str, int]:
        """The port of each service."""
        return {name: self.port_base + number for number, name in enumerate(SERVICES)}

    @property
    def urls(self) -> dict[str, str]:
        """The base URL of each service."""
        return {name: f"http://{HOST}:{port}" for name, port in self.ports.items()}

    def as_settings(self) -> dict[str, Any]:
        """Return the plan as `run/state.json` keeps it."""
        return {"port_base": self.port_base, "pay_timeout": self.pay_timeout, "extra": dict(self.extra)}


class Deployment:
    """Starts, finds and stops one deployment."""

    def __init__(self, data_dir: Path, plan: Plan | None = None, *, say: Callable[[str], None] = print) -> None:
        """Name the data directory and the plan; nothing is made or started yet."""
        self.place = DataDir(data_dir.absolute())
        self.plan = plan or Plan()
        self._say = say
        self._supervisor: Supervisor | None = None

    @classmethod
    def find(cls, data_dir: Path) -> "Deployment":
        """Return the deployment, running or stopped, of a data directory. Raise `NoDeployment`."""
        place = DataDir(data_dir.absolute())
        place.secret()
        state = runstate.load(place.state_file)
        if state is None:
            raise NoDeployment(f"There is no deployment in {place.root}: start one with: {place.hint('up')}")
        return cls(data_dir, Plan(**state.settings))

    @property
    def supervisor(self) -> Supervisor:
        """The supervisor of its processes. Raise `NoDeployment` before `prepare` was called for the first time."""
        if self._supervisor is None:
            self._supervisor = Supervisor(
                self.place.root,
                [python_module(name, self._environment(name), self.plan.ports[name]) for name in SERVICES],
                is_ready=lambda spec: probe(self.plan.urls[spec.name]) is None,
                settings=self.plan.as_settings(),
                say=self._say,
            )
        return self._supervisor

    def prepare(self) -> None:
        """Take the data directory, create what is missing in it, and bring the databases up to date.

        Raise `AlreadyRunning`, or `CommandFailed` where a port is in use.
        """
        self.place.make()
        self.supervisor.lock()
        self._wait_for_stragglers()
        self._refuse_used_ports()
        self.migrate()

    def migrate(self) -> None:
        """Bring the databases of all services up to date. Raise `OrdersError`."""
        self.place.make()
        for name in SERVICES:
            migrations.upgrade(name, self.place.database_url(name))

    def start(self, *, within: float = 60.0) -> None:
        """Start all services (after `prepare`) and return once they are ready. Raise `NotInTime`."""
        self.supervisor.start()
        self.supervisor.wait_ready(within=within)

    def fill_catalogue(self) -> list[dict[str, Any]]:
        """Create a few goods with stock if there are none; return the goods. Raise `CommandFailed`."""
        with self.client("orders-up", ["admin"]) as client:
            return catalogue.fill(client)

    def stop(self) -> None:
        """Stop the services gracefully; return once they are gone. Again: nothing."""
        if self._supervisor is not None:
            self._supervisor.stop()

    def kill(self) -> None:
        """End the services with SIGKILL, for who can't wait for a stop under way. Safe in a signal handler."""
        if self._supervisor is not None:
            for name in SERVICES:
                self._supervisor.kill(name, signal.SIGKILL)

    def token(self, user: str, scopes: Iterable[str] = ("orders",), *, lifetime: float = 86400.0) -> str:
        """Return a bearer token, valid for `lifetime` seconds. Raise `NoDeployment`, `CommandFailed`."""
        try:
            return auth.issue(self.place.secret(), user, scopes, lifetime)
        except ValueError as error:
            raise CommandFailed(f"No token for {user!r}: {error}.") from error

    def client(self, user: str, scopes: Iterable[str] = ("orders",)) -> Client:
        """Return a REST client in the name of `user`."""
        return Client(self.plan.urls, self.token(user, scopes))

    def settings(self, service: str) -> Settings:
        """Return the settings that a service of this deployment has."""
        given = {name.removeprefix("ORDERS_").lower(): value for name, value in self._environment(service).items()}
        return Settings(**given)  # type: ignore[arg-type]  # pydantic parses the strings, as it does a variable's

    def database_url(self, service: str) -> str:
        """Return the URL of a service's database. Raise `NoDeployment` where there is none yet."""
        if not (self.place.root / f"{service}.db").exists():
            raise NoDeployment(
                f"{self.place.root} has no {service} database yet: start it with: {self.place.hint('up')}"
            )
        return self.place.database_url(service)

    def open_broker(self) -> Broker:
        """Open the deployment's broker. Raise `BrokerError`, or `NoDeployment` where there is none yet."""
        if not (self.place.root / "broker.db").exists():
            raise NoDeployment(f"{self.place.root} has no broker file yet: start it with: {self.place.hint('up')}")
        return open_broker(self.place.broker_url, self.settings("order").broker_options)

    def _environment(self, name: str) -> dict[str, str]:
        urls = {f"ORDERS_{service.upper()}_URL": url for service, url in self.plan.urls.items()}
        extra = {f"ORDERS_{setting.upper()}": str(value) for setting, value in self.plan.extra.items()}
        return {
            "ORDERS_HOST": HOST,
            "ORDERS_PORT": str(self.plan.ports[name]),
            "ORDERS_JWT_SECRET": self.place.secret(),
            "ORDERS_DATABASE_URL": self.place.database_url(name),
            "ORDERS_BROKER_URL": self.place.broker_url,
            "ORDERS_PAY_TIMEOUT": str(self.plan.pay_timeout),
            **urls,
            **extra,
        }

    def _wait_for_stragglers(self) -> None:
        """Wait for processes of a supervisor that was killed: they end by themselves."""
        before = runstate.load(self.place.state_file) or RunState()
        pids = [p.pid for p in before.processes if p.pid is not None and is_alive(p.pid)]
        if pids and before.supervisor is not None and not all(map(_port_is_free, self.plan.ports.values())):
            self._say("The last supervisor was killed; waiting for its processes to end.")
            wait_for(
                f"processes {', '.join(map(str, pids))} to end",
                lambda: not any(map(is_alive, pids)),
                within=_STRAGGLERS,
            )

    def _refuse_used_ports(self) -> None:
        for name, port in self.plan.ports.items():
            if not _port_is_free(port):
                raise CommandFailed(
                    f"Port {port} of {HOST}, which {name} needs, is in use: "
                    "stop what listens there, or choose other ports with --port-base."
                )


def ports_are_free(plan: Plan) -> bool:
    """Whether every port of a plan can be listened on."""
    return all(map(_port_is_free, plan.ports.values()))


def free_port_base() -> int:
    """Return the first of as many free ports in a row as there are services."""
    for _ in range(200):
        with socket.create_server((HOST, 0)) as server:
            base = server.getsockname()[1]
        if base <= _LONGEST_PORT_BASE and all(_port_is_free(base + n) for n in range(len(SERVICES))):
            return int(base)
    raise CommandFailed(f"No {len(SERVICES)} free ports in a row were found on {HOST}.")


def _port_is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: TIME_WAIT is no use
        try:
            listener.bind((HOST, port))
            listener.listen(1)
        except OSError:
            return False
    return True
