"""One deployment: instances of our services on this machine, in one data directory."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from common import consistency, migrations, registry
from common.config import Settings, explain
from common.cores import at_hand
from common.telemetry import METRICS_DIR
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import Broker, BrokerOptions, Console
from ops import catalogue, gateway, runstate, tokens
from ops.child import Patience, our_service
from ops.client import Client, probe
from ops.errors import CommandFailed, NoDeployment
from ops.forking import OURS
from ops.places import PACKAGES, DataDir
from ops.plan import HOST, Plan, free_port_base, port_is_free, ports_are_free
from ops.real import servers_here
from ops.runstate import RunState
from ops.stack import Stack, tenant
from ops.supervisor import Supervisor
from ops.waiting import wait_for

__all__ = ["HOST", "Deployment", "Plan", "free_port_base", "ports_are_free"]

_HS256 = "ORDERS_HS256_TOKENS"
_OTHERS = (
    *registry.PARTICIPANTS,
    *(name for name in registry.ALL_NAMES if name not in {"order", *registry.PARTICIPANTS}),
)
WITH_SERVERS = ("halfmessage.mq.rocketmq_grpc.broker", "redis", "sqlalchemy.dialects.mysql.pymysql")
"""What services load more where their data is on servers, in as much time as all else."""
_STRAGGLERS = 20.0  # seconds; processes whose supervisor was killed finish their requests and end by themselves


class Deployment:
    """Starts, finds and stops one deployment."""

    def __init__(
        self,
        data_dir: Path,
        plan: Plan | None = None,
        *,
        say: Callable[[str], None] = print,
        patience: Patience | None = None,
    ) -> None:
        """Name the data directory and the plan; nothing is made or started yet. `patience` is the supervisor's."""
        self.directory = DataDir(data_dir.absolute())
        self.plan = plan or Plan()
        self._main = DataDir(Path(self.plan.joined)) if self.plan.joined else self.directory
        self._say, self._patience = say, patience
        self._supervisor: Supervisor | None = None
        self._found = False  # on disk: another process runs it, or none does

    @classmethod
    def find(cls, data_dir: Path) -> "Deployment":
        """Return the deployment, running or stopped, of a data directory.

        Raise `NoDeployment`, or `CopiedDeployment` where the data is on servers, as another directory's.
        """
        directory = DataDir(data_dir.absolute())
        state = directory.state()
        plan = Plan.from_settings(state.settings)
        found = cls(data_dir, replace(plan, servers=plan.servers and servers_here(directory.root, state, plan.servers)))
        found._found = True
        return found

    @property
    def supervisor(self) -> Supervisor:
        """The supervisor of its processes. Raise `NoDeployment` before `prepare` was called for the first time."""
        if self._supervisor is None:
            self._supervisor = Supervisor(
                self.directory.root,
                [
                    *([gateway.spec(self.plan, self.directory)] if self.plan.gateway is not None else []),
                    *(
                        our_service(
                            name,
                            service,
                            self._environment(name),
                            self.plan.ports[name],
                            WITH_SERVERS if self.plan.servers else (),
                        )
                        for name, service in self.plan.processes.items()
                    ),
                ],
                is_ready=lambda spec: self.probe(spec.name) is None,
                settings=self.plan.as_settings(),
                say=self._say,
                patience=self._patience,
            )
        return self._supervisor

    def probe(self, name: str) -> str | None:
        """Ask a process whether it is ready; return None if it is, else why not."""
        url = self.plan.urls[name]
        return probe(url, authority=self.directory.root_certificate if url.startswith("https:") else None)

    def prepare(self) -> None:
        """Take the data directory, create what is missing in it, and bring the databases up to date.

        Raise `AlreadyRunning`, or `CommandFailed` where a port is in use.
        """
        self.directory.make()
        self.supervisor.lock()
        OURS.warm_up()  # on another core, meanwhile
        self._wait_for_stragglers()
        self._refuse_used_ports()
        if self.plan.joined:
            self._check_settings()
            return
        self.migrate()
        if self.plan.servers is None:
            open_broker(self.directory.broker_url, BrokerOptions()).close()  # made here, or it is one that we can't use

    def migrate(self) -> None:
        """Bring the databases of all services up to date. Raise `OrdersError`."""
        self.directory.make()
        self._check_settings()
        self._require_servers()
        if self.plan.servers is None:
            self.directory.make_private("user.db")  # it holds the keys that sign users' tokens
        for name in self.plan.services:
            migrations.upgrade(name, self._database_url(name))

    def _check_settings(self) -> None:
        """Raise `CommandFailed` where a process would refuse its settings, those of the environment included."""
        for name, service in self.plan.processes.items():
            try:
                found = consistency.faults_of(service, self.settings(name))
            except ValidationError as error:
                found = explain(error)
            if found:
                raise CommandFailed("\n".join(f"{name}: {fault}" for fault in found))

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
            for name in self.plan.ports:
                self._supervisor.kill(name, signal.SIGKILL)

    def token(self, user: str, scopes: Iterable[str] = ("orders",), *, lifetime: float = 86400.0) -> str:
        """Return a bearer token, valid for `lifetime` seconds. Raise `NoDeployment`, `CommandFailed`."""
        return tokens.issue(self.directory, user, scopes, lifetime)

    @property
    def takes_hs256(self) -> bool:
        """Whether its services take tokens of the secret, which any of them can make: as set, or as it was made."""
        given = self.plan.extra.get("hs256_tokens", os.environ.get(_HS256, str(self.directory.takes_hs256)))
        return str(given).lower() not in {"false", "0", "no", "off"}

    def client(self, user: str, scopes: Iterable[str] = ("orders",)) -> Client:
        """Return a REST client in the name of `user`; it knows every instance by its name, `order` being the first.

        Raise `NoDeployment` where nothing runs: another deployment may have taken its ports.
        """
        self.require_running()
        return Client(self.plan.urls, self.token(user, scopes))

    def settings(self, service: str) -> Settings:
        """Return the settings that the first instance of a service has."""
        given = {name.removeprefix("ORDERS_").lower(): value for name, value in self._environment(service).items()}
        return Settings(**given)  # type: ignore[arg-type]  # pydantic parses the strings, as it does a variable's

    def database_url(self, service: str) -> str:
        """Return the URL of a service's database. Raise `NoDeployment` where there is none yet, or does not run."""
        self._require_servers()
        if self.plan.servers is None and not (self.directory.root / f"{service}.db").exists():
            raise NoDeployment(
                f"{self.directory.root} has no {service} database yet: start it with: {self.directory.hint('up')}"
            )
        return self._database_url(service)

    def open_broker(self) -> Broker:
        """Open the deployment's broker. Raise `BrokerError`, or `NoDeployment` where there is none, or does not run."""
        self._require_servers()
        if self.plan.servers is None and not (self.directory.root / "broker.db").exists():
            raise NoDeployment(
                f"{self.directory.root} has no broker file yet: start it with: {self.directory.hint('up')}"
            )
        settings = self.settings("order")
        return open_broker(settings.broker_url, settings.broker_options, subscriptions=self.plan.subscriptions)

    @contextmanager
    def open_console(self, *, admin_tool: bool = False) -> Iterator[Console]:
        """Open what looks at the deployment's messages; `admin_tool`: through RocketMQ's own.

        Raise `ConsoleUnavailable`, `BrokerError`, or `NoDeployment` where there is no broker yet, or does not run.
        """
        self._require_servers()
        if self.plan.servers is not None and self.plan.servers.stack:
            yield tenant.console(self.plan.servers, subscriptions=self.plan.subscriptions, admin_tool=admin_tool)
            return
        if admin_tool:
            raise CommandFailed(
                "The admin tool is RocketMQ's: only a deployment on `orders stack`, started --real, has it here."
            )
        with closing(self.open_broker()) as broker:
            yield broker.console()

    def require_running(self) -> None:
        """Raise `NoDeployment` where another process should run the services, and none does."""
        if self._found and self.directory.lock.holder() is None:
            raise NoDeployment(f"Nothing runs in {self.directory.root}: start it with: {self.directory.hint('up')}")

    def _require_servers(self) -> None:
        """Let no command reach servers of another stack, which took the ports of one that is stopped."""
        servers = self.plan.servers
        if (
            self._found
            and servers is not None
            and servers.stack
            and not Stack(Path(servers.stack)).runs(all_of_it=True)
        ):
            raise NoDeployment(
                f"The servers in {servers.stack} do not run: start them with: {self.directory.hint('up --real')}"
            )

    def _database_url(self, service: str) -> str:
        servers = self.plan.servers
        if servers is None:
            return self._main.database_url(service)
        if service not in servers.database_urls:  # it was started by a release that had no such service
            raise NoDeployment(f"It has no {service} database yet: start it with: {self.directory.hint('up --real')}")
        return servers.database_urls[service]

    def _environment(self, name: str) -> dict[str, str]:
        plan = Deployment.find(self._main.root).plan if self.plan.joined else self.plan
        urls = {f"ORDERS_{service.upper()}_URL": plan.addresses(service) for service in registry.NAMES}
        servers = self.plan.servers
        extra = {f"ORDERS_{setting.upper()}": str(value) for setting, value in self.plan.extra.items()}
        return {
            "ORDERS_HOST": HOST,
            "ORDERS_PORT": str(self.plan.ports[name]),
            "ORDERS_LOG_FILE": str(self.directory.log(name)),
            "ORDERS_JWT_SECRET": self._main.secret(),
            "ORDERS_KEY_FILE": str(self._main.keys.private(self.plan.processes[name])),
            "ORDERS_PUBLIC_KEYS": str(self._main.keys.public),
            _HS256: str(self.takes_hs256).lower(),
            "ORDERS_DATABASE_URL": self._database_url(self.plan.processes[name]),
            "ORDERS_BROKER_URL": servers.broker_url if servers else self._main.broker_url,
            "ORDERS_DISCOVERY": self._main.discovery_url,
            "ORDERS_DISCOVERY_FILE": str(self.directory.last_known(name)),
            "ORDERS_USER_KEYS_FILE": str(self.directory.user_keys(name)),
            "ORDERS_REDIS_URL": servers.redis_url if servers else "",
            "ORDERS_PIECES_URL": servers.redis_url if servers else "",
            "ORDERS_PAY_TIMEOUT": str(self.plan.pay_timeout),
            **self._shared_metrics(name),
            **self._core(name),
            **self._own_directory(name),
            **gateway.told_to_services(self.plan),
            **urls,
            **extra,
        }

    def _own_directory(self, name: str) -> dict[str, str]:
        """Return where the console finds what it compares, and whether drills may be started through it.

        They may in a clone, which has them, unless it is in production, or ORDERS_CONSOLE_DRILLS says otherwise.
        """
        if self.plan.processes[name] != registry.CONSOLE.name:
            return {}
        may_drill = (PACKAGES / "lab").is_dir() and os.environ.get("ORDERS_ENVIRONMENT") != "production"
        drills = os.environ.get("ORDERS_CONSOLE_DRILLS", str(may_drill).lower())
        return {"ORDERS_CONSOLE_DATA_DIR": str(self.directory.root), "ORDERS_CONSOLE_DRILLS": drills}

    def _core(self, name: str) -> dict[str, str]:
        """Return the core of a process: that of order, which has most to do, is none of the others'.

        These are spread over what is left, participants first, for they are asked at the same time.
        """
        cores = at_hand()
        if len(cores) < 2:  # noqa: PLR2004 - nothing to choose from
            return {}
        service = self.plan.processes[name]
        place = 0 if service == "order" else 1 + _OTHERS.index(service) % (len(cores) - 1)
        number = place + self.plan.instances_of(service).index(name)
        return {"ORDERS_CORE": str(cores[number % len(cores)])}

    def _shared_metrics(self, name: str) -> dict[str, str]:
        """Return where the workers of a process share what they count; those of one alone need not."""
        if int(self.plan.extra.get("workers", 1)) == 1:
            return {}
        return {METRICS_DIR: str(self.directory.root / "run" / "metrics" / name)}

    def _wait_for_stragglers(self) -> None:
        """Wait for processes of a supervisor that was killed: they end by themselves."""
        before = runstate.load(self.directory.state_file) or RunState()
        pids = [p.pid for p in before.processes if p.pid is not None and self.directory.has_process(p.pid)]
        if pids:
            self._say("The last supervisor was killed; waiting for its processes to end.")
            wait_for(
                f"processes {', '.join(map(str, pids))} to end",
                lambda: not any(map(self.directory.has_process, pids)),
                within=_STRAGGLERS,
            )

    def _refuse_used_ports(self) -> None:
        for name, port in sorted(self.plan.listens.items(), key=lambda of: of[1]):
            if not port_is_free(port):
                raise CommandFailed(
                    f"Port {port} of {HOST}, which {name} needs, is in use: "
                    "stop what listens there, or choose other ports with --port-base."
                )
