"""Data directories that were copied or moved: nothing that runs for another directory is taken for one's own."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from ops import real, runstate
from ops.belonging import Home, belongs
from ops.cli import main
from ops.deployment import Deployment
from ops.errors import AlreadyRunning, CommandFailed, CopiedDeployment, NoDeployment
from ops.places import DataDir
from ops.plan import Plan, Servers
from ops.stack import Stack, plan
from ops.stack.daemons import Daemon
from ops.stack.settings import SERVERS
from ops.status import look
from ops.supervisor import Supervisor, is_alive
from tests.support import eventually
from tests.unit.test_stack_daemons import program
from tests.unit.test_supervisor import NOTES_ITS_END, PATIENCE, spec


@contextmanager
def supervised(root: Path) -> Iterator[Supervisor]:
    """Run stand-ins for a deployment's services in a data directory, with its state file."""
    DataDir(root).make()
    names = list(Plan().processes)
    supervisor = Supervisor(
        root,
        [spec(name, NOTES_ITS_END, str(root / "notes")) for name in names],
        is_ready=lambda _: True,
        settings=Plan().as_settings(),
        say=lambda _: None,
        patience=PATIENCE,
    )
    supervisor.start()
    supervisor.wait_ready(within=20)
    try:
        yield supervisor
    finally:
        supervisor.stop()


def copied(root: Path, to: Path) -> Path:
    def copy() -> bool:
        """Copy all; a draft of the state that is renamed meanwhile has cp fail, and is no part of a copy."""
        shutil.rmtree(to, ignore_errors=True)
        return subprocess.run(["cp", "-a", str(root), str(to)], check=False).returncode == 0

    eventually(copy)
    return to


def down(root: Path, *words: str) -> str:
    """Run `orders down`; return what it says."""
    done = CliRunner().invoke(main, ["down", "--data-dir", str(root), *words])
    assert done.exit_code == 0, done.output
    return done.stdout


def _is_removed(directory: Path) -> bool:
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


def test_a_process_belongs_to_the_directory_whose_lock_it_holds_open(tmp_path: Path) -> None:
    """Every process of the original, by whatever path; none of a copy, of a directory restored in its place."""
    root = tmp_path / "one"
    with supervised(root) as supervisor:
        pids = [os.getpid(), *(state.pid or 0 for state in supervisor.states())]
        (tmp_path / "link").symlink_to(root)
        copy = copied(root, tmp_path / "copy")
        moved = root.rename(tmp_path / "moved")
        restored = copied(copy, root)
        for pid in pids:
            assert belongs(pid, moved / "run" / "lock")
            assert not belongs(pid, copy / "run" / "lock")
            assert not belongs(pid, restored / "run" / "lock")
        moved.rename(tmp_path / "away")
        eventually(lambda: _is_removed(root))  # the supervisor still writes its state, at the path that it knows
        (tmp_path / "away").rename(root)
        assert all(belongs(pid, tmp_path / "link" / "run" / "lock") for pid in pids)


def test_a_copy_of_a_running_deployment_runs_nothing_and_stops_nothing(tmp_path: Path) -> None:
    """Status tells nothing of the original's processes, `down` returns at once and leaves them alone."""
    with supervised(tmp_path / "one") as supervisor:
        pids = [state.pid or 0 for state in supervisor.states()]
        copy = copied(tmp_path / "one", tmp_path / "copy")
        found = look(Deployment.find(copy))
        assert not found.running
        assert {(service.state, service.pid) for service in found.services} == {("stopped", None)}
        with pytest.raises(NoDeployment, match="Nothing runs"):
            Deployment.find(copy).client("alice")
        assert "Nothing runs" in down(copy, "--all")
        assert all(map(is_alive, pids))
        assert look(Deployment.find(tmp_path / "one")).supervisor == os.getpid()
        state = runstate.load(DataDir(copy).state_file)
        assert state is not None
        assert state.supervisor is None


def test_a_pid_in_a_copied_lock_is_never_told_as_the_holder(tmp_path: Path) -> None:
    """Between taking the lock and writing its pid the file names another process: `down` would stop that one."""
    place = DataDir(tmp_path)
    place.make()
    holder = place.lock
    holder.acquire()
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as stranger:
        (tmp_path / "run" / "lock").write_text(f"{stranger.pid}\n")
        with pytest.raises(AlreadyRunning, match="not by process"):
            place.lock.holder()
        stranger.kill()
    (tmp_path / "run" / "lock").write_text(f"{os.getpid()}\n")
    assert place.lock.holder() == os.getpid()
    (tmp_path / "run" / "lock").write_text("")
    with pytest.raises(AlreadyRunning):
        place.lock.holder()
    holder.release()


def test_processes_of_a_killed_supervisor_are_told_from_strangers(tmp_path: Path) -> None:
    """A pid in the state file that is another process's by now is not waited for, nor shown."""
    place = DataDir(tmp_path)
    place.make()
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as stranger:
        states = tuple(
            runstate.ProcessState(name, port, runstate.Phase.READY, stranger.pid) for name, port in Plan().ports.items()
        )
        runstate.save(place.state_file, runstate.RunState(stranger.pid, Plan().as_settings(), states))
        assert {service.state for service in look(Deployment.find(tmp_path)).services} == {"stopped"}
        assert "Nothing runs" in down(tmp_path)
        assert stranger.poll() is None
        stranger.kill()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Return a stack whose servers are stand-ins that wait."""
    stack = made(tmp_path / "one")
    yield stack
    for root in tmp_path.iterdir():
        if not root.is_symlink():
            for name in SERVERS:
                Daemon(name, root).kill()


def made(root: Path) -> Stack:
    found = Stack(root, say=lambda _: None)
    found.layout.make()
    plan.save(found.layout.plan_file, plan.new_plan(0))
    for daemon in found._daemons.values():
        daemon.start(program())
        eventually(lambda daemon=daemon: "up" in daemon.log.read_text())
    return found


def test_a_copied_stack_runs_nothing_and_stops_nothing(stack: Stack, tmp_path: Path) -> None:
    """Neither `down`, `kill`, `stop` nor `reset` of the copy hit a server of the original; its status says why."""
    copy = Stack(copied(stack.layout.root, tmp_path / "copy"))
    assert stack.runs(all_of_it=True)
    assert not copy.runs()
    assert {(server.state, server.pid) for server in copy.status().servers} == {("stopped", None)}
    assert "another directory's" in str(copy.status().servers[0].reason)
    assert copy.kill("redis") is None
    copy.signal("redis", signal.SIGKILL)
    copy.stop("redis")
    copy.down()
    copy.reset()
    assert stack.runs(all_of_it=True)


def test_a_copied_stack_is_told_to_take_other_ports(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ports are the original's: the error says so, and which command gives it ports of its own."""
    copy = Stack(copied(stack.layout.root, tmp_path / "copy"))
    monkeypatch.setattr(copy, "_ensure_programs", lambda _: None)
    monkeypatch.setattr("ops.stack.stack.plans.is_free", lambda _: False)
    with pytest.raises(CommandFailed, match=r"a copy of.*--port-base 0"):
        copy.up()


def test_a_moved_stack_is_stopped_before_it_is_started_again(stack: Stack, tmp_path: Path) -> None:
    """What it runs is its own wherever it is now, but writes to where it was; a symlink to it is no move."""
    (tmp_path / "link").symlink_to(stack.layout.root)
    assert Stack(tmp_path / "link").runs(all_of_it=True)
    Stack(tmp_path / "link")._refuse_moved()
    moved = Stack(stack.layout.root.rename(tmp_path / "moved"))
    assert moved.runs(all_of_it=True)
    assert "was moved" in str(moved.status().servers[0].reason)
    with pytest.raises(CommandFailed, match=r"was moved.*down"):
        moved.up()
    moved.down()
    assert not moved.runs()


def test_servers_that_an_earlier_release_started_are_still_found(stack: Stack) -> None:
    """They had only their log open: an upgrade does not leave them running unseen."""
    code = "import os, signal; os.close(3); print('up', flush=True); signal.pause()"
    daemon = stack._daemons["redis"]
    daemon.kill()
    daemon.start(program(code))
    eventually(lambda: daemon.log.read_text().endswith("up\n"))
    assert daemon.running()


def deployed(root: Path, servers: Servers) -> Path:
    """Write the state of a deployment on real servers."""
    DataDir(root).make()
    settings = Plan(servers=servers).as_settings()
    runstate.save(DataDir(root).state_file, runstate.RunState(None, settings, (), Home.of(root)))
    return root


def test_a_deployment_finds_its_own_stack_where_it_was_moved_or_copied_to(tmp_path: Path) -> None:
    """And uses it only if it runs from there: its ports may be the original's by now."""
    root = tmp_path / "one"
    DataDir(root).make()
    original = made(root / "stack")
    try:
        deployed(root, real.tenant.servers(original))
        assert Deployment.find(root).database_url("order") == original.urls()["ORDER_DATABASE_URL"]
        copy = copied(root, tmp_path / "copy")
        servers = Deployment.find(copy).plan.servers
        assert servers is not None
        assert servers.stack == str(copy / "stack")
        for use in (
            lambda found: found.database_url("order"),
            lambda found: found.open_broker(),
            lambda found: found.migrate(),
            lambda found: found.open_console().__enter__(),
        ):
            with pytest.raises(NoDeployment, match="do not run"):
                use(Deployment.find(copy))
        assert "are stopped" in down(copy, "--all")
        assert original.runs(all_of_it=True)
    finally:
        for name in SERVERS:
            Daemon(name, root / "stack").kill()
    moved = Deployment.find(root.rename(tmp_path / "moved")).plan.servers
    assert moved is not None
    assert moved.stack == str(tmp_path / "moved" / "stack")


def test_a_copy_has_no_share_of_the_original_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a common stack the data is on servers: a moved directory keeps its share, a copy gets one of its own."""
    common = tmp_path / "common"
    monkeypatch.setenv(real.STACK_DIR, str(common))
    root = tmp_path / "one"
    DataDir(root).make()
    name = real.share(root)
    deployed(root, Servers(f"rocketmq://127.0.0.1:1?prefix={name}", {}, "", str(common)))
    (tmp_path / "link").symlink_to(root)
    assert real.share(tmp_path / "link") == name
    copy = copied(root, tmp_path / "copy")
    assert real.share(copy) != name
    with pytest.raises(CopiedDeployment, match=r"is a copy of .*one.*up --real"):
        Deployment.find(copy)
    assert "Nothing runs" in down(copy, "--all")
    moved = root.rename(tmp_path / "moved")
    assert real.share(moved) == name
    assert Deployment.find(moved).plan.servers == Deployment.find(tmp_path / "moved").plan.servers
    DataDir(root).make()
    assert real.share(root) != name


def test_a_state_file_of_an_earlier_release_is_taken_as_it_is(tmp_path: Path) -> None:
    """It does not tell of which directory it is."""
    place = DataDir(tmp_path)
    place.make()
    runstate.save(place.state_file, runstate.RunState(None, Plan().as_settings()))
    told = json.loads(place.state_file.read_text())
    del told["home"]
    place.state_file.write_text(json.dumps(told))
    assert Deployment.find(tmp_path).plan == Plan()


def test_a_directory_is_the_same_after_a_boot_that_renamed_its_file_system(tmp_path: Path) -> None:
    """The number of a file system may change then; in the same boot another number is another directory."""
    home = Home.of(tmp_path)
    assert home.is_at(tmp_path)
    assert not replace(home, device=home.device + 1).is_at(tmp_path)
    assert replace(home, device=home.device + 1, boot="before").is_at(tmp_path)
    assert not replace(home, inode=home.inode + 1).is_at(tmp_path)
    assert not home.is_at(tmp_path / "missing")
