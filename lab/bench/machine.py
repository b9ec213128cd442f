"""On what it was measured: figures mean little without it."""

import os
import platform
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil

from ops.places import PACKAGES

_IN_MEMORY = frozenset({"tmpfs", "ramfs"})


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts; `load_before` is how many processes wanted a processor before we began (average of a minute)."""

    processors: int
    model: str
    memory_bytes: int
    system: str
    python: str
    file_system: str
    load_before: float
    version: str
    commit: str

    @property
    def in_words(self) -> str:
        """One line."""
        size = f"{self.memory_bytes / 2**30:.0f} GB"
        return (
            f"{self.processors} x {self.model}, {size}, {self.system}, Python {self.python}, data on "
            f"{self.file_system}, load before {self.load_before:.1f}, commit {self.commit or 'unknown'}"
        )

    @property
    def in_memory(self) -> bool:
        """Whether the data is not on a disk, so that a commit costs nothing it should cost."""
        return self.file_system in _IN_MEMORY


def look(data: Path | None = None) -> Machine:
    """Look at this machine; `data` is where databases will be."""
    return Machine(
        processors=psutil.cpu_count() or 1,
        model=_model(),
        memory_bytes=psutil.virtual_memory().total,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        file_system=_file_system(data or Path(tempfile.gettempdir())),
        load_before=os.getloadavg()[0],
        version=version("orders-on-rocketmq"),
        commit=_commit(),
    )


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(place: Path) -> str:
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    absolute = place.resolve()
    return next((mounts[path] for path in (absolute, *absolute.parents) if path in mounts), "unknown")


def _commit() -> str:
    """Return the commit of the clone we run from, with a + where files were changed; nothing where there is none."""
    described = ["git", "-C", str(PACKAGES), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(described, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
