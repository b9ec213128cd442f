"""The load: requests as they are sent, when they are sent, and what is counted of the answers."""

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from lab.bench import wire
from lab.bench.load import Job, run
from lab.bench.pace import ClosedLoop, OpenLoop, requests_of
from lab.bench.wire import Answer, Malformed, Requests, make_request, read_answer

CREATED = b'HTTP/1.1 201 Created\r\nContent-Length: 18\r\nX: y\r\n\r\n{"order_id": "77"}'
BUSY = b'HTTP/1.1 503 Service Unavailable\r\ncontent-length: 32\r\n\r\n{"type": "/problems/unavailable"}'

Script = Callable[[int], bytes]
"""Returns the answer to request number n; empty: the connection is cut."""


@contextmanager
def server(script: Script) -> Iterator[tuple[str, int]]:
    """Answer each request on 127.0.0.1 with what the script says."""
    numbers, over = itertools.count(), threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection:
            while connection.recv(65536):
                answer = script(next(numbers))
                if not answer:
                    return
                connection.sendall(answer)

    def accept() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(connection,)))
            threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield listener.getsockname()
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (acceptor, *threads):
            thread.join()


def job(address: tuple[str, int], *, rate: float | None = None, clients: int = 1, seconds: float = 0.2) -> Job:
    """Return a short load without a warm-up."""
    return Job([address], Requests([make_request("POST", "/orders", "t", {})]), clients, 0.0, seconds, rate=rate)


def test_request() -> None:
    """A request carries its token, and its body's length in bytes."""
    made = make_request("POST", "/orders", "abc", {"name": "ä"})
    head, _, body = made.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /orders HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer abc\r\n" in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"Content-Length" not in make_request("GET", "/orders/1", "abc")


def test_keys() -> None:
    """Each request has a key of its own; with a number, the same keys come again, with the same bodies."""
    messages = [make_request("POST", "/orders", "t", {"n": n}) for n in range(2)]
    endless = list(itertools.islice(Requests(messages, "k"), 5))
    assert [b"Idempotency-Key: k-%d\r\n" % n in sent for n, sent in enumerate(endless)] == [True] * 5
    again = list(itertools.islice(Requests(messages, "k", 3), 5))
    assert again[:3] == endless[:3] == [*again[3:], endless[2]]
    assert list(itertools.islice(Requests(messages), 3)) == [*messages, messages[0]]


def test_answers() -> None:
    """An answer is read once it is whole; an error is named by its status and its problem's slug."""
    assert [read_answer(CREATED[:size]) for size in (0, 20, len(CREATED) - 1)] == [None] * 3
    answer = read_answer(CREATED)
    assert answer == Answer(201, b'{"order_id": "77"}')
    assert (answer.order_id, answer.kind) == (77, "201")
    busy = read_answer(BUSY)
    assert busy is not None
    assert (busy.kind, busy.order_id) == ("503 unavailable", None)
    with pytest.raises(Malformed):
        read_answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")


def test_a_purchase_that_is_taken_in_tells_its_request() -> None:
    """The number of a call, which problems and orders tell too, is none."""
    body = b'{"request_id":"12","state":"queued","order_id":null}'
    assert (Answer(202, body).request_id, Answer(202, body).order_id) == (12, None)
    assert Answer(409, b'{"type":"/problems/sold-out","request_id":"34"}').request_id is None


def test_other_answers_that_are_no_errors() -> None:
    """Those of a kind that the load expects beside its status count as successes; others of that status do not."""
    kinds = (b"sold-out", b"ended")
    bodies = itertools.cycle([b'{"request_id": "5"}', *(b'{"type": "/problems/%b"}' % kind for kind in kinds)])
    statuses = itertools.cycle([b"202 Accepted", b"409 Conflict", b"409 Conflict"])

    def answer(_: int) -> bytes:
        body = next(bodies)
        return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (next(statuses), len(body), body)

    with server(answer) as address:
        sample = run(replace(job(address), expect=202, also=frozenset({"409 sold-out"})))
    assert sample.errors.keys() == {"409 ended"}
    assert set(sample.request_ids) == {5}
    refused = len(sample.times) - len(sample.request_ids)
    assert 0 <= len(sample.request_ids) - refused <= 1
    assert refused > 0


def test_open_loop_is_never_late_for_good() -> None:
    """The n-th request is due n / rate after the beginning, however late those before were taken; none at the end."""
    pace = OpenLoop(4.0, begin=10.0, seconds=1.0)
    assert [pace.take(now) for now in (10.0, 17.0, 17.0, 17.0)] == [10.0, 10.25, 10.5, 10.75]
    assert pace.due == float("inf")


@pytest.mark.parametrize("rate", [3.0, 7.3, 200.0])
@pytest.mark.parametrize("begin", [0.1, 1234.567, 98765.4321])
def test_open_loop_sends_what_it_was_said_to(rate: float, begin: float) -> None:
    """As many requests as `requests_of` tells, whenever it begins: some benches prepare something for each."""
    pace, sent = OpenLoop(rate, begin, seconds=13.0), 0
    while pace.due < float("inf"):
        pace.take(0.0)
        sent += 1
    assert sent == requests_of(rate, 13.0)


def test_closed_loop_counts_from_sending() -> None:
    """A closed loop is always due, and counts from when the request is sent."""
    pace = ClosedLoop()
    assert pace.due <= 0
    assert pace.take(3.5) == 3.5


def test_a_stall_shows_in_an_open_loop() -> None:
    """What was to be sent during a stall counts as late from then on: a closed loop hides it, an open one does not."""
    stall = 0.3

    def stalling(number: int) -> bytes:
        if number == 0:
            threading.Event().wait(stall)
        return CREATED

    with server(stalling) as address:
        opened = run(job(address, rate=50.0, seconds=0.6))
    with server(stalling) as address:
        closed = run(job(address, seconds=0.6))
    assert len(opened.times) == 30
    assert sum(took > stall / 2 for took in opened.times) >= 7  # those due in the first half of it, at least
    assert sum(took > stall / 2 for took in closed.times) == 1


def test_successes_are_counted() -> None:
    """Successes are timed, their orders remembered for the ledger, and every one was sent once."""
    with server(lambda _: CREATED) as address:
        sample = run(job(address, clients=3))
    assert sample.errors == {}
    assert len(sample.times) == sample.requests == len(sample.order_ids) > 3
    assert set(sample.order_ids) == {77}
    assert 0 < sample.answered <= sample.requests
    assert 0 < sample.cpu < 0.5


def test_warm_up_is_not_counted() -> None:
    """What began in the warm-up has no time, but its order is looked for in the ledger."""
    with server(lambda _: CREATED) as address:
        warm = Job([address], Requests([make_request("POST", "/orders", "t", {})]), 1, 5.0, 0.0, rate=10.0)
        began = time.monotonic()
        sample = run(Job(warm.addresses, warm.requests, 1, 0.2, 0.0, rate=50.0))
    assert time.monotonic() - began < 3
    assert (len(sample.times), sample.answered) == (0, 0)
    assert len(sample.order_ids) == 10


def test_refusals_and_lost_connections() -> None:
    """A refusal is counted by its kind, a cut connection as lost; the clients go on."""
    with server(lambda number: (BUSY, b"", CREATED)[min(number, 2)]) as address:
        sample = run(job(address, seconds=0.5))
    assert sample.errors == {"503 unavailable": 1, "connection lost": 1}
    assert len(sample.times) > 1


def test_a_server_that_is_not_there_at_first() -> None:
    """It may have been killed just before: its clients try again after a rest, and what they met is counted."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    sample = run(job(address))
    assert sample.errors.keys() == {"connection refused"}
    assert not sample.requests


def test_what_is_never_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests without an answer, and those of an open loop that never got a client, are errors, not forgotten."""
    monkeypatch.setattr("lab.bench.load._PATIENCE", 0.1)
    silent = threading.Event()

    def never(_: int) -> bytes:
        silent.wait(2)
        return b""

    with server(never) as address:
        sample = run(job(address, rate=20.0, seconds=0.5))
        silent.set()
    assert sample.errors == {"no answer": 1, "never sent": 9}


def test_wire_reads_heads_in_any_case() -> None:
    """Header names are told apart without regard to case (RFC 9110)."""
    assert wire.read_answer(CREATED.replace(b"Content-Length", b"CONTENT-LENGTH")) is not None
