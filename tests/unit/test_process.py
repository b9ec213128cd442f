"""The edge of a service process."""

import os
import subprocess
import sys

_PROGRAM = """
import gc
from types import SimpleNamespace
from common import process

process.serve = lambda *_, **__: print(gc.get_freeze_count(), len(gc.get_objects()))
process.run("goods", lambda _: process.Service(SimpleNamespace(app=None), start=[], stop=[]))
"""


def test_what_is_there_when_serving_begins_is_not_looked_at_again() -> None:
    """Modules and what was wired live as long as the process: the garbage collector is to leave them alone."""
    needed = {"ORDERS_PORT": "1", "ORDERS_JWT_SECRET": "s" * 32, "ORDERS_DATABASE_URL": "sqlite://"}
    told = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=os.environ | needed, check=True, capture_output=True, text=True
    ).stdout
    frozen, looked_at = map(int, told.split())
    assert frozen > 10_000 > looked_at
