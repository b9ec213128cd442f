"""Reading bodies: each to its end within a time, whatever its sender does.

granian reads a body on the thread of its request, when it is asked to, and waits for it without an end: a client that
drips, or sends nothing, would hold that thread for as long as it likes. It has no setting for that, and does not tell
which connection a request came on. So they are looked up where the system knows them: the connections of that client to
our port on which nothing was sent since the body was begun. No more is read from them, which granian takes for the end
of the body. Idle ones of that client end with it, as a server may end them at any time, and what it has waited for as
long. Only Linux tells when something was sent (tcp(7), TCP_INFO); elsewhere bodies have no deadline.
"""

import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from flask import Request
from werkzeug.exceptions import ClientDisconnected

from common.errors import Malformed, TooLarge, TooSlow
from halfmessage.errors import Overloaded

LOOK_EVERY: Final = 0.5  # seconds between two looks for bodies that take too long
SLOW_AFTER: Final = 2.0  # seconds; a body that is sent with its head takes none

_WAS_READ: Final = "orders.body_was_read"  # in the WSGI environment: the body has been read to its end
_SINCE_SENT: Final = struct.Struct("=44xI")  # tcpi_last_data_sent of struct tcp_info, milliseconds
_SLACK: Final = 0.5  # seconds: 100 Continue is sent just after a body was begun

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Reading:
    """A body being read: whose, on which port of ours, since when by time.monotonic(), for how many seconds at most."""

    client: str
    port: int
    began: float
    within: float

    @classmethod
    def of(cls, request: Request, within: float) -> "_Reading":
        environ = request.environ
        return cls(environ.get("REMOTE_ADDR", ""), int(environ.get("SERVER_PORT", 0)), time.monotonic(), within)


class Bodies:
    """The bodies of one service. `cut_overdue` is to be called every `LOOK_EVERY` seconds."""

    def __init__(self, *, largest: int, within: float, slow: int) -> None:
        """Read up to `largest` bytes, for up to `within` seconds; for `SLOW_AFTER` while more than `slow` take longer.

        `slow` is how many threads such clients may hold for longer: less than there are. Half as many bodies of
        strangers are read at once, each for `SLOW_AFTER`.
        """
        self._largest = largest
        self._within = within
        self._slow = slow
        self._strangers = threading.BoundedSemaphore(max(1, slow // 2))
        self._under_way: dict[int, _Reading] = {}  # by thread-safe operations of the interpreter alone

    def read_of_stranger(self, request: Request) -> bytes:
        """Return the body of somebody who has shown no token, and so may be anybody.

        Raise as `read` does, or `Overloaded` at once, unread, where as many are read already as may be.
        """
        if not self._strangers.acquire(blocking=False):
            raise Overloaded
        try:
            return self._read(request, self._largest, min(self._within, SLOW_AFTER))
        finally:
            self._strangers.release()

    def read(self, request: Request, *, at_least: int = 0) -> bytes:
        """Return the body, of up to `at_least` bytes whatever else is the largest.

        Raise `TooLarge`, `TooSlow` or `Malformed` (it ended early).
        """
        return self._read(request, max(self._largest, at_least), self._within)

    def _read(self, request: Request, largest: int, within: float) -> bytes:
        length = request.content_length or 0
        if length > largest:
            raise TooLarge
        reading = _Reading.of(request, within)
        self._under_way[id(reading)] = reading
        try:
            raw = self._to_the_end(request, length, largest)
        finally:
            was_cut = self._under_way.pop(id(reading), None) is None
        if was_cut or time.monotonic() - reading.began > within:
            raise TooSlow
        if len(raw) < length:  # granian ends the stream of a client that went away
            raise Malformed("The body ended early.")
        request.environ[_WAS_READ] = True
        return raw

    @staticmethod
    def _to_the_end(request: Request, length: int, largest: int) -> bytes:
        parts, size = [], 0
        with suppress(ClientDisconnected, OSError):  # which leaves it too short
            while part := request.stream.read(largest + 1 - size):
                parts.append(part)
                size += len(part)
                if size > largest:
                    raise TooLarge
                if size == length:  # to read on, only to hear that this was all, costs a wait for the interpreter
                    break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def cut_overdue(self) -> None:
        """End the reading of bodies that take too long."""
        now = time.monotonic()
        under_way = list(self._under_way.values())
        slow = sum(now - reading.began > SLOW_AFTER for reading in under_way)
        patience = min(self._within, SLOW_AFTER) if slow > self._slow else self._within
        overdue = [reading for reading in under_way if now - reading.began > min(patience, reading.within)]
        if overdue:
            log.warning("bodies take too long and are cut", bodies=len(overdue), seconds=patience)
            for reading in overdue:
                self._under_way.pop(id(reading), None)
            _cut(overdue, now)


def has_unread_body(request: Request) -> bool:
    """Whether there may be something of a body that was not read."""
    if _WAS_READ in request.environ:
        return False
    return bool(request.content_length) or "HTTP_TRANSFER_ENCODING" in request.environ


def _cut(overdue: list[_Reading], now: float) -> None:
    """Read no more from the connections that these bodies may come on."""
    for connection in _connections():
        with connection, suppress(OSError):  # it ended by itself meanwhile
            if connection.family not in {socket.AF_INET, socket.AF_INET6}:
                continue
            whose = (connection.getpeername()[0], connection.getsockname()[1])
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SINCE_SENT.size)
            silent_since = now - _SINCE_SENT.unpack(info)[0] / 1000
            if any((r.client, r.port) == whose and silent_since < r.began + _SLACK for r in overdue):
                connection.shutdown(socket.SHUT_RD)


def _connections() -> Iterator[socket.socket]:
    """Return all connections of this process, each as a copy: what it stands for can't be reused meanwhile."""
    for file in Path("/proc/self/fd").iterdir() if hasattr(socket, "TCP_INFO") else ():
        with suppress(OSError):
            copy = os.dup(int(file.name))
            if stat.S_ISSOCK(os.fstat(copy).st_mode):
                yield socket.socket(fileno=copy)
            else:
                os.close(copy)
