"""Calls to a service that runs several times: spread over its instances, past those that are gone."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from common.errors import PeerUnavailable
from common.peer import Peer
from tests.unit.test_peer import Server, _response, clock

__all__ = ["clock"]

Make = Callable[..., Peer]


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    servers = [Server(), Server()]
    yield servers
    for server in servers:
        server.close()


@pytest.fixture
def make() -> Iterator[Make]:
    made = []

    def peer(*urls: str, timeout: float = 1.0) -> Peer:
        made.append(Peer("stock", ", ".join(urls), lambda: "the-token", timeout=timeout, connections=2))
        return made[-1]

    yield peer
    for one in made:
        one.close()


def nobody() -> str:
    """Return the URL of a port where no process listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def test_calls_are_spread(servers: list[Server], make: Make) -> None:
    """The instances are called in turn."""
    for server in servers:
        server.answers = [_response(200)] * 3
    peer = make(*(server.url for server in servers))
    for _ in range(6):
        peer.call("GET", "/")
    assert [len(server.requests) for server in servers] == [3, 3]


def test_an_instance_that_is_gone_is_passed_over(servers: list[Server], make: Make) -> None:
    """A refused connection sends the call on to the next instance, wherever the turn begins."""
    servers[0].answers = [_response(200)] * 4
    peer = make(nobody(), servers[0].url, nobody())
    for _ in range(4):
        assert peer.call("GET", "/")[0] == 200


def test_ready_if_one_instance_is(servers: list[Server], make: Make) -> None:
    """One that is not ready is left alone by calls before long, and the other takes them: whichever is asked first."""
    servers[0].answers = [_response(503)] * 2
    servers[1].answers = [_response(200, b"{}")] * 2 + [_response(503)]
    peer = make(*(server.url for server in servers))
    peer.ready()
    peer.ready()
    with pytest.raises(PeerUnavailable):
        make(servers[1].url).ready()


def test_no_server_there(make: Make) -> None:
    """Each instance is tried once; when none can be connected to the service is unavailable, at once."""
    peer = make(nobody(), nobody())
    started = time.monotonic()
    with pytest.raises(PeerUnavailable, match="stock"):
        peer.call("GET", "/")
    assert time.monotonic() - started < 0.5


def test_one_instance_that_is_ready_is_enough(servers: list[Server], make: Make) -> None:
    """One that is not, or refuses our token, is passed over; none that is: the service is not ready."""
    servers[0].answers = [_response(503, b"{}"), _response(401, b"{}"), _response(503, b"{}")]
    servers[1].answers = [_response(200, b"{}"), _response(200, b"{}"), _response(401, b"{}")]
    peer = make(*(server.url for server in servers))
    peer.ready()
    peer.ready()
    with pytest.raises(PeerUnavailable):
        peer.ready()


def test_a_cut_call_is_repeated_at_the_next_instance(servers: list[Server], make: Make) -> None:
    """What an instance that died was asked is asked of another one, with the same body."""
    servers[0].answers = [b""]
    servers[1].answers = [_response(200, b"{}")]
    peer = make(*(server.url for server in servers))
    assert peer.call("POST", "/reservations", {"order": 1}) == (200, {})
    assert servers[0].requests[0].endswith(b'{"order":1}')
    assert servers[1].requests[0].endswith(b'{"order":1}')


def test_cut_at_both(servers: list[Server], make: Make) -> None:
    """A call that was cut twice is not tried a third time: it may have been done twice already."""
    for server in servers:
        server.answers = [b"", b""]
    with pytest.raises(PeerUnavailable):
        make(*(server.url for server in servers)).call("GET", "/")
    assert [len(server.requests) for server in servers] == [1, 1]


def test_cut_then_gone(servers: list[Server], make: Make) -> None:
    """A call cut at one instance and refused by the other comes back to the first."""
    servers[0].answers = [b"", _response(200)]
    assert make(servers[0].url, nobody()).call("GET", "/")[0] == 200


def test_an_instance_that_hangs_is_asked_last(servers: list[Server], make: Make) -> None:
    """One call waits in vain for an instance that does not answer; the next ones go to the others."""
    servers[0].answers = [lambda _: servers[0].stop.wait(5) and None]
    servers[1].answers = [_response(200)] * 4
    peer = make(*(server.url for server in servers), timeout=0.2)
    with pytest.raises(PeerUnavailable):
        peer.call("GET", "/")
    for _ in range(4):
        assert peer.call("GET", "/")[0] == 200
    assert len(servers[0].requests) == 1


def test_an_answer_is_an_answer(servers: list[Server], make: Make) -> None:
    """A 503 is not asked of the next instance: it speaks for what they share."""
    servers[0].answers = [_response(503, b"{}")]
    with pytest.raises(PeerUnavailable):
        make(*(server.url for server in servers)).call("GET", "/")
    assert servers[1].requests == []


@pytest.mark.usefixtures("clock")
def test_an_instance_that_fails_is_left_to_itself(servers: list[Server], make: Make) -> None:
    """Of two instances, one answers 500: after five of them every call goes to the other."""
    servers[0].answers = [_response(500)] * 5
    servers[1].answers = [_response(200)] * 15
    peer = make(*(server.url for server in servers))
    failed = 0
    for _ in range(20):
        try:
            peer.call("GET", "/")
        except PeerUnavailable:
            failed += 1
    assert failed == len(servers[0].requests) == 5
    assert len(servers[1].requests) == 15


@pytest.mark.usefixtures("clock")
def test_all_instances_left_to_themselves(servers: list[Server], make: Make) -> None:
    """Where every instance fails, none is asked any more: unavailable at once."""
    for server in servers:
        server.answers = [_response(500)] * 5
    peer = make(*(server.url for server in servers))
    for _ in range(14):
        with pytest.raises(PeerUnavailable):
            peer.call("GET", "/")
    assert [len(server.requests) for server in servers] == [5, 5]


def test_other_instances_from_now_on(servers: list[Server], make: Make) -> None:
    """A new one is called without a restart, one that is gone no more; links beside it follow."""
    servers[0].answers = [_response(200)] * 4
    servers[1].answers = [_response(200)] * 4
    peer = make(servers[0].url)
    beside = peer.beside("slow", timeout=1.0)
    for one in (peer, beside):
        assert one.call("GET", "/")[0] == 200
    peer.use([servers[1].url])
    later = peer.beside("later", timeout=1.0)
    for one in (peer, beside, later):
        assert one.call("GET", "/")[0] == 200
    assert [len(server.requests) for server in servers] == [2, 3]
    assert peer.service == "stock"


def test_one_that_left_the_list_is_tried_where_none_listed_is_there(servers: list[Server], make: Make) -> None:
    """It has just started again and is not listed yet, while the only one that is listed has died."""
    servers[1].answers = [_response(200)] * 2
    peer = make(servers[0].url, servers[1].url)
    peer.use([servers[0].url])
    servers[0].close()
    for _ in range(2):
        assert peer.call("GET", "/")[0] == 200
    assert len(servers[1].requests) == 2


def test_one_that_left_long_ago_is_not_tried(
    servers: list[Server], make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its port may be another program's by now."""
    monkeypatch.setattr("common.peer._GONE_FOR", 0.0)
    servers[1].answers = [_response(200)]
    peer = make(servers[0].url, servers[1].url)
    peer.use([servers[0].url])
    servers[0].close()
    with pytest.raises(PeerUnavailable):
        peer.call("GET", "/")
    assert servers[1].requests == []


@pytest.mark.parametrize("status", [401, 403])
def test_another_service_at_the_port_of_one_that_left_is_no_answer(
    servers: list[Server], make: Make, status: int
) -> None:
    """It refuses a token that is not for it: the peer is unavailable, and not one that refuses us."""
    servers[1].answers = [_response(status)]
    peer = make(servers[0].url, servers[1].url)
    peer.use([servers[0].url])
    servers[0].close()
    with pytest.raises(PeerUnavailable):
        peer.call("GET", "/")


def test_few_that_left_are_remembered(servers: list[Server], make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that left last; one that is listed again is called in its turn."""
    monkeypatch.setattr("common.peer._GONE", 1)
    servers[1].answers = [_response(200)]
    others = [nobody() for _ in range(3)]
    peer = make(servers[1].url)
    for one in others:
        peer.use([one])
    with pytest.raises(PeerUnavailable):
        peer.call("GET", "/")
    assert servers[1].requests == []
    peer.use([servers[1].url])
    assert peer.call("GET", "/")[0] == 200


def test_instances_that_stay_keep_their_connections(servers: list[Server], make: Make) -> None:
    """A list that has changed elsewhere costs those that stay nothing."""
    servers[0].answers = [_response(200)] * 2
    peer = make(servers[0].url)
    peer.call("GET", "/")
    peer.use([servers[0].url, servers[1].url])
    peer.use([servers[0].url])
    peer.call("GET", "/")
    assert servers[0].connections == 1


@pytest.mark.usefixtures("clock")
def test_one_that_is_gone_is_not_told_as_left_alone(servers: list[Server]) -> None:
    """Its gauge goes back when it goes, and what still fails there afterwards is told no more."""
    told: list[tuple[str, str, bool]] = []
    servers[0].answers = [_response(500)] * 5
    peer = Peer("stock", servers[0].url, str, timeout=1, connections=1, watch=lambda *what: told.append(what))
    for _ in range(5):
        with pytest.raises(PeerUnavailable):
            peer.call("GET", "/")
    assert told == [("stock", servers[0].url, True)]
    peer.use([servers[1].url])
    assert told[1:] == [("stock", servers[0].url, False)]
    peer.close()


def test_a_call_under_way_comes_to_its_end(servers: list[Server], make: Make) -> None:
    """The instance that it waits for may be taken off the list meanwhile."""
    under_way, go_on = threading.Event(), threading.Event()

    def answer(connection: socket.socket) -> None:
        under_way.set()
        go_on.wait(5)
        connection.sendall(_response(200, b"{}"))

    servers[0].answers = [answer]
    peer = make(servers[0].url, timeout=5.0)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(peer.call, "GET", "/")
        assert under_way.wait(5)
        peer.use([servers[1].url])
        go_on.set()
        assert call.result(5) == (200, {})
