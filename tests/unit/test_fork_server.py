"""Processes that a fork server starts: as they would be by themselves, told of as children are."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from common.fork_server import LARGEST
from ops.child import Patience, our_service
from ops.forking import Forked, ForkServer, NoForkServer
from ops.places import PACKAGES
from ops.supervisor import Supervisor, is_alive
from tests import support

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfd_open(2), which Linux has")

# What `python -m common.fork_server` does, with a service that tells how it is and then does as it is told.
PROGRAM = """
import atexit, json, os, signal, socket, sys, time
from common.fork_server import serve
service = serve(socket.socket(fileno=int(sys.argv[1])))
if service is not None:
    atexit.register(lambda: print("at exit", flush=True))
    descriptors = {int(n) for n in os.listdir("/proc/self/fd")}
    title = open("/proc/self/cmdline").read().rstrip(chr(0))
    told = {"service": service, "environment": dict(os.environ), "directory": os.getcwd(), "title": title,
            "leads": os.getsid(0) == os.getpid(), "files": {n: os.readlink(f"/proc/self/fd/{n}")
            for n in sorted(descriptors) if os.path.exists(f"/proc/self/fd/{n}")}}
    print(json.dumps(told), flush=True)
    exec(os.environ["DO"])
"""
PAUSE = "signal.pause()"
_WITHIN = 30.0  # seconds that a process may take on a busy machine
eventually = partial(support.eventually, within=_WITHIN)


def server_of(directory: Path, program: str = PROGRAM) -> ForkServer:
    file = directory / "program.py"
    file.write_text(program)
    return ForkServer(sys.executable, str(file))


class Stand:
    """A fork server with a log, a lifeline and a mark for what it starts."""

    def __init__(self, directory: Path) -> None:
        self.server = server_of(directory)
        self.log = directory / "log"
        self.mark = directory / "mark"
        self.mark.touch()
        self.environment = {**os.environ, "TOY": "1"}
        self.lifeline, self._kept_open = os.pipe()
        self.started: list[Forked] = []

    def start(self, do: str, *modules: str, **more: str) -> Forked:
        descriptors = [os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), os.open(self.mark, os.O_RDONLY)]
        try:
            forked = self.server.spawn(
                "toy",
                {**self.environment, "DO": do, **more},
                modules,
                log=descriptors[0],
                lifeline=self.lifeline,
                mark=descriptors[1],
            )
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self.started.append(forked)
        return forked

    def told(self) -> dict[str, Any]:
        """Return what the first one told of itself."""
        line = eventually(lambda: self.log.exists() and self.log.read_text().partition("\n")[0])
        return dict(json.loads(str(line)))

    @property
    def pid(self) -> int:
        assert self.server._process is not None
        return self.server._process.pid

    def close(self) -> None:
        for forked in self.started:
            forked.kill()
        os.close(self.lifeline)
        os.close(self._kept_open)
        self.server._close()


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    """Make one; what it started ends with it."""
    made = Stand(tmp_path)
    yield made
    made.close()


def test_it_is_as_if_started_by_itself(stand: Stand) -> None:
    """With its own environment, directory, session and title, its output in its log, and no descriptor but its own."""
    forked = stand.start(PAUSE)
    told = stand.told()
    lifeline = told["environment"].pop("ORDERS_LIFELINE_FD")
    assert told["environment"] == {**stand.environment, "DO": PAUSE}
    assert told["directory"] == str(PACKAGES)
    assert told["leads"]
    assert told["title"] == f"{sys.executable} -m toy"
    files = told["files"]
    log, mark = str(stand.log), str(stand.mark)
    assert [files.pop(one) for one in "012"] == [os.devnull, log, log]
    assert files.pop(lifeline) == str(Path(f"/proc/self/fd/{stand.lifeline}").readlink())
    assert list(files.values()) == [mark]
    assert is_alive(forked.pid)


@pytest.mark.parametrize(
    ("do", "code", "last"),
    [
        ("pass", 0, "at exit"),
        ("sys.exit(3)", 3, "at exit"),
        ("sys.exit('why')", 1, "at exit"),
        ("1 / 0", 1, "at exit"),
        ("os._exit(7)", 7, None),
        ("os.kill(os.getpid(), signal.SIGKILL)", -9, None),
    ],
)
def test_how_it_ended_is_told(stand: Stand, do: str, code: int, last: str | None) -> None:
    """Its exit code, or the signal that killed it; one that ends by itself ends as Python does."""
    assert stand.start(do).wait() == code
    lines = stand.log.read_text().splitlines()
    assert (lines[-1] == last) if last else len(lines) == 1
    assert ("ZeroDivisionError: division by zero" in lines) is (do == "1 / 0")
    assert ("why" in lines) is ("why" in do)


def test_signals(stand: Stand) -> None:
    """They reach it while it lives, and no process once it ended, whichever has its pid by then."""
    asked = stand.start("signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); print('listens', flush=True); " + PAUSE)
    eventually(lambda: "listens" in stand.log.read_text() if stand.log.exists() else False)
    asked.terminate()
    assert asked.wait() == 5
    asked.pid = os.getpid()
    asked.kill()
    killed = stand.start(PAUSE)
    killed.kill()
    assert killed.wait() == -9


def test_many_at_once(stand: Stand) -> None:
    """Threads may start processes together, and each is told of its own; nothing is left of those that ended."""
    stand.start("pass").wait()
    before = _open_files(stand.pid), _open_files(os.getpid()) + 10  # tests before may have left some, or close some
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda n: stand.start(f"sys.exit({n})").wait(), range(40)))
    assert codes == list(range(40))
    eventually(lambda: _open_files(stand.pid) <= before[0] and _open_files(os.getpid()) < before[1])


def _open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - counted


def test_modules_are_loaded_before_the_fork(stand: Stand) -> None:
    """Once for all; one that is not there is missed by the service alone."""
    do = "sys.exit(10 * ('colorsys' in sys.modules) + ('fractions' in sys.modules))"
    codes = [
        stand.start(do, *modules).wait()
        for modules in ((), ("colorsys", "not_there"), (), ("fractions",), ("colorsys",))
    ]
    assert codes == [0, 10, 10, 11, 11]


def test_a_variable_that_is_read_at_the_start_of_an_interpreter(stand: Stand) -> None:
    """Such as LD_PRELOAD: a fork would come too late for it, and is refused."""
    for name in ("LD_PRELOAD", "PYTHONPATH", "PROMETHEUS_MULTIPROC_DIR", "_RJEM_MALLOC_CONF"):
        with pytest.raises(NoForkServer, match="would be read too late"):
            stand.start(PAUSE, **{name: "new"})
    assert stand.start("pass").wait() == 0


def test_an_environment_without_bound(stand: Stand) -> None:
    """What is larger than a request may be is refused, and the next one is started all the same."""
    with pytest.raises(NoForkServer, match=f"at most {LARGEST} can be handed over"):
        stand.start(PAUSE, LARGE="x" * LARGEST)
    assert stand.start("pass").wait() == 0


def test_processes_outlive_it(stand: Stand) -> None:
    """Killed, it takes nothing with it: their end is noticed all the same, and the next start begins another one."""
    stand.start("pass").wait()
    forked, first = stand.start(PAUSE), stand.pid
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not is_alive(first))
    assert is_alive(forked.pid)
    forked.kill()
    assert forked.wait() is None
    with pytest.raises(NoForkServer, match=r"ended|does not answer"):
        stand.start("pass")
    assert stand.start("sys.exit(4)").wait() == 4
    assert stand.pid != first


def test_one_that_can_t_load_is_tried_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Its error is seen, once, and no start waits for it again."""
    stand = Stand(tmp_path)
    stand.server = server_of(tmp_path, "raise SystemExit('a broken module')")
    for words in ("ended|does not answer", "ended before it started anything", "ended before it started anything"):
        with pytest.raises(NoForkServer, match=words):
            stand.start("pass")
    stand.close()
    assert capfd.readouterr().err == "a broken module\n"


def test_it_ends_with_its_owner() -> None:
    """Also where that is killed."""
    program = (
        "import sys, time; from ops.forking import ForkServer;"
        "server = ForkServer(sys.executable, '-c', sys.argv[1]); server.warm_up();"
        "print(server._process.pid, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", program, PROGRAM], cwd=PACKAGES, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.communicate()
    eventually(lambda: not is_alive(pid))


def test_a_fork_of_its_owner_has_one_of_its_own(stand: Stand) -> None:
    """Two processes that ask on one socket would get each other's answers."""
    stand.start("pass").wait()
    channel = stand.server._channel
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            stand.started.clear()
            code = stand.start("sys.exit(6)").wait() or 0
            stand.server._process.kill()  # type: ignore[union-attr]
        finally:
            os._exit(code + 10 * (stand.server._channel is channel))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 6
    assert stand.start("sys.exit(8)").wait() == 8


@pytest.mark.parametrize(("variables", "forks"), [({}, True), ({"LD_PRELOAD": ""}, False)])
def test_a_supervisor_starts_services_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], forks: bool
) -> None:
    """And again when they die; by themselves where a fork can't be."""
    monkeypatch.setattr("ops.child.OURS", server := server_of(tmp_path))
    said: list[str] = []
    environment = {"DO": "print('up', flush=True); " + PAUSE, **variables}
    spec = our_service("toy-2", "toy", environment, 0)
    log = tmp_path / "log" / "toy-2.log"
    supervisor = Supervisor(
        tmp_path,
        [spec],
        is_ready=lambda _: log.read_text().endswith("up\n"),
        say=said.append,
        patience=Patience(restart_first_after=0.01, probe_every=0.01),
    )
    supervisor.start()
    try:
        if not forks:  # there is no package `toy`
            eventually(lambda: "No module named toy" in log.read_text() if log.exists() else False)
            assert "ended with exit code 1" in eventually(lambda: said[0] if said else "")
            return
        supervisor.wait_ready(within=_WITHIN)
        first = supervisor.pid("toy-2")
        assert first is not None
        supervisor.kill("toy-2", signal.SIGKILL)
        supervisor.wait_gone(first)
        supervisor.wait_ready(within=_WITHIN)
        assert said[0].startswith(f"toy-2 (pid {first}) was killed by SIGKILL; ")
        assert supervisor.pid("toy-2") not in {first, None}
    finally:
        supervisor.stop()
        server._close()


def test_what_services_are_made_of_starts_no_thread() -> None:
    """A fork copies none but the one that forks, and each lock as it was; so the services' own packages are loaded."""
    program = """
import os, threading
from importlib import import_module
from importlib.util import find_spec
from common.registry import ALL_NAMES
from common.start import load
from ops.deployment import WITH_SERVERS
for name in ALL_NAMES: load(name)
if find_spec("rocketmq"): [import_module(name) for name in WITH_SERVERS]
print(len(os.listdir("/proc/self/task")), threading.active_count())
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=PACKAGES, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]
