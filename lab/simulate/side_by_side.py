"""Very many runs: by this process, or side by side by several, each with databases of its own.

A seed's run is the same whoever makes it. Only the order in which they end differs.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Final, Protocol

from lab.simulate.plan import plan_of
from lab.simulate.run import Simulator
from lab.simulate.templates import Templates, templates
from ops.errors import CommandFailed

MOST_JOBS: Final = 64
_ENDS_WITHIN: Final = 60.0  # seconds after it was told to: a run takes a tenth of one, on a quiet machine


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that was made: whether it failed, and the processor time in seconds that it took."""

    seed: int
    failed: bool
    seconds: float


class _Flag(Protocol):
    def is_set(self) -> bool: ...


def alone(simulator: Simulator, seeds: range) -> Iterator[Ran]:
    """Make one run after the other, in this process."""
    for seed in seeds:
        began = time.process_time()
        failed = bool(simulator.run(plan_of(seed)).wrong)
        yield Ran(seed, failed, time.process_time() - began)


@contextmanager
def side_by_side(seeds: range, jobs: int, like: Templates) -> Iterator[Iterator[Ran]]:
    """Make runs in so many processes, which are forked now: before any run was made here. Yield them as they end.

    Each takes every so manieth seed, so that none has to be told which. They stop, after the run in hand, at the end of
    the block, or where this process is gone.
    """
    context = multiprocessing.get_context("fork")
    stop = context.Event()
    children: dict[Connection, ForkProcess] = {}
    for number in range(jobs):
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_work, args=(seeds[number::jobs], like, ours, theirs, stop), daemon=True)
        child.start()
        theirs.close()  # so that its end is seen here, and not inherited by the next
        children[ours] = child
    try:
        yield _as_they_end(children)
    finally:
        stop.set()
        for ours in children:
            ours.close()  # who is about to tell something gives up
        for child in children.values():
            child.join(_ENDS_WITHIN)  # then it is terminated as this process ends


def _as_they_end(children: dict[Connection, ForkProcess]) -> Iterator[Ran]:
    """Raise `CommandFailed` if a process dies."""
    telling = list(children)
    while telling:
        for one in wait(telling):
            assert isinstance(one, Connection)  # noqa: S101 # nosec B101
            try:
                told = one.recv()
            except EOFError:
                raise CommandFailed(f"Process {children[one].pid} of the simulator died.") from None
            if told is None:
                telling.remove(one)
            else:
                yield told


def _work(seeds: range, like: Templates, theirs: Connection, tell: Connection, stop: _Flag) -> None:
    """Be one of the processes. Ctrl-C is for the first one, which then ends all."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    theirs.close()
    parent = os.getppid()
    with suppress(BrokenPipeError), templates(like) as files:  # nobody hears it any more
        simulator = Simulator(files)
        with simulator.ready():
            for ran in alone(simulator, seeds):
                if stop.is_set() or os.getppid() != parent:
                    return
                tell.send(ran)
        tell.send(None)
