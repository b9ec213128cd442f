"""When a client is given up and made anew, and what callers are told meanwhile."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rocketmq.grpc_protocol", reason="the gRPC client is an extra: .[rocketmq]")

from rocketmq.grpc_protocol import Code
from rocketmq.v5.client.connection import RpcClient

from halfmessage.mq.rocketmq_grpc import session as module
from halfmessage.mq.rocketmq_grpc.goodbyes import Goodbyes
from halfmessage.mq.rocketmq_grpc.place import Place
from halfmessage.mq.rocketmq_grpc.session import Away, Session
from tests.support import eventually
from tests.unit.rocketmq_grpc.kit import Client


class Proxy:
    """A port that can be opened and closed, and the clients that were made for it."""

    def __init__(self) -> None:
        self.made: list[Client] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.next_client: Callable[[], Client] = Client

    def make(self) -> Client:
        self.made.append(self.next_client())
        return self.made[-1]

    def close(self) -> None:
        self._listener.close()

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """Return where a RocketMQ seems to listen."""
    proxy = Proxy()
    yield proxy
    proxy.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have sessions look every few milliseconds."""
    monkeypatch.setattr(module, "_EVERY", 0.02)
    monkeypatch.setattr(module, "_EVERY_DOWN", 0.02)
    monkeypatch.setattr(module, "_EVERY_REFUSED", 0.02)
    monkeypatch.setattr(module, "_LINGER", 0.0)


@pytest.fixture
def session(proxy: Proxy) -> Iterator[Session]:
    """Return a session that looks often, of a client that is not asked."""
    session = Session(Place("127.0.0.1", proxy.port), "test", proxy.make)
    session.start()
    yield session
    session.close()


def refuses(code: int) -> Any:
    return lambda: SimpleNamespace(status=SimpleNamespace(code=code, message="cannot find client settings"))


def times_out() -> Any:
    raise TimeoutError


def test_a_client_that_is_well_is_kept(session: Session, proxy: Proxy) -> None:
    """However often it is looked at."""
    client = session.client(5)
    eventually(lambda: len(client.rpc_client.asked("heartbeat")) > 5)
    assert proxy.made == [client]
    assert (client.started, client.stopped) == (1, 0)


def test_a_client_that_was_forgotten_is_replaced_at_once(session: Session, proxy: Proxy) -> None:
    """The sign of a restarted proxy: the heartbeat is refused. Without any request, the next one is there."""
    first = session.client(5)
    first.rpc_client.answers["heartbeat_async"] = refuses(Code.UNRECOGNIZED_CLIENT_TYPE)
    eventually(lambda: session.client(5) is not first)
    eventually(lambda: first.stopped == 1)
    assert len(proxy.made) == 2


def test_a_stream_that_ended_is_replaced(session: Session) -> None:
    """Check-backs come on it, and the client itself would look after it in five minutes."""
    first = session.client(5)
    first.stream_is_over = True
    eventually(lambda: session.client(5) is not first)


def test_one_slow_heartbeat_is_forgiven_two_are_not(
    session: Session, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy machine answers late once; a stuck channel does again."""
    first = session.client(5)
    monkeypatch.setattr(module, "_PATIENCE", 0.0)  # every failure is one of time
    calls = iter([times_out])

    def once() -> Any:
        return next(calls, first.rpc_client.answer)()

    first.rpc_client.answers["heartbeat_async"] = once
    before = len(first.rpc_client.asked("heartbeat"))
    eventually(lambda: len(first.rpc_client.asked("heartbeat")) > before + 4)
    assert proxy.made == [first]
    monkeypatch.setattr(proxy, "next_client", Client)
    first.rpc_client.answers["heartbeat_async"] = times_out
    eventually(lambda: len(proxy.made) > 1)


def test_a_stream_that_goes_deaf_is_replaced(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of a client that is asked: once is a busy machine, twice is a stream on which RocketMQ does not reach it."""
    monkeypatch.setattr(module, "_PATIENCE", 0.0)
    place = Place("127.0.0.1", proxy.port)
    session = Session(place, "test", proxy.make, goodbyes=Goodbyes(place, tmp_path))
    session.start()
    first = session.client(5)
    first.deaf_for = 1
    eventually(lambda: first.deaf_for < -3)
    assert proxy.made == [first]
    first.deaf_for = 2
    eventually(lambda: session.client(5) is not first)
    session.close()


def test_while_no_proxy_listens_callers_are_told_so(session: Session, proxy: Proxy) -> None:
    """At once and with the address; as soon as a proxy does, there is a new client."""
    first = session.client(5)
    proxy.close()
    first.stream_is_over = True
    eventually(lambda: _is_away(session))
    with pytest.raises(Away, match=rf"127\.0\.0\.1:{proxy.port} is not there"):
        session.client(5)
    proxy.open()
    eventually(lambda: not _is_away(session))
    assert session.client(5) is not first


def test_a_client_that_knows_too_little_is_made_anew(session: Session) -> None:
    """Asked for by a consumer with a new topic; a second one who held the same old client gets the successor."""
    first = session.client(5)
    second = session.anew(first, 5)
    assert second is not first
    assert session.anew(first, 5) is second


def test_after_closing_there_is_none(session: Session) -> None:
    """Its client said goodbye; who asks is told that it was closed."""
    client = session.client(5)
    session.close()
    assert client.stopped == 1
    with pytest.raises(Away, match="closed"):
        session.client(5)


def without_group() -> Client:
    """Return a client whose stream RocketMQ ended as it does for want of the group."""
    client = Client()
    client.stream_is_over = True
    client.last_words = "process client telemetryCommand failed. group not found: stock"
    return client


@pytest.fixture
def refused(proxy: Proxy) -> Iterator[Session]:
    """Return a session of a consumer whose group is missing, known to be refused."""
    RpcClient()  # starts the event loop that all clients share
    proxy.next_client = without_group
    session = Session(Place("127.0.0.1", proxy.port), "test", proxy.make, "stock")
    session.start()
    eventually(lambda: session.refusal)
    yield session
    session.close()


def test_a_missing_group_is_said_by_name_and_asked_for_with_one_client(refused: Session, proxy: Proxy) -> None:
    """On new streams of the same client, opened on its event loop; a heartbeat says when the group is there."""
    (client,) = proxy.made
    with pytest.raises(Away, match=r"no consumer group stock.*orders provision"):
        refused.client(5)
    eventually(lambda: len(client.streams_opened_on) > 3)
    assert proxy.made == [client]
    assert set(client.streams_opened_on) == {"channel_io_loop_thread"}
    assert client.rpc_client.asked("heartbeat") == []
    client.stream_is_over = False
    eventually(lambda: not refused.refusal)
    assert (refused.client(5), proxy.made) == (client, [client])
    assert client.rpc_client.asked("heartbeat")


def test_what_fails_otherwise_than_for_want_of_its_group_gets_a_new_client_in_the_end(
    refused: Session, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its channel may be dead; one failure alone may be a busy machine."""
    monkeypatch.setattr(module, "_PATIENCE", 0.1)
    (client,) = proxy.made
    proxy.next_client = Client
    opened = len(client.streams_opened_on)
    client.last_words = "somebody tripped over the cable"
    second = eventually(lambda: None if _is_away(refused) else refused.client(5), within=30)
    assert second is proxy.made[1]
    assert len(client.streams_opened_on) - opened >= module._STRIKES_REFUSED - 1
    eventually(lambda: client.stopped == 1)


def _is_away(session: Session) -> bool:
    try:
        session.client(5)
    except Away:
        return True
    return False
