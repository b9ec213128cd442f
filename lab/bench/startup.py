"""How long commands take to start, in turns with Python itself: what a person waits for at each of them."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ops import runstate
from ops.errors import CommandFailed
from ops.places import DataDir

_LONGEST = 60.0  # seconds that one start may take


@dataclass(frozen=True, slots=True)
class Startup:
    """The median time of a command in seconds, and how many times that of `python -c pass` it is."""

    command: str
    seconds: float
    ratio: float


def measure(runs: int, tell: Callable[[str], None]) -> list[Startup]:
    """Start each command `runs` times, in turns. Raise `CommandFailed` if one fails."""
    with _commands() as commands:
        times: dict[str, list[float]] = {name: [] for name in commands}
        for run in range(runs):
            tell(f"run {run + 1} of {runs}")
            for name, words in commands.items():
                times[name].append(_time(words))
    bare = times["python -c pass"]
    return [
        Startup(name, statistics.median(found), statistics.median(a / b for a, b in zip(found, bare, strict=True)))
        for name, found in times.items()
    ]


@contextmanager
def _commands() -> Iterator[Mapping[str, Sequence[str]]]:
    """Yield the commands, with a stopped deployment for the one that needs one."""
    with TemporaryDirectory(prefix="orders-bench-") as directory:
        place = DataDir(Path(directory))
        place.make()
        runstate.save(place.state_file, runstate.RunState())
        orders = (sys.executable, "-m", "ops")
        yield {
            "python -c pass": (sys.executable, "-c", "pass"),
            "orders --help": (*orders, "--help"),
            "orders token alice": (*orders, "token", "alice", "--data-dir", directory),
        }


def _time(words: Sequence[str]) -> float:
    begun = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_LONGEST)
    taken = time.perf_counter() - begun
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(words)} failed: {done.stderr.strip()}")
    return taken
