"""How long a service takes until it is ready: started by fork, as `orders up` does, and by itself, in turns."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from lab.bench.meter import memory_of
from ops.deployment import Deployment, Plan, free_port_base
from ops.supervisor import Supervisor

_WAYS: Mapping[str, Mapping[str, str]] = {
    "by fork": {},
    "by itself": {"PYTHON_STARTED": "by itself"},  # a fork would come too late for what is called so (`ops.forking`)
}


@dataclass(frozen=True, slots=True)
class Start:
    """One start: seconds until it was ready, seconds of a processor until then, and the memory that it has (bytes).

    The memory is PSS where that is told: see `Memory`.
    """

    seconds: float
    processor: float
    memory: int
    is_pss: bool = True


@dataclass(frozen=True, slots=True)
class Starts:
    """Starts of a service in one way."""

    service: str
    way: str
    runs: list[Start] = field(default_factory=list)

    def median(self, member: str) -> float:
        """Return the median of a member of the starts."""
        return float(statistics.median(getattr(run, member) for run in self.runs))


def measure(services: Sequence[str], runs: int, tell: Callable[[str], None]) -> list[Starts]:
    """Start each service of a deployment `runs` times in either way, in turns, beside all others. Raise `NotInTime`."""
    found = [Starts(service, way) for service in services for way in _WAYS]
    with TemporaryDirectory(prefix="orders-bench-") as directory:
        deployment = Deployment(Path(directory), Plan(free_port_base()), say=lambda _: None)
        deployment.prepare()
        deployment.start()
        try:
            for run in range(runs):
                for starts in found:
                    tell(f"run {run + 1} of {runs}: {starts.service} {starts.way}")
                    starts.runs.append(_start(deployment.supervisor, starts.service, _WAYS[starts.way]))
        finally:
            deployment.stop()
    return found


def _start(supervisor: Supervisor, service: str, variables: Mapping[str, str]) -> Start:
    supervisor.restart(service, extra_env=variables)
    begun = time.perf_counter()
    supervisor.wait_ready(service)
    seconds = time.perf_counter() - begun
    process = psutil.Process(supervisor.pid(service))
    times = process.cpu_times()
    memory = memory_of(process.pid)
    return Start(seconds, times.user + times.system, memory.size, memory.is_pss)
