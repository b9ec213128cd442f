"""How long a body may take, on connections as granian has them: reading blocks until the end."""

import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from flask import Request

from common.errors import Malformed, TooSlow
from common.web import bodies as module
from common.web.bodies import Bodies
from halfmessage.errors import Overloaded
from tests.support import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is Linux's")


class Line:
    """A client's connection, and our end of it."""

    def __init__(self, listener: socket.socket) -> None:
        self.client = socket.create_connection(listener.getsockname(), timeout=5)
        self.ours, _ = listener.accept()
        self.port = listener.getsockname()[1]
        self.stream = self.ours.makefile("rb")

    def request(self, length: int) -> Request:
        told = {"REMOTE_ADDR": "127.0.0.1", "SERVER_PORT": str(self.port), "REQUEST_METHOD": "POST"}
        return Request(told | {"CONTENT_LENGTH": str(length), "wsgi.input": self.stream})

    @property
    def is_open(self) -> bool:
        """Whether our end may still be read from."""
        self.ours.setblocking(False)
        try:
            return self.ours.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        finally:
            self.ours.setblocking(True)

    def close(self) -> None:
        self.client.close()
        self.stream.close()
        self.ours.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def lines(listener: socket.socket, pool: ThreadPoolExecutor) -> Iterator[list[Line]]:  # noqa: ARG001 - ends after them
    lines = [Line(listener) for _ in range(4)]
    yield lines
    for line in lines:
        line.close()


def answered(line: Line) -> None:
    """Let a request and its answer pass."""
    line.client.sendall(b"request")
    assert line.ours.recv(9) == b"request"
    line.ours.sendall(b"answer")
    assert line.client.recv(9) == b"answer"


def test_a_slow_body_is_cut_and_a_busy_connection_kept(
    lines: list[Line], pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it drips or is silent; a connection of the same client that is answered meanwhile goes on."""
    monkeypatch.setattr(module, "_SLACK", 0.02)
    silent, drips, busy, _ = lines
    bodies = Bodies(largest=99, within=0.1, slow=9)
    read: list[Future[bytes]] = [pool.submit(bodies.read, line.request(9)) for line in (silent, drips)]

    def cut() -> bool:
        answered(busy)
        bodies.cut_overdue()
        if not read[1].done():
            drips.client.sendall(b" ")
        return all(future.done() for future in read)

    eventually(lambda: len(bodies._under_way) == 2)
    last = max(reading.began for reading in bodies._under_way.values())
    eventually(lambda: time.monotonic() > last + 0.1)
    eventually(cut)
    assert [type(future.exception()) for future in read] == [TooSlow, TooSlow]
    assert busy.is_open


def test_a_body_in_time_is_left_alone(lines: list[Line], pool: ThreadPoolExecutor) -> None:
    """Nothing is cut before its time; what ends early is malformed, not slow."""
    bodies = Bodies(largest=99, within=60, slow=9)
    whole, half = (pool.submit(bodies.read, line.request(4)) for line in lines[:2])
    eventually(lambda: len(bodies._under_way) == 2)
    bodies.cut_overdue()
    lines[0].client.sendall(b"body")
    lines[1].client.sendall(b"bo")
    lines[1].client.shutdown(socket.SHUT_WR)
    assert whole.result(5) == b"body"
    assert isinstance(half.exception(5), Malformed)
    assert not bodies._under_way


def test_many_slow_bodies_have_less_time(
    lines: list[Line], pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While more are slow than may be, none has more than the shorter time."""
    monkeypatch.setattr(module, "SLOW_AFTER", 0.05)
    bodies = Bodies(largest=99, within=60, slow=2)
    few = [pool.submit(bodies.read, line.request(9)) for line in lines[:2]]

    def look() -> bool:
        bodies.cut_overdue()
        return all(future.done() for future in few)

    eventually(lambda: len(bodies._under_way) == 2)
    assert not look()
    third = pool.submit(bodies.read, lines[2].request(9))
    eventually(look)
    assert isinstance(third.exception(5), TooSlow)


def test_strangers_hold_few_threads(
    listener: socket.socket, lines: list[Line], pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half as many as may be slow are read at once, each for the shorter time; one more is told so at once."""
    monkeypatch.setattr(module, "SLOW_AFTER", 0.05)
    bodies = Bodies(largest=99, within=60, slow=4)
    strangers = [pool.submit(bodies.read_of_stranger, line.request(9)) for line in lines[:2]]
    eventually(lambda: len(bodies._under_way) == 2)
    last = max(reading.began for reading in bodies._under_way.values())
    assert isinstance(pool.submit(bodies.read_of_stranger, lines[2].request(9)).exception(5), Overloaded)
    lines[3].client.sendall(b"body")
    assert pool.submit(bodies.read, lines[3].request(4)).result(5) == b"body"

    def look() -> bool:
        bodies.cut_overdue()
        return all(future.done() for future in strangers)

    eventually(lambda: time.monotonic() > last + 0.05)  # both are cut at once: a connection that is cut cuts others
    eventually(look)
    assert [type(future.exception()) for future in strangers] == [TooSlow, TooSlow]
    later = Line(listener)  # idle connections of the same client were cut as well
    later.client.sendall(b"body")
    assert pool.submit(bodies.read_of_stranger, later.request(4)).result(5) == b"body"  # their places are free again
    later.close()
