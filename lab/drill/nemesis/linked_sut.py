"""A deployment that random runs play on: private, with a link that can be cut at every connection."""

import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from sqlalchemy.engine import make_url

from lab.drill.backing import Backing
from lab.drill.drill import SECONDS_MORE
from lab.drill.nemesis.links import Switchboard
from lab.drill.nemesis.regimes import PROCESSES, Regime, caller_of
from ops.client import Client
from ops.deployment import Deployment
from ops.errors import CommandFailed
from ops.plan import HOST, Plan, Servers, free_port_base

_READY_WITHIN = 60.0  # seconds
_PREPARING = threading.Lock()  # Alembic keeps what it is doing in one place for the whole process
_CLIENT_PATIENCE = 10.0  # seconds that a client waits for its answer


class LinkedSystem:
    """One running deployment. `armed`: by process with a failpoint that may not be reached yet, the pid that it had."""

    def __init__(self, directory: Path, backing: Backing, regime: Regime, say: Callable[[str], None]) -> None:
        """Start it in a new directory, every process ready. Raise `CommandFailed`."""
        self.directory, self.backing, self.regime = directory, backing, regime
        self.armed: dict[str, int | None] = {}
        self.runs = 0
        directory.mkdir(parents=True)
        self.board = Switchboard()
        self.board.__enter__()
        servers = backing.servers(directory, regime.profile)
        self.deployment = Deployment(directory, self._plan(servers), say=say, patience=regime.profile.patience)
        try:
            with _PREPARING:
                self.deployment.prepare()
            self.deployment.start(within=_READY_WITHIN)
            self.broker = self.deployment.open_broker()
        except BaseException:
            with suppress(CommandFailed):
                self.deployment.stop()
            self.board.__exit__()
            raise
        self.supervisor = self.deployment.supervisor

    @property
    def limit(self) -> float:
        """How long, in seconds, everything may take to be settled after the last fault."""
        profile = self.regime.profile
        interval = float(profile.extra["sweep_interval"]) if self.regime.sweeps else 0.0
        return max(interval, self.backing.check_interval(profile)) + SECONDS_MORE

    @property
    def urls(self) -> Mapping[str, str]:
        """Where clients of the plan find the services: the order processes behind links."""
        return self._urls

    def client(self, user: str, scopes: Iterable[str] = ("orders",)) -> Client:
        """Return a user's client, behind the links."""
        return Client(self._urls, self.deployment.token(user, scopes), timeout=_CLIENT_PATIENCE)

    def clean(self) -> None:
        """Disarm failpoints that were not reached, and wait until every process is ready. Raise `NotInTime`."""
        for process, pid in self.armed.items():
            if self.supervisor.pid(process) == pid:
                self.supervisor.restart(process)
        self.armed.clear()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Return once every process is ready. Raise `NotInTime`."""
        self.supervisor.wait_ready(within=_READY_WITHIN)

    def close(self, *, keep: Path | None = None) -> None:
        """Stop it, and delete its data, or move it to `keep` as evidence. Again: nothing."""
        if not self.directory.exists():
            return
        self.broker.close()
        self.deployment.stop()
        self.board.__exit__()
        self.backing.give_back(self.directory, keep=keep is not None)
        if keep is not None:
            shutil.move(self.directory, keep)
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _plan(self, servers: Servers | None) -> Plan:
        profile = self.regime.profile
        plan = Plan(free_port_base(profile.instances), profile.pay_timeout, {}, profile.instances)
        assert tuple(sorted(plan.processes)) == tuple(sorted(PROCESSES))  # noqa: S101 - what plans are made for
        self._urls = dict(plan.urls)
        for name in plan.instances_of("order"):
            self._urls[name] = "http://" + self.board.link(f"client>{name}", HOST, plan.ports[name])
        between = {
            f"{service}_url": ",".join(
                "http://" + self.board.link(f"{caller_of(service)}>{name}", HOST, plan.ports[name])
                for name in plan.instances_of(service)
            )
            for service in plan.services
            if service != "order"
        }
        extra = {**profile.extra, **self.backing.settings(profile), **between}
        return replace(plan, extra=extra, servers=servers and self._linked(servers))

    def _linked(self, servers: Servers) -> Servers:
        databases = {
            service: self._through(f"{service}>database", url) for service, url in servers.database_urls.items()
        }
        redis = self._through("services>redis", servers.redis_url) if servers.redis_url else ""
        broker = self._through("services>broker", servers.broker_url, pinned="1")
        return replace(servers, database_urls=databases, redis_url=redis, broker_url=broker)

    def _through(self, name: str, url: str, **query: str) -> str:
        place = make_url(url)
        link = self.board.link(name, place.host or HOST, place.port or 0)
        changed = place.set(host=HOST, port=int(link.rpartition(":")[2])).update_query_dict(query)
        return changed.render_as_string(hide_password=False)
