"""The clock that drills set: in one process, while it runs, and in no other."""

import os
import subprocess
import sys
import time
from pathlib import Path

from lab.drill.shifted_clock import Clock

_CODE = """
import sys
from halfmessage.clock import now_ms
from time import time
for _ in sys.stdin:
    print(now_ms() / 1000, time(), flush=True)
"""


def test_a_running_process_sees_the_clock_step(tmp_path: Path) -> None:
    """The process that was started with it follows each step, whichever way it reads the time; we do not."""
    clock = Clock(tmp_path / "clock")
    environment = os.environ | clock.environment
    with subprocess.Popen(
        [sys.executable, "-c", _CODE], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for shift in (0.0, -1000.0, 5000.0):
            clock.shift(shift)
            child.stdin.write("\n")
            child.stdin.flush()
            for seen in map(float, child.stdout.readline().split()):
                assert abs(seen - time.time() - shift) < 100


def test_without_a_clock_nothing_is_touched() -> None:
    """Python started with the directory alone, or with neither, has the machine's time."""
    environment = {k: v for k, v in (os.environ | _on_path()).items() if k != "ORDERS_DRILL_CLOCK"}
    code = "import time; print(time.time.__module__ if hasattr(time.time, '__code__') else 'true')"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "true"


def _on_path() -> dict[str, str]:
    return {"PYTHONPATH": str(Path(__file__).parents[2] / "lab" / "drill" / "shifted_clock")}
