"""Starts processes by a fork server (`common.fork_server`): in a third of the time that one of its own would load in.

One fork server belongs to this process, whatever it supervises, and ends with it.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from common.fork_server import STATUS, Request
from common.registry import ALL_NAMES
from ops.places import PACKAGES

_WITHIN: Final = 60.0  # seconds for an answer; loading takes one, 25 where ten others want the processor
_READ_AT_START: Final = ("PYTHON", "LD_", "MALLOC", "_RJEM", "GLIBC_", "COVERAGE", "COV_CORE", "PROMETHEUS_")
"""Beginnings of variables that the interpreter, its loader or a library reads once, when it is loaded."""


class NoForkServer(Exception):
    """No process could be started by a fork server: none was started."""


class Forked:
    """A process that a fork server started. It is used as a `subprocess.Popen` is."""

    def __init__(self, pid: int, pidfd: int, status: int) -> None:
        """Take its pid, its pidfd, and the pipe in which its status will be."""
        self.pid = pid
        self._pidfd, self._status = pidfd, status
        self._guard = threading.Lock()

    def wait(self) -> int | None:
        """Return its exit code once it ended, -N for signal N; None: the fork server died first. To be called once."""
        data = os.read(self._status, STATUS)
        if not data:
            select.select([self._pidfd], [], [])  # it outlives its fork server
        with self._guard:
            os.close(self._status)
            os.close(self._pidfd)
            self._pidfd = -1
        return os.waitstatus_to_exitcode(int.from_bytes(data, "little")) if data else None

    def send_signal(self, signum: int) -> None:
        """Send it a signal, if it has not ended."""
        with self._guard, suppress(ProcessLookupError):
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, signum)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """Starts services; the process for it starts with the first, or with `warm_up`. Threads may share it."""

    def __init__(self, *command: str) -> None:
        """Take its command, to which the descriptor is added that it takes requests from; nothing runs yet."""
        self._command = command
        self._guard = threading.Lock()
        self._answered = True
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._early: Mapping[str, str] = {}
        self._owner = 0

    def warm_up(self) -> None:
        """Have it load what services are made of, while we do something else."""
        with self._guard, suppress(NoForkServer):
            self._connected()

    def spawn(
        self,
        service: str,
        environment: Mapping[str, str],
        modules: Sequence[str] = (),
        *,
        log: int,
        lifeline: int,
        mark: int,
    ) -> Forked:
        """Start a service with exactly these variables; `modules` and the descriptors are as in `common.fork_server`.

        Raise `NoForkServer`.
        """
        try:
            request = Request(service, environment, str(PACKAGES), modules).encode()
        except ValueError as error:
            raise NoForkServer(str(error)) from error
        status, told = os.pipe()
        try:
            pid, pidfd = self._start(request, _early(environment), [log, told, lifeline, mark])
        except BaseException:
            os.close(status)
            raise
        finally:
            os.close(told)
        return Forked(pid, pidfd, status)

    def _start(self, request: bytes, early: Mapping[str, str], descriptors: list[int]) -> tuple[int, int]:
        with self._guard:
            channel = self._connected()
            if early != self._early:
                raise NoForkServer("some of its variables would be read too late")
            return self._ask(channel, request, descriptors)

    def _ask(self, channel: socket.socket, request: bytes, descriptors: list[int]) -> tuple[int, int]:
        try:
            socket.send_fds(channel, [request], descriptors)
            data, pidfds, _, _ = socket.recv_fds(channel, 64, 1)
        except OSError as error:
            self._close()
            raise NoForkServer(f"the fork server does not answer ({error})") from error
        if not data:
            self._close()
            raise NoForkServer("the fork server ended")
        self._answered = True
        if not pidfds:
            raise NoForkServer(f"the fork server can't fork: {os.strerror(-int(data))}")
        return int(data), pidfds[0]

    def _connected(self) -> socket.socket:
        if self._channel is not None and self._owner == os.getpid():
            return self._channel
        if not _possible():
            raise NoForkServer("this system has no pidfd")
        if not self._answered:
            raise NoForkServer("the last one ended before it started anything")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_WITHIN)
        with theirs:
            self._process = subprocess.Popen(
                [*self._command, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                cwd=PACKAGES,
                start_new_session=True,  # Ctrl-C at the terminal is the supervisor's to answer
            )
        self._channel, self._owner, self._early, self._answered = ours, os.getpid(), _early(os.environ), False
        return ours

    def _close(self) -> None:
        """Forget the process, and have it end: the next start begins another."""
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._channel = self._process = None


OURS: Final = ForkServer(sys.executable, "-m", "common.fork_server", *ALL_NAMES)
"""This process's."""


def _early(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_AT_START)}


def _possible() -> bool:
    """Whether this system has what it needs: Linux 5.3 (pidfd_open(2))."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True
