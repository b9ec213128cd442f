"""A process is stopped for a drill when it holds no lock that others wait for."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lab.drill import freezing
from lab.drill.freezing import freeze, thaw
from ops.errors import NotInTime
from tests.support import eventually

_HOLDS_UNTIL_IT_GOES_ON = """
import signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCONT])
print("held", flush=True)
while True:
    signal.sigwait([signal.SIGCONT])
    if sys.argv[2] == "lets go" and connection.in_transaction:
        connection.execute("ROLLBACK")
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "broker.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (x)")
    return path


@pytest.fixture
def holder(file: Path, request: pytest.FixtureRequest) -> Iterator[int]:
    """Return the pid of a process that has locked the file."""
    command = [sys.executable, "-c", _HOLDS_UNTIL_IT_GOES_ON, str(file), request.param]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process.pid
        process.kill()


@pytest.mark.parametrize("holder", ["lets go"], indirect=True)
def test_what_is_stopped_holds_no_lock(file: Path, holder: int) -> None:
    """Stopped in the middle of a write, a process goes on until that is done, and is stopped then."""
    freeze(holder, [file])
    assert freezing._stands_still(holder)
    with closing(sqlite3.connect(file, isolation_level=None, timeout=0)) as connection:
        connection.execute("BEGIN IMMEDIATE")
    thaw(holder)
    eventually(lambda: not freezing._stands_still(holder))


@pytest.mark.parametrize("holder", ["keeps it"], indirect=True)
def test_a_lock_that_is_never_let_go_is_told(file: Path, holder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many tries, and the process goes on."""
    monkeypatch.setattr(freezing, "_TRIES", 3)
    monkeypatch.setattr(freezing, "_OTHERS", 0.01)
    with pytest.raises(NotInTime, match="held a lock each of 3 times"):
        freeze(holder, [file])
    eventually(lambda: not freezing._stands_still(holder))


def test_going_on_needs_no_process() -> None:
    """One that was killed while it stood still."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        os.kill(process.pid, signal.SIGKILL)
    thaw(process.pid)
