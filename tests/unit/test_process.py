"""The edge of a service process."""

import os
import subprocess
import sys

import pytest

from common.process import run

_PROGRAM = """
import gc
from types import SimpleNamespace
from common import process

process.serve = lambda *_, **__: print(gc.get_freeze_count(), len(gc.get_objects()))
api = SimpleNamespace(
    app=None, bodies=SimpleNamespace(cut_overdue=None), ending=SimpleNamespace(set=None),
    verifier=SimpleNamespace(keys=None),
)
process.run("goods", lambda _: process.Service(api, start=[], stop=[]))
"""


def test_what_is_there_when_serving_begins_is_not_looked_at_again() -> None:
    """Modules and what was wired live as long as the process: the garbage collector is to leave them alone."""
    needed = {"ORDERS_PORT": "1", "ORDERS_JWT_SECRET": "s" * 32, "ORDERS_DATABASE_URL": "sqlite://"}
    told = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=os.environ | needed, check=True, capture_output=True, text=True
    ).stdout
    frozen, looked_at = map(int, told.split())
    assert frozen > 10_000 > looked_at


_ALLOCATOR = """
import os, sys

class Watch:
    def find_spec(self, name, *_):
        if name == "granian._granian":
            print(os.environ.get("_RJEM_MALLOC_CONF"))

sys.meta_path.insert(0, Watch())
import common.process
"""


@pytest.mark.parametrize(("told", "used"), [({}, "narenas:1,tcache:false"), ({"_RJEM_MALLOC_CONF": "x:1"}, "x:1")])
def test_the_servers_allocator_keeps_no_cache_for_each_thread(told: dict[str, str], used: str) -> None:
    """It reads its settings when it is loaded; the process that runs the service may have others."""
    without = {name: value for name, value in os.environ.items() if name != "_RJEM_MALLOC_CONF"}
    program = [sys.executable, "-c", _ALLOCATOR]
    seen = subprocess.run(program, env=without | told, check=True, capture_output=True, text=True).stdout
    assert seen.strip() == used


def test_the_allocator_understands_its_settings() -> None:
    """A name that it does not know (any more) it says, on stderr, and goes on without."""
    settings = {"_RJEM_MALLOC_CONF": "confirm_conf:true,narenas:1,tcache:false"}
    program = [sys.executable, "-c", "import granian._granian"]
    told = subprocess.run(program, env=os.environ | settings, check=True, capture_output=True, text=True).stderr
    assert "narenas:1" in told
    assert "Invalid conf" not in told


def test_what_contradicts_itself_for_one_service_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before anything is built."""
    for name, value in {"PORT": "8002", "JWT_SECRET": "s" * 32, "DATABASE_URL": "sqlite://"}.items():
        monkeypatch.setenv(f"ORDERS_{name}", value)
    with pytest.raises(SystemExit, match="order: can't start: ORDERS_PORT=8002 is where ORDERS_STOCK_URL is"):
        run("order", lambda _: pytest.fail("built"))
