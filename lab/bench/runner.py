"""Runs a load beside what it is put on: in a process of its own, watched, its ledger checked afterwards."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from lab.bench import load
from lab.bench.figures import Run, run_of
from lab.bench.load import Job, Sample
from lab.bench.meter import Meter, Pids

LOAD = "load"  # as which our own process is listed

Check = Callable[[Sample], Sequence[str]]
"""Looks at the ledger after a run; returns what is wrong."""


@dataclass(frozen=True, slots=True)
class Runner:
    """Puts loads on.."""

    pool: ProcessPoolExecutor
    pid: int

    @classmethod
    @contextmanager
    def open(cls) -> Iterator["Runner"]:
        """Start the process of the load."""
        context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks
        with ProcessPoolExecutor(1, mp_context=context, initializer=_begin) as pool:
            yield cls(pool, pool.submit(_pid).result())

    def submit(self, job: Job) -> "Future[Sample]":
        """Put a load on, and return at once."""
        return self.pool.submit(load.run, job)

    def run(self, job: Job, pids: Pids, check: Check) -> Run:
        """Put a load on, wait for its end, check the ledger; return the figures."""
        meter = Meter(lambda: {**pids(), LOAD: self.pid})
        with meter.watch():
            sample = self.submit(job).result()
        return run_of(sample, meter.taken, list(check(sample)))


def _begin() -> None:
    """Let Ctrl-C end the process at once: the one that waits for it tells of it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _pid() -> int:
    return multiprocessing.current_process().pid or 0
