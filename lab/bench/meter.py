"""What processes take: processor time and memory, their children's included."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

OTHERS = "others"  # what ran on the machine and is not ours
_EVERY = 1.0  # seconds between two looks at the memory
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True, order=True)
class Memory:
    """Memory in bytes. PSS: pages that processes share count in equal parts for each, else (RSS) whole for each."""

    size: int
    is_pss: bool = True

    @property
    def kind(self) -> str:
        """Which it is, for people."""
        return "PSS" if self.is_pss else "RSS"


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process took: processors kept busy on average, and the most memory (bytes; see `Memory`)."""

    cores: float
    memory: int
    is_pss: bool = True


Pids = Callable[[], Mapping[str, int]]
"""Tells which processes there are now, by name."""


class Meter:
    """Watches processes, those too that start later."""

    def __init__(self, pids: Pids) -> None:
        """Take what tells what to watch; it is asked again and again."""
        self._pids = pids
        self.taken: dict[str, Usage] = {}

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Watch as long as the block runs; `taken` tells then, of the processes that are there at its end."""
        before = {pid: cpu_seconds(pid) for pid in self._pids().values()}
        busy = _busy_seconds()
        memory: dict[int, Memory] = {}
        began, over = time.monotonic(), threading.Event()
        looker = threading.Thread(target=self._look, args=(memory, over), daemon=True)
        looker.start()
        try:
            yield
        finally:
            seconds = time.monotonic() - began
            over.set()
            looker.join()
            self.taken = {}
            for name, pid in self._pids().items():
                most = memory.get(pid, Memory(0))
                self.taken[name] = Usage((cpu_seconds(pid) - before.get(pid, 0.0)) / seconds, most.size, most.is_pss)
            ours = sum(usage.cores for usage in self.taken.values())
            self.taken[OTHERS] = Usage(max(0.0, (_busy_seconds() - busy) / seconds - ours), 0)

    def _look(self, memory: dict[int, Memory], over: threading.Event) -> None:
        while True:
            for pid in self._pids().values():
                memory[pid] = max(memory.get(pid, Memory(0)), memory_of(pid))
            if over.wait(_EVERY):
                return


def _busy_seconds() -> float:
    """Return the time that all processors were busy so far, also with what another guest of the machine took."""
    times = psutil.cpu_times()
    waiting = times.idle + getattr(times, "iowait", 0.0)
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # counted as user time as well
    return float(sum(times)) - waiting - guests


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process and its children had so far; 0 if there is no such process."""
    try:
        return sum(sum(process.cpu_times()[:2]) for process in _family(pid))
    except psutil.NoSuchProcess:
        return 0.0


def memory_of(pid: int) -> Memory:
    """Return the memory of a process and its children; none if there is no such process.

    It is PSS where the system tells that of all of them, as Linux does of processes of ours (proc_pid_smaps(5)).
    """
    try:
        family = _family(pid)
        parts = [_pss(process.pid) for process in family]
        told = [part for part in parts if part is not None]
        if len(told) == len(parts):
            return Memory(sum(told))
        return Memory(sum(process.memory_info().rss for process in family), is_pss=False)
    except psutil.NoSuchProcess:
        return Memory(0)


def _pss(pid: int) -> int | None:
    """Return the proportional share of one process in bytes; None where it can't be read."""
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii").splitlines()
    except ProcessLookupError:  # it has ended, and waits for its parent
        return 0
    except OSError:  # another user's, or no Linux
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
