"""How a deployment is: what its state file says, compared with the processes themselves."""

from dataclasses import dataclass
from pathlib import Path

from ops import runstate
from ops.client import probe
from ops.deployment import HOST, Deployment
from ops.errors import NoDeployment
from ops.places import DataDir
from ops.runstate import Phase, ProcessState
from ops.stack import Stack
from ops.stack.status import StackStatus
from ops.supervisor import is_alive


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One process; `state` is ready, unready, starting, restarting, dead or stopped, `reason` why it isn't ready."""

    name: str
    url: str
    pid: int | None
    port: int
    state: str
    reason: str | None
    restarts: int
    since: str


@dataclass(frozen=True, slots=True)
class Status:
    """A whole deployment; `supervisor` is None when nothing runs."""

    data_dir: str
    supervisor: int | None
    services: tuple[ServiceStatus, ...]
    servers: StackStatus | None = None  # of a deployment started --real
    takes_hs256: bool = False
    """Tokens of the shared secret are taken, which any service can make."""

    @property
    def running(self) -> bool:
        """Whether a supervisor runs it."""
        return self.supervisor is not None

    @property
    def ready(self) -> bool:
        """Whether every service is ready."""
        return self.running and {service.state for service in self.services} == {"ready"}


def look(deployment: Deployment) -> Status:
    """Look at every process of a deployment. Raise `CommandFailed` if its state file can't be understood."""
    supervisor = deployment.directory.lock.holder()
    state = runstate.load(deployment.directory.state_file)
    known = {process.name: process for process in (state.processes if state else ())}
    services = []
    for name, port in deployment.plan.ports.items():
        process = known.get(name) or ProcessState(name, port)
        word, reason = _judge(deployment.directory, process, running=supervisor is not None)
        pid = process.pid if word not in {"dead", "stopped"} else None
        url = f"http://{HOST}:{port}"
        services.append(ServiceStatus(name, url, pid, port, word, reason, process.restarts, process.since))
    return Status(
        str(deployment.directory.root), supervisor, tuple(services), _servers(deployment), deployment.takes_hs256
    )


def _servers(deployment: Deployment) -> StackStatus | None:
    servers = deployment.plan.servers
    if servers is None or not servers.stack:
        return None
    try:
        return Stack(Path(servers.stack)).status()
    except NoDeployment:  # it was reset
        return StackStatus(servers.stack, (), {}, defaults=False)


def _judge(place: DataDir, process: ProcessState, *, running: bool) -> tuple[str, str | None]:
    if process.pid is None or not (running or place.has_process(process.pid)):
        return (process.state.value, None) if running else (Phase.STOPPED.value, "not running")
    if not is_alive(process.pid):
        return "dead", f"process {process.pid} is gone"
    reason = probe(f"http://{HOST}:{process.port}")
    if reason is None:
        return "ready", None
    return ("starting" if process.state is Phase.STARTING else "unready"), reason
