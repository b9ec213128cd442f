"""Steps over HTTP, against a real server: what is done, what is refused, and what is tried again."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from halfmessage.clock import now_ms
from halfmessage.errors import Misconfigured
from halfmessage.saga.definition import Call, Direction
from halfmessage.saga.errors import StepRefused
from halfmessage.saga.rest import Rest, StepFailed

_DRIP = 0.05  # s between two bytes of an answer that drips


class _Handler(BaseHTTPRequestHandler):
    """Answers as the path says, /STATUS, and remembers what it was asked."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[dict[str, Any]]] = []
    answer: ClassVar[tuple[str, bytes]] = ("application/json", b'{"piece": 7}')
    drips: ClassVar[bool] = False
    drips_from_the_start: ClassVar[bool] = False
    chunked: ClassVar[bool] = False
    short_by: ClassVar[int] = 0
    closes: ClassVar[bool] = False
    over: ClassVar[threading.Event] = threading.Event()

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        self.asked.append({"path": self.path, "headers": dict(self.headers), "body": body})
        kind, answer = self.answer
        if self.drips_from_the_start:
            with suppress(ConnectionError):
                self._drip(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200)
            return
        if self.chunked:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            with suppress(ConnectionError):
                self._drip(b"1;" + b"x" * 1000)
            return
        self.send_response(int(self.path.strip("/").split("?")[0]))
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(answer) + self.short_by))
        if self.closes or self.short_by:
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        with suppress(ConnectionError):  # whoever asked waits no longer
            if self.drips:
                self._drip(answer)
            else:
                self.wfile.write(answer)

    def _drip(self, words: bytes) -> None:
        for byte in words:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            if self.over.wait(_DRIP):
                return

    do_DELETE = do_POST  # noqa: N815 - the same

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the address of a server."""
    monkeypatch.setattr(_Handler, "asked", [])
    monkeypatch.setattr(_Handler, "over", threading.Event())
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as made:
        made.daemon_threads = True
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        _Handler.over.set()
        made.shutdown()
        thread.join()


def _call(direction: Direction = Direction.DO, within: float = 10) -> Call:
    return Call(7, "sale", "k", "reserve", direction, {"pieces": 2}, {}, 1, now_ms() + int(within * 1000))


def test_done(server: str) -> None:
    """2xx is done, and its JSON the result; the request carries the key, the body and the headers."""
    step = Rest(
        lambda call: f"{server}/201?of={call.key}", body=lambda call: call.input, headers=lambda: {"Authorization": "x"}
    )
    assert step(_call()) == {"piece": 7}
    (asked,) = _Handler.asked
    assert asked["path"] == "/201?of=k"
    assert asked["headers"]["Idempotency-Key"] == "sale-7/reserve/do"
    assert asked["headers"]["Authorization"] == "x"
    assert json.loads(asked["body"]) == {"pieces": 2}


def test_without_a_body(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent unless a body is made; an answer that is no JSON, or none, is no result."""
    monkeypatch.setattr(_Handler, "answer", ("text/plain", b"thank you"))
    assert Rest(f"{server}/200", method="DELETE")(_call(Direction.UNDO)) is None
    assert _Handler.asked[0]["body"] == b""
    assert _Handler.asked[0]["headers"]["Idempotency-Key"] == "sale-7/reserve/undo"
    monkeypatch.setattr(_Handler, "answer", ("application/json", b""))
    assert Rest(f"{server}/200")(_call()) is None


@pytest.mark.parametrize("status", [400, 404, 409, 410, 422])
def test_refused(server: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be answered the same again is a refusal, in the words of its problem document; never of an undo."""
    step = Rest(f"{server}/{status}")
    with pytest.raises(StepRefused, match=f"answered with status {status}"):
        step(_call())
    monkeypatch.setattr(_Handler, "answer", ("application/problem+json", b'{"title": "x", "detail": "sold out"}'))
    with pytest.raises(StepRefused, match=f"{status}: sold out"):
        step(_call())
    with pytest.raises(StepFailed):
        step(_call(Direction.UNDO))
    with pytest.raises(StepFailed):
        Rest(f"{server}/{status}", refused=())(_call())


@pytest.mark.parametrize("status", [302, 401, 408, 425, 429, 500, 503])
def test_failed(server: str, status: int) -> None:
    """What may be answered otherwise soon is a failure, a redirect too."""
    with pytest.raises(StepFailed, match=str(status)):
        Rest(f"{server}/{status}")(_call())


def test_no_json_and_too_much(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that lies about itself, or is larger than what is remembered, is a failure."""
    monkeypatch.setattr(_Handler, "answer", ("application/json", b"{"))
    with pytest.raises(StepFailed, match="is none"):
        Rest(f"{server}/200")(_call())
    monkeypatch.setattr(_Handler, "answer", ("text/plain", b"x" * 40_000))
    with pytest.raises(StepFailed, match="more than 16384 bytes"):
        Rest(f"{server}/200")(_call())


def test_a_server_that_closes_its_connections(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer is read as any other; words that are no problem document are not repeated."""
    monkeypatch.setattr(_Handler, "closes", True)
    assert Rest(f"{server}/200")(_call()) == {"piece": 7}
    monkeypatch.setattr(_Handler, "answer", ("text/plain", b"sold out"))
    with pytest.raises(StepRefused, match="answered with status 409"):
        Rest(f"{server}/409")(_call())


def test_no_server_there() -> None:
    """No connection is a failure."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(StepFailed, match="does not answer"):
        Rest(f"{address}/200")(_call())


@pytest.mark.parametrize("how", ["drips", "drips_from_the_start", "chunked"])
def test_an_answer_that_drips(server: str, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """The step's time is that of the whole answer, not of each byte: of the body, of the header, of a chunk's size."""
    monkeypatch.setattr(_Handler, how, True)
    monkeypatch.setattr(_Handler, "answer", ("text/plain", b"x" * 1000))
    started = time.monotonic()
    with pytest.raises(StepFailed):
        Rest(f"{server}/200")(_call(within=0.5))
    assert time.monotonic() - started < 1000 * _DRIP / 5


def test_time_is_over(server: str) -> None:
    """A call whose time is over is not sent."""
    with pytest.raises(StepFailed, match="time is over"):
        Rest(f"{server}/200")(_call(within=0))
    assert not _Handler.asked


@pytest.mark.parametrize("url", ["ftp://host/", "http:///path", "host/path", "file:///etc/passwd"])
def test_urls(url: str) -> None:
    """Only http and https, with a host."""
    with pytest.raises(Misconfigured, match="A step's URL is"):
        Rest(url)(_call())


def test_an_answer_that_ends_early(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number of which digits are missing is another number."""
    monkeypatch.setattr(_Handler, "answer", ("application/json", b"12"))
    monkeypatch.setattr(_Handler, "short_by", 1)
    with pytest.raises(StepFailed, match="ended 1 bytes early"):
        Rest(f"{server}/200")(_call())
