"""`orders demo --real`, and `up --real` with all that goes with it, as a person runs them."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ops.plan import free_port_base
from ops.stack import Stack
from ops.supervisor import is_alive

pytestmark = [pytest.mark.in_turn, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]


def orders(*words: str, stack: str = "") -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORDERS_")}
    if stack:
        environment["ORDERS_STACK_DIR"] = stack
    command = [sys.executable, "-m", "ops", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, check=False, cwd=ROOT, env=environment)


@pytest.fixture
def shared() -> Stack:
    """Return the stack that ORDERS_TEST_STACK names; it runs."""
    return Stack(Path(os.environ["ORDERS_TEST_STACK"]))


def test_the_demo_on_a_stack_that_runs_leaves_it_as_it_was(shared: Stack) -> None:
    """It tells everything to the end, on a share of its own, and stops nothing that it did not start."""
    before = [server.pid for server in shared.status().servers]
    done = orders("demo", "--real", "--port-base", str(free_port_base()), stack=str(shared.layout.root))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    for told in ("killed by SIGKILL", "check-back(s) the rollback was delivered", "every invariant holds"):
        assert told in done.stdout
    assert [server.pid for server in shared.status().servers] == before


def test_the_demo_brings_its_own_stack_and_takes_it_away(tmp_path: Path) -> None:
    """Where none runs: nothing of it runs afterwards, and no temporary directory stays."""
    before = set(Path(tempfile.gettempdir()).glob("orders-demo-*"))
    done = orders("demo", "--real", "--port-base", str(free_port_base()), stack=str(tmp_path / "none"))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "Starting namesrv" in done.stdout
    assert "Everything held" in done.stdout
    assert set(Path(tempfile.gettempdir()).glob("orders-demo-*")) <= before


def test_the_flash_demo_kills_a_redis_of_its_own(shared: Stack) -> None:
    """It is killed in the middle of the sale, and exactly what there is is sold; a stack that runs is left alone."""
    before = [server.pid for server in shared.status().servers]
    words = ("--flash", "--real", "--buyers", "400", "--pieces", "40")
    done = orders("demo", *words, "--port-base", str(free_port_base()), stack=str(shared.layout.root))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    for told in ("Redis was killed when 20 buyers had their 202", "exactly 40 are sold", "every invariant holds"):
        assert told in done.stdout
    assert [server.pid for server in shared.status().servers] == before


def test_up_real_until_down_all(tmp_path: Path) -> None:
    """Servers start with the services, are shown, outlive them, and stop with `down --all`; `--reset` empties them."""
    where = ("--data-dir", str(tmp_path / "var"))
    up = ("up", "--real", "--detach", "--port-base", str(free_port_base()), "--order", "2", *where)
    try:
        done = orders(*up)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Servers: RocketMQ 127.0.0.1:" in done.stdout
        told = orders("status", "--json", *where).stdout
        status = json.loads(told)
        assert status["ready"]
        assert {server["state"] for server in status["servers"]["servers"]} == {"ready"}
        assert "mysql" not in told
        assert orders("reconcile", *where).returncode == 0
        down = orders("down", *where)
        assert "Its servers run on; stop them with: " in down.stdout
        assert Stack(tmp_path / "var" / "stack").runs()
        goods = orders(*up, "--reset")
        assert "Ready, in" in goods.stdout
    finally:
        stopped = orders("down", "--all", *where)
    assert "are stopped" in stopped.stdout
    pids = [status["supervisor"], *(server["pid"] for server in status["servers"]["servers"])]
    assert not any(is_alive(pid) for pid in pids)
    assert not Stack(tmp_path / "var" / "stack").runs()
    assert "do not run" in orders("status", *where).stdout
