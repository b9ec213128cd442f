"""What processes take: processor time and memory, their children's included."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

OTHERS = "others"  # what ran on the machine and is not ours
_EVERY = 1.0  # seconds between two looks at the memory


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process took: processors kept busy on average, and the most memory it had resident (bytes)."""

    cores: float
    memory: int


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
        memory: dict[int, int] = {}
        began, over = time.monotonic(), threading.Event()
        looker = threading.Thread(target=self._look, args=(memory, over), daemon=True)
        looker.start()
        try:
            yield
        finally:
            seconds = time.monotonic() - began
            over.set()
            looker.join()
            self.taken = {
                name: Usage((cpu_seconds(pid) - before.get(pid, 0.0)) / seconds, memory.get(pid, 0))
                for name, pid in self._pids().items()
            }
            ours = sum(usage.cores for usage in self.taken.values())
            self.taken[OTHERS] = Usage(max(0.0, (_busy_seconds() - busy) / seconds - ours), 0)

    def _look(self, memory: dict[int, int], over: threading.Event) -> None:
        while True:
            for pid in self._pids().values():
                memory[pid] = max(memory.get(pid, 0), resident(pid))
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


def resident(pid: int) -> int:
    """Return the memory that a process and its children have resident, in bytes; 0 if there is no such process.

    What several of them share is counted for each.
    """
    try:
        return sum(process.memory_info().rss for process in _family(pid))
    except psutil.NoSuchProcess:
        return 0


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
