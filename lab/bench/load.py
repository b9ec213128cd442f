"""The load: one process, one thread, one epoll loop over plain sockets, so that it takes little of what it measures.

docs/performance.md tells what a request costs it.
"""

import select
import socket
import time
from array import array
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from lab.bench.pace import ClosedLoop, OpenLoop, Pace
from lab.bench.wire import Answer, Malformed, Requests, read_answer

_READ = 65536  # bytes at once
_REST = 0.05  # seconds a client waits after it was refused: it would do nothing but ask again
_RESTED_AFTER = frozenset({429, 503})
_PATIENCE = 30.0  # seconds for the answers that are missing once nothing more is sent
_CONNECT_WITHIN = 5.0
_NEVER = float("inf")
_LOST, _NO_ANSWER = "connection lost", "no answer"
UNKNOWN = (_LOST, _NO_ANSWER)
"""Errors that do not tell whether the request was done."""


@dataclass(frozen=True, slots=True)
class Job:
    """A load: `requests` by `clients` connections, spread over `addresses`; `rate` makes it an open loop.

    What happens in the first `warm_up` seconds is not counted. An answer with another status than `expect` is an error,
    unless it is of a kind (`Answer.kind`) that is in `also`.
    """

    addresses: Sequence[tuple[str, int]]
    requests: Requests
    clients: int
    warm_up: float
    seconds: float
    rate: float | None = None
    expect: int = 201
    also: frozenset[str] = frozenset()


@dataclass(slots=True)
class Sample:
    """What came of a load; `times` are those of single successes, in seconds.

    `requests`, `order_ids` and `request_ids` (those of successes) count the warm-up too: the ledger must know of them.
    """

    seconds: float
    answered: int = 0
    times: "array[float]" = field(default_factory=lambda: array("d"))
    errors: Counter[str] = field(default_factory=Counter)
    order_ids: "array[int]" = field(default_factory=lambda: array("q"))
    request_ids: "array[int]" = field(default_factory=lambda: array("q"))
    requests: int = 0
    cpu: float = 0.0  # seconds of processor time that the load itself took

    def add(self, later: "Sample") -> None:
        """Add what came of the same load later on."""
        self.seconds += later.seconds
        self.answered += later.answered
        self.times.extend(later.times)
        self.errors += later.errors
        self.order_ids.extend(later.order_ids)
        self.request_ids.extend(later.request_ids)
        self.requests += later.requests
        self.cpu += later.cpu


def run(job: Job) -> Sample:
    """Put the load on; return when all is answered. Raise OSError where no server listens at the start."""
    loop = _Loop(job)
    began = time.process_time()
    try:
        sample = loop.run()
        sample.cpu = time.process_time() - began
        return sample
    finally:
        loop.close()


class _Client:
    """A connection, kept alive."""

    __slots__ = ("address", "began", "busy", "data", "socket")

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.busy = False
        self.began = 0.0
        self.data = b""
        self.socket = socket.socket()
        self.socket.close()  # not connected yet

    def connect(self) -> socket.socket:
        self.data = b""
        self.socket = socket.create_connection(self.address, timeout=_CONNECT_WITHIN)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        return self.socket


class _Loop:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._sample = Sample(job.seconds)
        self._epoll = select.epoll()
        self._clients: dict[int, _Client] = {}
        self._free: deque[_Client] = deque()
        self._resting: deque[tuple[float, _Client]] = deque()
        self._busy = 0
        for number in range(job.clients):
            self._resting.append((0.0, _Client(job.addresses[number % len(job.addresses)])))
        for _ in range(job.clients):
            self._rise()  # or later: who is to answer may just have been killed

    def run(self) -> Sample:
        job, clock = self._job, time.perf_counter
        begin = clock()
        self._warm = begin + job.warm_up
        self._stop = self._warm + job.seconds
        lasts = job.warm_up + job.seconds
        pace: Pace = ClosedLoop() if job.rate is None else OpenLoop(job.rate, begin, lasts)
        requests = iter(job.requests)
        now, give_up_at = begin, self._stop + _PATIENCE
        while now < give_up_at:
            sending = now < self._stop or (job.rate is not None and pace.due < _NEVER)
            if not sending and not self._busy:
                break
            if self._resting and self._resting[0][0] <= now:
                self._rise()
            while sending and self._free and pace.due <= now:
                self._send(self._free.popleft(), next(requests), pace.take(clock()))
            self._wait(pace.due if sending and self._free else _NEVER, now)
            for descriptor, _ in self._epoll.poll(0):
                self._read(self._clients[descriptor], now := clock())
            now = clock()
        self._sample.errors[_NO_ANSWER] += self._busy
        self._sample.errors["never sent"] += self._unsent(pace)
        self._sample.errors = +self._sample.errors
        return self._sample

    def close(self) -> None:
        self._epoll.close()
        for client in self._clients.values():
            client.socket.close()

    def _wait(self, due: float, now: float) -> None:
        """Wait for an answer or for what is due. epoll knows only milliseconds; select on it, microseconds."""
        wake = min(due, self._resting[0][0] if self._resting else _NEVER, max(self._stop, now + _REST))
        if wake > now:
            select.select([self._epoll], [], [], wake - now)

    def _send(self, client: _Client, request: bytes, began: float) -> None:
        client.began, client.busy = began, True
        self._busy += 1
        self._sample.requests += 1
        try:
            if client.socket.send(request) < len(request):
                raise BlockingIOError  # a request that a fresh socket does not take at once is none of ours
        except OSError:
            self._lost(client)

    def _read(self, client: _Client, now: float) -> None:
        try:
            data = client.socket.recv(_READ)
            client.data = client.data + data if client.data else data
            answer = read_answer(client.data)
        except (OSError, Malformed):
            self._lost(client)
            return
        if not data:
            self._lost(client)
        elif answer is not None and client.busy:
            client.data, client.busy = b"", False
            self._busy -= 1
            self._count(client, answer, now)

    def _count(self, client: _Client, answer: Answer, now: float) -> None:
        sample = self._sample
        if answer.status == self._job.expect or (self._job.also and answer.kind in self._job.also):
            if (order_id := answer.order_id) is not None:
                sample.order_ids.append(order_id)
            elif (request_id := answer.request_id) is not None:
                sample.request_ids.append(request_id)
            if client.began >= self._warm:
                sample.times.append(now - client.began)
            if self._warm <= now <= self._stop:
                sample.answered += 1
        elif client.began >= self._warm:
            sample.errors[answer.kind] += 1
        if answer.status in _RESTED_AFTER:
            self._resting.append((now + _REST, client))
        else:
            self._free.append(client)

    def _lost(self, client: _Client) -> None:
        """Give up a connection that is gone (no error if it was idle); open it again after a rest."""
        if client.busy:
            self._busy -= 1
            self._sample.errors[_LOST] += 1
        elif client in self._free:
            self._free.remove(client)
        client.busy = False
        self._clients.pop(client.socket.fileno(), None)
        with suppress(OSError):
            client.socket.close()  # epoll forgets it by itself
        self._resting.append((time.perf_counter() + _REST, client))

    def _rise(self) -> None:
        """Have the client that rested longest go on, on a new connection if it lost its own."""
        _, client = self._resting.popleft()
        if client.socket.fileno() < 0:
            try:
                client.connect()
            except OSError:
                self._sample.errors["connection refused"] += 1
                self._resting.append((time.perf_counter() + _REST, client))
                return
            self._watch(client)
        self._free.append(client)

    def _watch(self, client: _Client) -> None:
        self._clients[client.socket.fileno()] = client
        self._epoll.register(client.socket, select.EPOLLIN)

    def _unsent(self, pace: Pace) -> int:
        """How many requests of an open loop were still waiting for a free client when we gave up."""
        number = 0
        while self._job.rate is not None and pace.due < _NEVER:
            pace.take(0.0)
            number += 1
        return number
