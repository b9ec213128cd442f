"""Links between processes: what passes, what is cut, held, slowed down, or robbed of its answer."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from lab.drill.nemesis.links import Switchboard

_PATIENCE = 5.0


class _Echo:
    """Answers what it gets in capitals; `heard` is all it got."""

    def __init__(self) -> None:
        self.heard = b""
        self.got_something = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                one, _ = self._listener.accept()
            except OSError:
                return
            with one, suppress(OSError):
                while data := one.recv(100):
                    self.heard += data
                    self.got_something.set()
                    one.sendall(data.upper())

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def echo() -> Iterator[_Echo]:
    """Return a server."""
    server = _Echo()
    yield server
    server.close()


@pytest.fixture
def board() -> Iterator[Switchboard]:
    """Return a switchboard without links."""
    with Switchboard() as board:
        yield board


def _connect(place: str) -> socket.socket:
    host, _, port = place.partition(":")
    return socket.create_connection((host, int(port)), timeout=_PATIENCE)


def _ask(one: socket.socket, what: bytes) -> bytes:
    """Return the answer; empty if the connection was cut."""
    with suppress(ConnectionError):
        one.sendall(what)
        return one.recv(100)
    return b""


def test_a_link_lets_everything_through(board: Switchboard, echo: _Echo) -> None:
    """Left alone, it is not noticed."""
    with _connect(board.link("a", "127.0.0.1", echo.port)) as one:
        assert _ask(one, b"hello") == b"HELLO"
        assert _ask(one, b"again") == b"AGAIN"
    assert board.names() == ["a"]


def test_a_cut_ends_what_is_connected_only(board: Switchboard, echo: _Echo) -> None:
    """Who was connected is cut off; who comes then is served."""
    place = board.link("a", "127.0.0.1", echo.port)
    with _connect(place) as one:
        assert _ask(one, b"hello") == b"HELLO"
        board.cut("a")
        assert _ask(one, b"hello") == b""
    with _connect(place) as one:
        assert _ask(one, b"hello") == b"HELLO"


def test_a_refusing_link_serves_no_client(board: Switchboard, echo: _Echo) -> None:
    """Neither who was connected nor who comes; afterwards all clients again."""
    place = board.link("a", "127.0.0.1", echo.port)
    with _connect(place) as before, board.refused("a"), _connect(place) as one:
        assert _ask(one, b"hello") == _ask(before, b"hello") == b""
    assert echo.heard == b""
    with _connect(place) as one:
        assert _ask(one, b"hello") == b"HELLO"


def test_a_link_without_a_server_refuses(board: Switchboard, echo: _Echo) -> None:
    """A process that is dead can't be reached through its link either."""
    echo.close()
    with _connect(board.link("a", "127.0.0.1", echo.port)) as one:
        assert _ask(one, b"hello") == b""
    echo.__init__()  # type: ignore[misc]  # for the fixture to close


def test_a_held_link_goes_on_later(board: Switchboard, echo: _Echo) -> None:
    """Nothing arrives and nothing is said; what was sent meanwhile arrives in the end."""
    with _connect(board.link("a", "127.0.0.1", echo.port)) as one:
        with board.held("a"):
            one.sendall(b"hello")
            assert not echo.got_something.wait(0.1)
        assert one.recv(100) == b"HELLO"


def test_a_slow_link_is_late(board: Switchboard, echo: _Echo) -> None:
    """Each way takes the delay longer."""
    with _connect(board.link("a", "127.0.0.1", echo.port)) as one, board.slowed("a", 0.05):
        began = time.monotonic()
        assert _ask(one, b"hello") == b"HELLO"
        assert time.monotonic() - began >= 0.1


def test_a_lost_answer_was_heard(board: Switchboard, echo: _Echo) -> None:
    """The server gets the request and does it; the client never hears of it."""
    place = board.link("a", "127.0.0.1", echo.port)
    with board.answers_lost("a"), _connect(place) as one:
        assert _ask(one, b"hello") == b""
    assert echo.heard == b"hello"
    with _connect(place) as one:
        assert _ask(one, b"hello") == b"HELLO"
