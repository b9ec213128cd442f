"""Many idle connections at the gateway: what they cost it, and that calls go as before. It ends within `WITHIN`."""

import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Final

from lab.bench.meter import Memory, memory_of
from ops.errors import CommandFailed

MOST: Final = 15_000  # connections: less than ORDERS_GATEWAY_CONNECTIONS, as calls to services need some
WITHIN: Final = 18.0  # seconds for all of it, unless told otherwise; the gateway ends connections that were idle for 60
_PATH: Final = "/healthz"  # answered by the gateway itself
SPARE: Final = 256  # files of ours beside the connections
_AT_ONCE: Final = 250  # connections over which a call is under way
_CALLS: Final = 20  # before, and as many while the connections are there

Call = Callable[[], object]
"""Makes one call through the gateway. Raises where it is not answered as it should be."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What was found; memory of Caddy, times in seconds of each call."""

    connections: int
    opened_within: float
    memory_before: Memory
    memory_with: Memory
    calls_before: Sequence[float]
    calls_with: Sequence[float]

    @property
    def in_words(self) -> str:
        """Two lines."""
        sizes = (self.memory_before.size, self.memory_with.size)
        each = (sizes[1] - sizes[0]) / self.connections / 1024
        before, during = (statistics.median(times) * 1000 for times in (self.calls_before, self.calls_with))
        slowest = [max(times) * 1000 for times in (self.calls_before, self.calls_with)]
        return (
            f"Caddy ({self.memory_with.kind}): {sizes[0] / 2**20:.0f} MiB without, {sizes[1] / 2**20:.0f} MiB with "
            f"{self.connections} idle connections ({each:.1f} KiB each), opened in {self.opened_within:.1f} s.\n"
            f"An order: p50 {before:.1f} ms without, {during:.1f} ms with; the slowest of {len(self.calls_with)} "
            f"{slowest[0]:.0f} and {slowest[1]:.0f} ms. All connections were kept, and answered once more."
        )


def measure(host: str, port: int, pid: int, call: Call, number: int, *, within: float = WITHIN) -> Figures:
    """Open so many connections to the gateway, whose process is `pid`, and make calls beside them.

    Raise `CommandFailed` where we may not have so many files, one is refused or closed, or after `within` seconds.
    """
    ends_at = time.monotonic() + within
    _allow(number + SPARE)
    calls_before = _timed(call, ends_at)
    memory_before = memory_of(pid)
    begun = time.monotonic()
    with _kept(host, port, number, ends_at) as connections:
        opened_within = time.monotonic() - begun
        calls_with = _timed(call, ends_at)
        memory_with = memory_of(pid)
        _ask(connections, ends_at)
    return Figures(number, opened_within, memory_before, memory_with, calls_before, calls_with)


def _allow(files: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < files:
        raise CommandFailed(f"This needs {files} open files, and `ulimit -Hn` is {hard}: try with fewer connections.")
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))


@contextmanager
def _kept(host: str, port: int, number: int, ends_at: float) -> Iterator[list[HTTPConnection]]:
    """Lend connections each of which had one answer."""
    with ExitStack() as stack:
        connections = [HTTPConnection(host, port, timeout=WITHIN) for _ in range(number)]
        for connection in connections:
            stack.callback(connection.close)
        _ask(connections, ends_at)
        for connection in connections:
            connection.auto_open = 0  # one that was closed is told, not opened again
        yield connections


def _ask(connections: Sequence[HTTPConnection], ends_at: float) -> None:
    """Make a call over each connection, so many at once. Raise `CommandFailed` where one is not kept."""
    for first in range(0, len(connections), _AT_ONCE):
        group = connections[first : first + _AT_ONCE]
        _in_time(ends_at)
        try:
            for connection in group:
                connection.request("GET", _PATH)
            for connection in group:
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200 or answer.will_close:  # noqa: PLR2004 - OK
                    raise CommandFailed(f"The gateway answered {answer.status}, or closes the connection.")
        except (HTTPException, OSError) as error:
            raise CommandFailed(f"A connection got no answer: {error!r}.") from error


def _timed(call: Call, ends_at: float) -> list[float]:
    times = []
    for _ in range(_CALLS):
        _in_time(ends_at)
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return times


def _in_time(ends_at: float) -> None:
    if time.monotonic() > ends_at:
        raise CommandFailed("It took too long: try with fewer connections.")
