"""What the processes of one service count together, in a directory.

https://prometheus.github.io/client_python/multiprocess/
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from prometheus_client import ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

_LIVE: Final = "gauge_live*_*.db"
"""Files of processes that live: of one that died, `mark_process_dead` removes these, and leaves what it counted."""
_TOGETHER: Final[Mapping[str, Callable[[Iterable[float]], float]]] = MappingProxyType(
    {"process_start_time_seconds": min, "process_max_fds": min}
)
"""How values of a process become one; those that are not here are added."""


class Together(Collector):
    """What processes count in one directory. The library's own collector takes its path for a pattern of names."""

    def __init__(self, directory: Path) -> None:
        """Name the directory."""
        self._directory = directory

    def describe(self) -> Iterator[Metric]:
        """Return nothing: otherwise registering would collect."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Return their sums, and of gauges those of processes that live."""
        files = [str(file) for file in sorted(self._directory.glob("*.db"))]
        yield from MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]


class Processes(Collector):
    """Processor time, memory and files of all processes that share a directory: any of them may answer a scrape."""

    def __init__(self, directory: Path) -> None:
        """Name the directory."""
        self._directory = directory

    def describe(self) -> Iterator[Metric]:
        """Return nothing: otherwise registering would collect."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Return their sums; of times and limits the least."""
        values: dict[str, list[float]] = {}
        families: dict[str, Metric] = {}
        for pid in sorted({file.stem.rpartition("_")[2] for file in self._directory.glob(_LIVE)}):
            for metric in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():  # type: ignore[misc]
                families.setdefault(metric.name, metric)
                values.setdefault(metric.name, []).append(metric.samples[0].value)
        for name, metric in families.items():
            sample = metric.samples[0]._replace(value=_TOGETHER.get(name, sum)(values[name]))
            metric.samples = [sample]
            yield metric
