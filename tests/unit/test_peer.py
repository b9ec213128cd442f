"""Calls to another service: one deadline, one error, and a kept connection that was cut is no reason to fail."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import orjson
import pytest
import structlog

from common.errors import PeerUnavailable
from common.peer import Peer
from tests.support import eventually

FOREVER = 1000.0  # seconds

Answer = bytes | Callable[[socket.socket], object]


def _response(status: int, body: bytes = b"", *, close: bool = False) -> bytes:
    connection = b"close" if close else b"keep-alive"
    head = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: %b\r\n\r\n" % (status, len(body), connection)
    return head + body


def _read(connection: socket.socket) -> bytes:
    """Return one whole request, empty at the end of the connection."""
    request = b""
    while not (head := request.partition(b"\r\n\r\n"))[1]:
        if not (more := connection.recv(65536)):
            return b""
        request += more
    for line in head[0].split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            while len(request) < len(head[0]) + 4 + int(line[15:]):
                request += connection.recv(65536)
    return request


class Server:
    """Answers each request as told next, whatever it asks; an answer of b"" cuts the connection."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.stop = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(ConnectionError):
            while request := _read(connection):
                self.requests.append(request)
                answer = self.answers.pop(0)
                if callable(answer):
                    answer(connection)
                    return
                if not answer:
                    return
                connection.sendall(answer)

    def close(self) -> None:
        self.stop.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept
        self._socket.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def peer(server: Server) -> Iterator[Peer]:
    """For what is answered: a busy machine may take its time for that."""
    peer = Peer("stock", server.url, lambda: "the-token", timeout=30.0, connections=2)
    yield peer
    peer.close()


@pytest.fixture
def hasty(server: Server) -> Iterator[Peer]:
    """For what is not answered in time."""
    peer = Peer("stock", server.url, lambda: "the-token", timeout=0.3, connections=2)
    yield peer
    peer.close()


def test_call(server: Server, peer: Peer) -> None:
    """A call sends JSON and the bearer token, and returns the status and the JSON answer."""
    server.answers = [_response(200, b'{"a": 1}')]
    assert peer.call("POST", "/things?x=1", {"b": "ü"}) == (200, {"a": 1})
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /things?x=1 HTTP/1.1")
    for header in (b"Authorization: Bearer the-token", b"Content-Type: application/json"):
        assert header in head
    assert orjson.loads(body) == {"b": "ü"}


def test_request_id_travels_on(server: Server, peer: Peer) -> None:
    """The id of the request being answered is sent along, so that one id finds it in all logs."""
    server.answers = [_response(200), _response(200)]
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        peer.call("GET", "/")
    peer.call("GET", "/")
    assert b"X-Request-Id: r-1\r\n" in server.requests[0]
    assert b"X-Request-Id" not in server.requests[1]


def test_empty_answer(server: Server, peer: Peer) -> None:
    """An answer without a body is None."""
    server.answers = [_response(204)]
    assert peer.call("GET", "/") == (204, None)


def test_refusal_is_an_answer(server: Server, peer: Peer) -> None:
    """A 4xx is told, not raised."""
    server.answers = [_response(404, b"{}")]
    assert peer.call("GET", "/") == (404, {})


def test_connections_are_kept(server: Server, peer: Peer) -> None:
    """Calls one after the other share a connection."""
    server.answers = [_response(200)] * 5
    for _ in range(5):
        peer.call("GET", "/")
    assert server.connections == 1


def test_cut_connection_is_tried_again_once(server: Server, peer: Peer) -> None:
    """A kept connection that the peer cut is replaced, unseen by the caller."""
    server.answers = [_response(200), b"", _response(201)]
    assert peer.call("GET", "/")[0] == 200
    assert peer.call("GET", "/")[0] == 201
    assert server.connections == 2


def test_cut_twice(server: Server, peer: Peer) -> None:
    """A peer that cuts the second try too is unavailable; there is no third."""
    server.answers = [b"", b""]
    with pytest.raises(PeerUnavailable, match="stock"):
        peer.call("GET", "/")
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [500, 502, 503])
def test_server_error(server: Server, peer: Peer, status: int) -> None:
    """A 5xx is `PeerUnavailable`."""
    server.answers = [_response(status, b"{}")]
    with pytest.raises(PeerUnavailable, match="stock"):
        peer.call("GET", "/")
    assert len(server.requests) == 1


def test_answer_that_is_no_json(server: Server, peer: Peer) -> None:
    """An answer that can't be read is `PeerUnavailable`, whatever its status."""
    server.answers = [_response(200, b"<html>")]
    with pytest.raises(PeerUnavailable):
        peer.call("GET", "/")


def test_half_an_answer(server: Server, peer: Peer) -> None:
    """An answer cut in the middle is `PeerUnavailable`, after a second try."""
    half = _response(200, b'{"a": 1}')[:-3]
    server.answers = [lambda connection: connection.sendall(half)] * 2
    with pytest.raises(PeerUnavailable):
        peer.call("GET", "/")


def test_no_answer_in_time(server: Server, hasty: Peer) -> None:
    """No answer within the deadline is `PeerUnavailable`, and is not tried again."""
    server.answers = [lambda _: server.stop.wait(5)]
    started = time.monotonic()
    with pytest.raises(PeerUnavailable):
        hasty.call("GET", "/")
    assert 0.25 < time.monotonic() - started < 5
    eventually(lambda: server.requests)
    assert len(server.requests) == 1


def test_no_server_there(server: Server, peer: Peer) -> None:
    """A refused connection is `PeerUnavailable` at once."""
    server.close()
    with pytest.raises(PeerUnavailable):
        peer.call("GET", "/")


def test_redirects_are_not_followed(server: Server, peer: Peer) -> None:
    """A redirect is an answer like any other: the token goes to no other place."""
    server.answers = [b"HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"]
    assert peer.call("GET", "/") == (302, None)


def test_ready(server: Server, peer: Peer) -> None:
    """A service is ready when it says so to us, by our token."""
    server.answers = [_response(200, b'{"status":"ready"}'), _response(503, b"{}")]
    peer.ready()
    assert server.requests[0].startswith(b"GET /internal/readyz ")
    assert b"Authorization: Bearer the-token\r\n" in server.requests[0]
    with pytest.raises(PeerUnavailable):
        peer.ready()


@pytest.mark.parametrize("status", [401, 403])
def test_a_peer_that_refuses_our_token_is_not_ready(server: Server, peer: Peer, status: int) -> None:
    """Alive as it may be: it would refuse every call of ours."""
    server.answers = [_response(status, b"{}")]
    with structlog.testing.capture_logs() as lines, pytest.raises(PeerUnavailable):
        peer.ready()
    assert "it refuses our token" in lines[0]["reason"]


def test_a_peer_that_does_not_tell_is_alive(server: Server, peer: Peer) -> None:
    """One of the release before knows no such question; its calls are answered all the same."""
    server.answers = [_response(404, b"{}")]
    peer.ready()


def test_a_shorter_deadline_of_one_call(server: Server, hasty: Peer) -> None:
    """A caller that has waited already waits for what is left, and never for longer than the peer's own deadline."""
    server.answers = [lambda _: server.stop.wait(30)] * 2
    for within, expected in ((0.05, 0.05), (30.0, 0.3)):
        began = time.monotonic()
        with pytest.raises(PeerUnavailable):
            hasty.call("GET", "/", within=within)
        assert expected <= time.monotonic() - began < expected + 5


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Stop the clock of circuit breakers; return what moves it on."""
    now = [0.0]

    class Stopped:
        monotonic = staticmethod(lambda: now[0])

    monkeypatch.setattr("common.breaker.time", Stopped)

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


def _unavailable(peer: Peer, times: int) -> None:
    for _ in range(times):
        with pytest.raises(PeerUnavailable):
            peer.call("GET", "/")


def test_left_alone_after_failures_in_a_row(server: Server, peer: Peer, clock: Callable[[float], None]) -> None:
    """After five failures it is not asked any more; after a while one call tries, and it is as before."""
    server.answers = [_response(503)] * 5 + [_response(200)] * 2
    _unavailable(peer, 8)
    assert len(server.requests) == 5
    clock(FOREVER)
    assert [peer.call("GET", "/")[0] for _ in range(2)] == [200, 200]


def test_refusals_are_no_failures(server: Server, peer: Peer) -> None:
    """However many orders are refused, the service that refuses them works."""
    server.answers = [_response(status, b"{}") for status in (409, 422, 404, 429, 401) * 4]
    assert {peer.call("GET", "/")[0] for _ in range(20)} == {409, 422, 404, 429, 401}


@pytest.mark.usefixtures("clock")
def test_alive_again(server: Server, peer: Peer) -> None:
    """Asking whether it is alive is done in any case; where it is, the next call is made at once."""
    server.answers = [_response(500)] * 6 + [_response(200)] * 2
    _unavailable(peer, 6)
    with pytest.raises(PeerUnavailable):
        peer.ready()
    peer.ready()
    assert peer.call("GET", "/")[0] == 200
    assert len(server.requests) == 8


def test_told_who_is_left_alone(server: Server, clock: Callable[[float], None]) -> None:
    """Metrics learn when an instance is left alone, and when it is not any more."""
    told: list[tuple[str, str, bool]] = []
    peer = Peer("stock", server.url, lambda: "", timeout=1, connections=1, watch=lambda *what: told.append(what))
    server.answers = [_response(500)] * 5 + [_response(200)]
    _unavailable(peer, 5)
    clock(FOREVER)
    peer.call("GET", "/")
    assert told == [("stock", server.url, True), ("stock", server.url, False)]
    peer.close()


def test_an_answer_that_drips(server: Server, hasty: Peer) -> None:
    """The time limit is one for the whole answer, not for each piece of it."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 X\r\nContent-Length: 500\r\n\r\n")
        while not server.stop.wait(0.02):
            connection.sendall(b" ")  # all of it takes ten seconds

    server.answers = [drip]
    started = time.monotonic()
    with pytest.raises(PeerUnavailable):
        hasty.call("GET", "/")
    assert time.monotonic() - started < 5
