"""Starts services by fork(2): a process that has loaded what they are made of, and is copied for each of them.

Loading is two thirds of what a start costs, and the same each time; a copy shares the memory of what was loaded, too.

`python -m common.fork_server SERVICE... FD` loads the packages, then takes requests from the socket FD (AF_UNIX,
SOCK_SEQPACKET), each one datagram: a `Request` as JSON, with four descriptors, for the service's log, for the pipe to
which its status goes when it ended (as of waitpid(2), in 4 bytes), its lifeline (`common.lifeline`), and one that it
only holds open. The answer is its pid, with a pidfd: that stays this process's when another gets the pid later
(pidfd_open(2)). A fork that failed is answered by its errno, as a negative number.

It has one thread, as a fork copies only the one that calls it, and ends when the other end of the socket is closed.
"""

import gc
import json
import os
import selectors
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import Final, Self

from setproctitle import getproctitle, setproctitle

from common import lifeline
from common.start import load, start

LARGEST: Final = 128 * 1024  # bytes of a request; the kernel takes 200 KiB (net.core.wmem_default)
STATUS: Final = 4  # bytes
DESCRIPTORS: Final = 4


@dataclass(frozen=True, slots=True)
class Request:
    """What to start: a service, with exactly these variables of the environment, in a directory.

    `modules` are loaded first, and from then on for all: what services on servers need. One that is not there is left
    to the service to miss, in its own words.
    """

    service: str
    environment: Mapping[str, str] = field(repr=False)
    directory: str
    modules: Sequence[str] = ()

    def encode(self) -> bytes:
        """Return it as it is sent. Raise `ValueError`: it is larger than `LARGEST`."""
        data = json.dumps(asdict(self)).encode()
        if len(data) > LARGEST:
            raise ValueError(f"an environment of {len(data)} bytes; at most {LARGEST} can be handed over")
        return data

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return what `encode` made."""
        return cls(**json.loads(data))


def serve(channel: socket.socket) -> str | None:
    """Start what is asked for. Return None at the end; in each process that was started: which service it is to be."""
    getproctitle()  # looks for the place of a title, which it does not find once the environment was replaced
    children: dict[int, tuple[int, int]] = {}  # pid and the pipe for its status, by pidfd
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd in children:
                    selector.unregister(key.fd)
                    _tell_end(key.fd, *children.pop(key.fd))
                    continue
                data, descriptors, _, _ = socket.recv_fds(channel, LARGEST, DESCRIPTORS)
                if not data:
                    return None
                request = Request.decode(data)
                _load(request.modules)
                pid = _fork(channel)
                if pid == 0:
                    selector.close()
                    channel.close()
                    for pidfd, (_, pipe) in children.items():
                        os.close(pidfd)
                        os.close(pipe)
                    return _become(request, descriptors)
                log, pipe, *others = descriptors
                for descriptor in (log, *others):
                    os.close(descriptor)
                if pid > 0:
                    pidfd = os.pidfd_open(pid)
                    children[pidfd] = (pid, pipe)
                    selector.register(pidfd, selectors.EVENT_READ)
                    socket.send_fds(channel, [b"%d" % pid], [pidfd])
                else:
                    os.close(pipe)


def _load(modules: Sequence[str]) -> None:
    missing = [module for module in modules if module not in sys.modules]
    for module in missing:
        with suppress(ImportError):
            import_module(module)
    if missing:
        gc.freeze()  # as `load` does


def _fork(channel: socket.socket) -> int:
    """Return what fork(2) does; -1 where it failed, which is answered."""
    try:
        return os.fork()
    except OSError as error:
        channel.send(b"%d" % -(error.errno or 1))
        return -1


def _tell_end(pidfd: int, pid: int, pipe: int) -> None:
    _, status = os.waitpid(pid, 0)
    os.close(pidfd)
    try:
        os.write(pipe, status.to_bytes(STATUS, "little"))
    except BrokenPipeError:
        pass  # the other end no longer wants to know
    finally:
        os.close(pipe)


def _become(request: Request, descriptors: Sequence[int]) -> str:
    """Be a process as `python -m SERVICE` is after its imports. Return the service."""
    log, pipe, line, _held = descriptors
    os.setsid()
    os.chdir(request.directory)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    os.close(pipe)
    os.environ.clear()
    os.environ.update({**request.environment, lifeline.VARIABLE: str(line)})
    sys.argv = [request.service]
    setproctitle(f"{sys.executable} -m {request.service}")  # as ps, top and pgrep -f show it
    return request.service


def _main() -> None:
    *services, descriptor = sys.argv[1:]
    for service in services:
        load(service)
    if threading.active_count() > 1:
        sys.exit(f"loading {', '.join(services)} started threads, which a fork does not copy: {threading.enumerate()}")
    channel = socket.socket(fileno=int(descriptor))
    channel.set_inheritable(False)
    if (started := serve(channel)) is not None:
        start(started)


if __name__ == "__main__":
    _main()
