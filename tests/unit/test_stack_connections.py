"""Requests that go together over connections that are kept, against servers that answer as RocketMQ's may."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from halfmessage.errors import BrokerError
from halfmessage.mq.rocketmq_console import connections as module
from halfmessage.mq.rocketmq_console import remoting
from halfmessage.mq.rocketmq_console.connections import KEPT, UNDER_WAY, Connections
from halfmessage.mq.rocketmq_console.remoting import Address, Refused
from tests.unit.rocketmq_store import frame

Asked = list[dict[str, object]]
Serve = Callable[[socket.socket, Asked], None]


def _answer(request: dict[str, object], code: int = 0) -> bytes:
    return frame({"code": code, "opaque": request["opaque"], "extFields": request["extFields"], "remark": "no"})


class Server:
    """Accepts connections; `serve` does what it likes with each."""

    def __init__(self, serve: Serve) -> None:
        self.accepted: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = Address("127.0.0.1", self._listener.getsockname()[1])
        self._serve = serve
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self.accepted:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted.append(connection)
            threading.Thread(target=self._read, args=[connection], daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        with suppress(OSError), connection.makefile("rb") as octets:
            while head := octets.read(4):
                frame = octets.read(int.from_bytes(head))
                header = json.loads(frame[4 : 4 + int.from_bytes(frame[1:4])])
                self._serve(connection, [header])


@pytest.fixture
def serving() -> Iterator[Callable[[Serve], Server]]:
    servers: list[Server] = []

    def start(serve: Serve) -> Server:
        servers.append(Server(serve))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def _echo(connection: socket.socket, asked: Asked) -> None:
    connection.sendall(b"".join(map(_answer, asked)))


def _requests(count: int) -> list[module.Request]:
    return [(11, {"number": number}) for number in range(count)]


def _told(answers: list[remoting.Answer | Refused]) -> list[str]:
    return [answer[0]["number"] for answer in answers if not isinstance(answer, Refused)]


def test_answers_are_told_apart_whatever_their_order(serving: Callable[[Serve], Server]) -> None:
    """A broker answers from several threads."""
    waiting: Asked = []

    def backwards(connection: socket.socket, asked: Asked) -> None:
        waiting.extend(asked)
        if len(waiting) == UNDER_WAY:
            connection.sendall(b"".join(map(_answer, reversed(waiting))))
            waiting.clear()

    server = serving(backwards)
    assert _told(Connections().ask(server.address, _requests(2 * UNDER_WAY))) == [str(n) for n in range(2 * UNDER_WAY)]
    assert len(server.accepted) == 1


def test_one_that_is_refused_does_not_stop_the_others(serving: Callable[[Serve], Server]) -> None:
    """It is told in its place, with what the server said."""

    def refuses(connection: socket.socket, asked: Asked) -> None:
        for one in asked:
            fields = one["extFields"]
            assert isinstance(fields, dict)
            connection.sendall(_answer(one, 17 if fields["number"] == "1" else 0))

    first, refused, last = Connections().ask(serving(refuses).address, _requests(3))
    assert isinstance(refused, Refused)
    assert (refused.code, refused.fields) == (17, {"number": "1"})
    assert _told([first, last]) == ["0", "2"]


def test_a_connection_is_kept(serving: Callable[[Serve], Server]) -> None:
    """For the next who asks; what nobody asks connects to nothing."""
    server, connections = serving(_echo), Connections()
    assert connections.ask(server.address, []) == []
    for _ in range(3):
        connections.ask(server.address, _requests(1))
    assert len(server.accepted) == 1


def test_one_that_died_meanwhile_is_made_anew(serving: Callable[[Serve], Server]) -> None:
    """The server was started anew, say: what is only read may be asked again."""
    server, connections = serving(_echo), Connections()
    connections.ask(server.address, _requests(1))
    server.accepted[0].shutdown(socket.SHUT_RDWR)
    assert _told(connections.ask(server.address, _requests(1))) == ["0"]
    assert len(server.accepted) == 2


def test_a_server_that_hangs_up_is_told(serving: Callable[[Serve], Server]) -> None:
    """After one more try, not for ever."""

    def hang_up(connection: socket.socket, _: Asked) -> None:
        connection.shutdown(socket.SHUT_RDWR)

    server, connections = serving(hang_up), Connections()
    for times in (1, 2):
        with pytest.raises(BrokerError, match="does not answer"):
            connections.ask(server.address, _requests(1))
        assert len(server.accepted) == times


def test_a_server_that_says_nothing_is_waited_for_once(
    serving: Callable[[Serve], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on a connection that was kept: who waits gets an error after that time, not after twice as long."""
    monkeypatch.setattr(remoting, "PATIENCE", 0.2)
    silent: list[bool] = []
    server = serving(lambda connection, asked: None if silent else _echo(connection, asked))
    connections = Connections()
    connections.ask(server.address, _requests(1))
    silent.append(True)
    with pytest.raises(BrokerError, match="timed out"):
        connections.ask(server.address, _requests(1))
    assert len(server.accepted) == 1


def test_an_answer_to_nothing_is_told(serving: Callable[[Serve], Server]) -> None:
    """And the connection is not used again."""

    def another(connection: socket.socket, asked: Asked) -> None:
        connection.sendall(_answer({**asked[0], "opaque": 99}))

    server, connections = serving(another), Connections()
    for times in (1, 2):
        with pytest.raises(BrokerError, match="99, which was not asked"):
            connections.ask(server.address, _requests(1))
        assert len(server.accepted) == times


def test_no_more_are_kept_than_are_of_use_and_none_in_the_end(serving: Callable[[Serve], Server]) -> None:
    """Each of many threads had one."""
    together = threading.Barrier(KEPT + 2)

    def all_at_once(connection: socket.socket, asked: Asked) -> None:
        together.wait(10)
        _echo(connection, asked)

    server, connections = serving(all_at_once), Connections()
    threads = [threading.Thread(target=connections.ask, args=[server.address, _requests(1)]) for _ in range(KEPT + 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    kept = connections._idle[server.address]
    assert (len(server.accepted), len(kept)) == (KEPT + 2, KEPT)
    sockets = [connection._socket for connection in kept]
    del connections, kept
    assert {one.fileno() for one in sockets} == {-1}
