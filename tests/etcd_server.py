"""An etcd of a test's own: killed, stopped and started again as it likes."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

import pytest

from ops.stack import etcd
from ops.stack.plan import free_pair

_WITHIN: Final = 30.0  # seconds, for a start
_HOST: Final = "127.0.0.1"


def etcd_program() -> str:
    """Return etcd's program. Skip where there is none, fail where it must be."""
    if (found := etcd.program()) is None:
        if os.environ.get("CI") == "true" and os.environ.get("ORDERS_REAL") == "1":
            pytest.fail("ORDERS_REAL=1 needs etcd")
        pytest.skip("there is no etcd (orders stack up --etcd fetches it)")
    return found


class EtcdServer:
    """One server, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        """Start it."""
        self._program, self._directory = etcd_program(), directory
        directory.mkdir(parents=True, exist_ok=True)
        self._port = free_pair()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Where it is, as `ORDERS_DISCOVERY` names it."""
        return f"etcd://{_HOST}:{self._port}"

    def start(self) -> None:
        """Start it, with what it had, and wait until it is healthy."""
        command = etcd.arguments(self._directory / "data", _HOST, self._port)
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, executable=self._program, stdout=log, stderr=log)
        deadline = time.monotonic() + _WITHIN
        while etcd.why_not(_HOST, self._port) is not None:
            if time.monotonic() > deadline:
                self.kill()
                pytest.fail((self._directory / "log").read_text())
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Have it accept connections, and answer none."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it answer again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
