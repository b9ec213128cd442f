"""Stops a process (SIGSTOP) as a machine that stands still, without the locks that it would have on its own machine.

A stopped process keeps the write lock of an SQLite file that it shares with others, who then can do nothing: that says
something of files, and nothing of the process that is missing. So it is stopped again until it holds none.
"""

import os
import signal
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from ops.deployment import Deployment
from ops.errors import NotInTime
from ops.waiting import wait_for

_TRIES = 100
_OTHERS = 1.0  # seconds in which processes that go on let go of a lock: a transaction takes some ms
_GO_ON = 0.02  # seconds for the process to finish what it was writing


@contextmanager
def frozen(deployment: Deployment, process: str) -> Iterator[int]:
    """Have a process of a deployment stand still while the body runs; yields its pid. Raise `NotInTime`."""
    pid = deployment.supervisor.pid(process)
    if pid is None:
        raise NotInTime(f"{process} does not run.")
    freeze(pid, deployment.directory.root.glob("*.db") if deployment.plan.servers is None else ())
    try:
        yield pid
    finally:
        thaw(pid)


def freeze(pid: int, files: Iterable[Path]) -> None:
    """Stop a process at a moment at which it has locked none of these SQLite files. Raise `NotInTime`."""
    shared = list(files)
    for _ in range(_TRIES):
        os.kill(pid, signal.SIGSTOP)
        wait_for(f"process {pid} to stand still", lambda: _stands_still(pid), within=5.0, every=0.001)
        if not any(_is_locked(file) for file in shared):
            return
        os.kill(pid, signal.SIGCONT)
        threading.Event().wait(_GO_ON)
    raise NotInTime(f"Process {pid} held a lock each of {_TRIES} times that it was stopped.")


def thaw(pid: int) -> None:
    """Have a process go on; nothing, if it was killed meanwhile."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _stands_still(pid: int) -> bool:
    """Whether every thread has stopped: each does so for itself, some time after the signal."""
    states = [task.joinpath("stat").read_text("utf-8", "replace") for task in Path(f"/proc/{pid}/task").iterdir()]
    return all(state.rpartition(")")[2].split()[0] in "TtZX" for state in states)


def _is_locked(file: Path) -> bool:
    with closing(sqlite3.connect(file, isolation_level=None, timeout=_OTHERS)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return True
    return False
