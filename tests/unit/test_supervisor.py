"""The supervisor, with small Python processes standing in for the services."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ops.child
from ops.child import Child, Patience, ProcessSpec
from ops.errors import AlreadyRunning, NotInTime
from ops.runstate import Phase, RunLock, load
from ops.supervisor import Supervisor, is_alive
from tests.support import eventually

PATIENCE = Patience(restart_first_after=0.05, restart_longest=0.2, settled_after=0.6, stop_within=0.5, probe_every=0.01)
NOTES_ITS_END = """
import os, signal, sys, time
def end(*_):
    with open(sys.argv[1], "a") as notes: notes.write(os.environ["NAME"] + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("up", os.environ["NAME"], os.environ.get("ONCE", "clean"), flush=True)
signal.pause()
"""
IGNORES_SIGTERM = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
)
DIES_AT_ONCE = "import sys; print('no luck', flush=True); sys.exit(3)"

Make = Callable[..., Supervisor]


def spec(name: str, program: str = NOTES_ITS_END, *arguments: str) -> ProcessSpec:
    return ProcessSpec(name, (sys.executable, "-c", program, *arguments), {"NAME": name}, 0)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def make(tmp_path: Path, said: list[str]) -> Iterator[Make]:
    """Make supervisors of stand-ins, which are ready once they wrote `up` to their log, and stop them in the end."""
    made = []

    def is_ready(process: ProcessSpec) -> bool:
        return b"up" in (tmp_path / "log" / f"{process.name}.log").read_bytes()

    def factory(*specs: ProcessSpec, patience: Patience = PATIENCE) -> Supervisor:
        supervisor = Supervisor(
            tmp_path, specs, is_ready=is_ready, settings={"port_base": 1}, say=said.append, patience=patience
        )
        made.append(supervisor)
        return supervisor

    yield factory
    for supervisor in made:
        supervisor.stop()


def log_of(tmp_path: Path, name: str) -> list[str]:
    return (tmp_path / "log" / f"{name}.log").read_text().splitlines()


def test_a_process_is_gone_once_no_caller_is_told_of_it_any_more(make: Make) -> None:
    """Who waits for the next one to be ready is not to be told that the last one was, though it has ended."""
    supervisor = make(spec("one"))
    supervisor.start()
    supervisor.wait_ready(within=10)
    first = supervisor.pid("one")
    assert first is not None
    with supervisor._children["one"]._now:  # its keeper has seen its end, and can't write it down yet
        supervisor.kill("one", signal.SIGKILL)
        eventually(lambda: not is_alive(first))
        with pytest.raises(NotInTime):
            supervisor.wait_gone(first, within=0.05)
    supervisor.wait_gone(first, within=5)
    supervisor.wait_ready("one", within=10)
    assert supervisor.pid("one") != first


def test_started_processes_get_ready_and_are_told_of_in_the_state_file(make: Make, tmp_path: Path) -> None:
    """Once all are ready, the state file names each with its pid, and the supervisor."""
    supervisor = make(spec("one", NOTES_ITS_END, os.devnull), spec("two", NOTES_ITS_END, os.devnull))
    supervisor.start()
    supervisor.wait_ready(within=10)
    state = eventually(
        lambda: (s := load(tmp_path / "run/state.json")) and {p.state for p in s.processes} == {"ready"} and s
    )
    assert state
    assert state.supervisor == os.getpid()
    assert state.settings == {"port_base": 1}
    assert [(p.name, p.pid) for p in state.processes] == [(n, supervisor.pid(n)) for n in ("one", "two")]


def test_a_process_that_dies_is_started_again_and_said_so(make: Make, said: list[str]) -> None:
    """After kill -9 another process runs, and the console names the signal."""
    supervisor = make(spec("one", NOTES_ITS_END, os.devnull))
    supervisor.start()
    supervisor.wait_ready(within=10)
    first = supervisor.pid("one")
    assert first
    supervisor.kill("one", signal.SIGKILL)
    supervisor.wait_gone(first, within=5)
    second = eventually(lambda: supervisor.pid("one"))
    assert second != first
    supervisor.wait_ready(within=10)
    assert said[0] == f"one (pid {first}) was killed by SIGKILL; starting it again in 0.05 s"
    eventually(lambda: said[1:] == [f"one is ready again (pid {second})"])
    assert supervisor.states()[0].restarts == 1


def test_the_delay_doubles_up_to_its_limit(make: Make, said: list[str]) -> None:
    """A process that dies at every start is started ever more slowly, its exit code said each time."""
    supervisor = make(spec("one", DIES_AT_ONCE))
    supervisor.start()
    eventually(lambda: len(said) >= 4)
    assert [line.split("; ")[1] for line in said[:4]] == [
        f"starting it again in {d} s" for d in ("0.05", "0.1", "0.2", "0.2")
    ]
    assert "ended with exit code 3" in said[0]


def test_the_delay_is_short_again_for_a_process_that_lived_long_enough(make: Make, said: list[str]) -> None:
    """Deaths far apart are not added up."""
    supervisor = make(
        spec("one", NOTES_ITS_END, os.devnull), patience=Patience(restart_first_after=0.05, settled_after=0)
    )
    supervisor.start()
    for deaths in (1, 2):
        supervisor.wait_ready(within=10)
        supervisor.kill("one", signal.SIGKILL)
        eventually(lambda wanted=deaths: sum("SIGKILL" in line for line in said) == wanted)
    assert all("0.05 s" in line for line in said if "SIGKILL" in line)


def test_waiting_for_a_process_that_never_gets_ready_ends_early(make: Make, tmp_path: Path) -> None:
    """Who waits for a process that dies at every start is told soon, with the log's place."""
    supervisor = make(spec("one", DIES_AT_ONCE))
    supervisor.start()
    with pytest.raises(NotInTime, match="ended again and again") as raised:
        supervisor.wait_ready(within=60)
    assert str(tmp_path / "log/one.log") in raised.value.detail


def test_an_environment_for_one_start_is_gone_at_the_next(make: Make, tmp_path: Path) -> None:
    """`restart(extra_env=…)` holds for that start; the start after a death is clean."""
    supervisor = make(spec("one", NOTES_ITS_END, os.devnull))
    supervisor.start()
    supervisor.wait_ready(within=10)
    supervisor.restart("one", extra_env={"ONCE": "armed"})
    eventually(lambda: log_of(tmp_path, "one")[-1] == "up one armed")
    supervisor.kill("one", signal.SIGKILL)
    eventually(lambda: log_of(tmp_path, "one")[-1] == "up one clean" and len(log_of(tmp_path, "one")) == 3)


def test_a_restart_that_was_asked_for_is_not_announced_as_a_death(make: Make, said: list[str]) -> None:
    """Only surprises are said."""
    supervisor = make(spec("one", NOTES_ITS_END, os.devnull))
    supervisor.start()
    supervisor.wait_ready(within=10)
    supervisor.restart("one")
    supervisor.wait_ready(within=10)
    assert not [line for line in said if "starting it again" in line]


def test_stopping_goes_in_order_and_leaves_nothing(make: Make, tmp_path: Path) -> None:
    """Each process ends before the next is asked to, and all are gone, reaped, and told as stopped."""
    notes = tmp_path / "notes"
    supervisor = make(*(spec(name, NOTES_ITS_END, str(notes)) for name in ("order", "stock", "goods")))
    supervisor.start()
    supervisor.wait_ready(within=10)
    pids = [supervisor.pid(name) for name in ("order", "stock", "goods")]
    supervisor.stop()
    assert notes.read_text().split() == ["order", "stock", "goods"]
    assert not any(is_alive(pid) for pid in pids if pid)
    state = load(tmp_path / "run/state.json")
    assert state
    assert state.supervisor is None
    assert {p.state for p in state.processes} == {Phase.STOPPED}


def test_a_process_that_will_not_stop_is_killed_and_said_so(make: Make, said: list[str]) -> None:
    """After `stop_within` seconds SIGTERM becomes SIGKILL."""
    supervisor = make(spec("deaf", IGNORES_SIGTERM))
    supervisor.start()
    supervisor.wait_ready(within=10)
    pid = supervisor.pid("deaf")
    supervisor.stop()
    assert pid
    assert not is_alive(pid)
    assert said == ["deaf did not stop within 0.5 s: killing it"]


def test_nothing_is_started_after_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the stop came while the log was put aside: else it would wait for ever for a process it never saw."""
    child = Child(
        spec("one", "import time; time.sleep(5)"),
        tmp_path / "one.log",
        is_ready=lambda _: True,
        changed=lambda: None,
        say=lambda _: None,
        patience=PATIENCE,
    )
    stops = threading.Thread(target=child.stop, daemon=True)

    def rotate(_: Path) -> None:
        stops.start()
        eventually(lambda: child._retired)

    monkeypatch.setattr(ops.child, "rotate", rotate)
    lifeline = os.pipe()
    child.start(*lifeline)
    stops_in_time = eventually(lambda: stops.ident is not None, within=5)
    stops.join(2)
    for descriptor in lifeline:
        os.close(descriptor)
    assert stops_in_time
    assert not stops.is_alive()
    assert child.state.pid is None
    assert (tmp_path / "one.log").read_bytes() == b""


def test_a_second_supervisor_is_refused(make: Make, tmp_path: Path) -> None:
    """Another supervisor on the same data directory is told the pid of the first, which runs on unharmed."""
    first, second = make(spec("one", NOTES_ITS_END, os.devnull)), make(spec("one", NOTES_ITS_END, os.devnull))
    first.start()
    first.wait_ready(within=10)
    with pytest.raises(AlreadyRunning, match=str(os.getpid())):
        second.start()
    pid = first.pid("one")
    assert pid
    assert is_alive(pid)
    second.stop()
    assert RunLock(tmp_path / "run/lock").holder() == os.getpid()


def test_a_looked_at_lock_is_still_free(tmp_path: Path) -> None:
    """Asking who holds the lock takes nothing away."""
    lock = RunLock(tmp_path / "lock")
    assert lock.holder() is None
    lock.acquire()
    assert lock.holder() == os.getpid()
    lock.release()
    assert lock.holder() is None


SUPERVISES = """
import pathlib, sys
from ops.child import ProcessSpec
from ops.supervisor import Supervisor
program = '''
import os, threading
print("up", flush=True)
os.read(int(os.environ["ORDERS_LIFELINE_FD"]), 1)
'''
data = pathlib.Path(sys.argv[1])
supervisor = Supervisor(
    data,
    [ProcessSpec(n, (sys.executable, "-c", program), {}, 0) for n in ("one", "two")],
    is_ready=lambda spec: b"up" in (data / "log" / f"{spec.name}.log").read_bytes(),
)
supervisor.start()
supervisor.wait_ready(within=10)
print("ready", *(state.pid for state in supervisor.states()), flush=True)
sys.stdin.read()
"""


def test_the_processes_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    """Kill -9 of the supervisor closes the lifeline of each process, and the lock is free again."""
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISES, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout
        word, *pids = supervisor.stdout.readline().split()
        assert word == "ready"
        supervisor.kill()
    eventually(lambda: not any(is_alive(int(pid)) for pid in pids))
    assert RunLock(tmp_path / "run/lock").holder() is None
    assert json.loads((tmp_path / "run/state.json").read_text())["supervisor"] == supervisor.pid


def test_a_large_log_is_put_aside_at_the_next_start(make: Make, tmp_path: Path) -> None:
    """A log of more than 16 MiB becomes `.log.1` when its process starts."""
    log = tmp_path / "log" / "one.log"
    log.parent.mkdir()
    with log.open("wb") as file:
        file.truncate(17 * 1024 * 1024)
    supervisor = make(spec("one", NOTES_ITS_END, os.devnull))
    supervisor.start()
    supervisor.wait_ready(within=10)
    assert log.stat().st_size < 1000
    assert log.with_name("one.log.1").stat().st_size == 17 * 1024 * 1024


def test_a_process_that_is_held_stays_down(make: Make, said: list[str]) -> None:
    """A held process isn't started again when it dies; once it is released it is."""
    supervisor = make(spec("one", NOTES_ITS_END, os.devnull))
    supervisor.start()
    supervisor.wait_ready(within=10)
    first = supervisor.pid("one")
    assert first is not None
    supervisor.hold("one")
    supervisor.kill("one", signal.SIGKILL)
    eventually(lambda: any("not started again" in line for line in said))
    assert supervisor.pid("one") is None
    supervisor.release("one")
    eventually(lambda: supervisor.pid("one") not in {None, first})


def test_a_held_process_can_be_restarted_and_stopped(make: Make, said: list[str]) -> None:
    """A restart that is asked for starts it, and a stop does not wait for a release."""
    supervisor = make(spec("one", NOTES_ITS_END, os.devnull))
    supervisor.start()
    supervisor.wait_ready(within=10)
    supervisor.hold("one")
    supervisor.kill("one", signal.SIGKILL)
    eventually(lambda: any("not started again" in line for line in said))
    supervisor.restart("one")
    supervisor.wait_ready(within=10)
    said.clear()
    supervisor.kill("one", signal.SIGKILL)
    eventually(lambda: any("not started again" in line for line in said))
    supervisor.stop()
    assert supervisor.states()[0].state is Phase.STOPPED
