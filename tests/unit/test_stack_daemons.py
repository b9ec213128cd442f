"""Processes that outlive their command: known by pid and start, never mistaken."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from ops.errors import CommandFailed
from ops.places import DataDir
from ops.stack.daemons import Daemon, Program, is_running
from ops.stack.layout import Layout
from ops.stack.stack import Stack
from ops.stack.status import judge
from tests.support import eventually

WAITS = "import signal, sys; print('up', sys.argv[1:], flush=True); signal.pause()"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"

LEADER_EXITS = (
    "import ctypes, signal, threading, time; threading.Thread(target=time.sleep, args=(60,)).start(); "
    "ctypes.CDLL(None).pthread_exit(None)"
)


def program(code: str = WAITS) -> Program:
    return Program(sys.executable, ("renamed", "-c", code, "word"), {"GIVEN": "1"})


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    for folder in ("run", "log"):
        (tmp_path / folder).mkdir()
    daemon = Daemon("one", tmp_path)
    yield daemon
    if daemon.log.exists() and (tmp_path / "run" / "one.json").exists():
        daemon.kill()


def pid_file(daemon: Daemon) -> Path:
    return daemon.log.parents[1] / "run" / "one.json"


def test_a_started_process_is_found_again_by_another_command(daemon: Daemon) -> None:
    """A second object on the same directory sees the process, in a session of its own, its output in the log."""
    identity = daemon.start(program())
    again = Daemon("one", daemon.log.parents[1])
    assert again.running() == identity
    assert os.getsid(identity.pid) == identity.pid
    eventually(lambda: daemon.log.read_text() == "up ['word']\n")


def test_a_process_lives_on_when_its_command_ends(tmp_path: Path) -> None:
    """What a command started runs after it, and can be stopped by the next."""
    for folder in ("run", "log"):
        (tmp_path / folder).mkdir()
    code = (
        "import sys, pathlib; from ops.stack.daemons import *; "
        f"Daemon('one', pathlib.Path(sys.argv[1])).start(Program(sys.executable, ('x', '-c', {WAITS!r})))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    daemon = Daemon("one", tmp_path)
    assert daemon.running()
    assert daemon.kill()
    assert daemon.running() is None


@pytest.mark.parametrize("other", [{"ticks": 1}, {"boot": "another"}])
def test_a_recycled_pid_is_never_killed(daemon: Daemon, other: dict[str, object]) -> None:
    """A process that only has the pid of ours, from another start or another boot, is not ours."""
    stranger = daemon.start(program())
    pid_file(daemon).write_text(json.dumps(asdict(replace(stranger, **other))))  # type: ignore[arg-type]
    assert daemon.running() is None
    assert daemon.kill() is None
    assert daemon.signal(signal.SIGTERM) is None
    assert is_running(stranger)
    pid_file(daemon).write_text(json.dumps(asdict(stranger)))


def test_a_killed_process_is_dead_and_a_stopped_one_is_not_started(daemon: Daemon) -> None:
    """Status tells a crash from a stop."""
    assert judge(daemon.identity(), daemon.running(), lambda: None) == ("stopped", "not started")
    pid = daemon.start(program()).pid
    assert judge(daemon.identity(), daemon.running(), lambda: None) == ("ready", None)
    assert judge(daemon.identity(), daemon.running(), lambda: "mute") == ("starting", "mute")
    daemon.kill()
    assert judge(daemon.identity(), daemon.running(), lambda: None) == ("dead", f"process {pid} is gone")
    daemon.forget()
    assert judge(daemon.identity(), daemon.running(), lambda: None)[0] == "stopped"


def test_a_process_that_will_not_stop_is_killed(daemon: Daemon) -> None:
    """SIGTERM becomes SIGKILL after the time given."""
    identity = daemon.start(program(DEAF))
    eventually(lambda: "up" in daemon.log.read_text())
    daemon.signal(signal.SIGTERM)
    assert not daemon.wait_stopped(identity, within=0.2)
    assert not is_running(identity)


def test_a_process_whose_first_thread_ended_still_runs(daemon: Daemon) -> None:
    """A dying JVM looks like a zombie while its other threads still hold its ports."""
    identity = daemon.start(program(LEADER_EXITS))
    eventually(lambda: Path(f"/proc/{identity.pid}/stat").read_text().split()[2] == "Z")
    assert is_running(identity)
    daemon.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(identity.pid, 0)


def test_a_program_that_is_not_there_is_told(daemon: Daemon) -> None:
    """The error names the server and the file."""
    with pytest.raises(CommandFailed, match="one could not be started: /no/such"):
        daemon.start(Program("/no/such", ("x",)))


def test_a_broken_pid_file_is_told_and_kills_no_process(daemon: Daemon) -> None:
    """What can't be read is not guessed."""
    pid_file(daemon).write_text('{"pid": 1}')
    with pytest.raises(CommandFailed, match=r"one\.json can't be read"):
        daemon.kill()
    pid_file(daemon).unlink()


@pytest.mark.parametrize("name", ["a,b", "50%", "${x}", "a\\b", "a\nb", "x" * 400])
def test_a_path_that_a_server_can_t_use_is_refused(tmp_path: Path, name: str) -> None:
    """In one line, before anything is written."""
    with pytest.raises(CommandFailed, match="path of"):
        Stack(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_with_foreign_files_is_refused(tmp_path: Path) -> None:
    """Neither `up` nor `reset` touches a directory that is no stack's."""
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CommandFailed, match=r"thesis\.txt"):
        Layout(tmp_path).make()
    with pytest.raises(CommandFailed, match="nothing deleted"):
        Stack(tmp_path).reset()
    assert (tmp_path / "thesis.txt").exists()


def test_reset_deletes_its_own_data_and_refuses_strangers_among_it(tmp_path: Path) -> None:
    """A stack's directory goes, unless something was put into it."""
    root = tmp_path / "stack"
    Layout(root).make()
    (root / "stack.json").write_text('{"ports": {}}')
    (root / "mine").touch()
    with pytest.raises(CommandFailed, match="mine"):
        Stack(root).reset()
    (root / "mine").unlink()
    Stack(root).reset()
    assert not root.exists()
    Stack(root).reset()


def test_the_deployment_around_a_stack_is_reset_without_it(tmp_path: Path) -> None:
    """`orders up --reset` in var leaves var/stack alone."""
    deployment = DataDir(tmp_path)
    deployment.make()
    (tmp_path / "stack").mkdir()
    deployment.reset()
    assert [path.name for path in tmp_path.iterdir()] == ["stack"]
