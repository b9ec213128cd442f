"""The few words of RocketMQ's protocol, against a small server that speaks them."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from halfmessage.errors import BrokerError
from halfmessage.mq.rocketmq_console import remoting
from halfmessage.mq.rocketmq_console.defaults import Kind
from halfmessage.mq.rocketmq_console.remoting import Address
from ops.stack import provision
from ops.stack.plan import Ports, StackPlan
from ops.stack.probes import PROBES, http2
from ops.stack.stack import Stack
from tests.unit.rocketmq_store import frame


class Server:
    """Answers each connection once, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer = b""
        self.asked = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = Address("127.0.0.1", self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def says(self, header: dict[str, object], body: bytes = b"") -> None:
        self.answer = frame(header, body)

    def close(self) -> None:
        with suppress(OSError):  # closed before
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.asked = connection.recv(65536)
                connection.sendall(self.answer)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_topics_that_no_client_can_find_are_told(server: Server) -> None:
    """Those that the broker has and the name server lists nowhere."""
    namesrv = Server()
    server.says({"code": 0}, b'{"topicConfigTable": {"a": {}, "b": {}}}')
    namesrv.says({"code": 0}, b'{"topicList": ["b", "c"]}')
    assert remoting.unregistered(server.address, namesrv.address) == {"a"}
    namesrv.close()


def test_a_broker_is_up_once_its_name_server_knows_its_topics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that missed its registration tells none of them for 10 s: it is made to register until they are known."""
    asked: list[str] = []
    missing = [{"t"}, {"t"}, set()]

    def called(name: str, answer: Callable[[], object] = lambda: None) -> None:
        def call(*_: object, **__: object) -> object:
            asked.append(name)
            return answer()

        monkeypatch.setattr(remoting, name, call)

    called("register")
    monkeypatch.setattr(provision, "make", lambda *_: asked.append("make"))
    called("unregistered", lambda: missing.pop(0))
    stack = Stack(tmp_path)
    stack._daemons["broker"] = SimpleNamespace(running=lambda: 1, log="")  # type: ignore[assignment]
    stack._await_topics(StackPlan(Ports.from_base(1)), within=5)
    assert not missing
    assert (asked.count("register"), asked.count("make")) == (3, 3)


def test_a_topic_is_created_with_its_kind(server: Server) -> None:
    """The frame has its lengths right, and the kind as an attribute."""
    server.says({"code": 0})
    remoting.create_topic(server.address, "t", Kind.TRANSACTION)
    length, head = int.from_bytes(server.asked[:4]), int.from_bytes(server.asked[4:8])
    header = json.loads(server.asked[8 : 8 + head])
    assert length == len(server.asked) - 4
    assert (header["code"], header["extFields"]["topic"]) == (17, "t")
    assert header["extFields"]["attributes"] == "+message.type=TRANSACTION"


def test_a_route_with_numbers_as_keys_is_read(server: Server) -> None:
    """RocketMQ's JSON may be none: `{0:"…"}`."""
    server.says({"code": 0}, b'{"brokerDatas":[{"brokerAddrs":{0:"127.0.0.1:1"}}]}')
    assert remoting.route(server.address, "t")["brokerDatas"][0]["brokerAddrs"] == {"0": "127.0.0.1:1"}


def test_a_refusal_is_an_error_with_its_remark(server: Server) -> None:
    """What the broker says reaches who asked."""
    server.says({"code": 17, "remark": "no such topic"})
    with pytest.raises(BrokerError, match=r"no such topic \(code 17\)"):
        remoting.send(server.address, "t", b"x")


@pytest.mark.parametrize("answer", [b"", b"\x00\x00", b"\xff\xff\xff\xff", b"\0\0\0\x08\0\0\0\x04nope"])
def test_nonsense_is_an_error(server: Server, answer: bytes) -> None:
    """A cut, endless or senseless answer is the broker's error, not ours."""
    server.answer = answer
    with pytest.raises(BrokerError, match="does not answer"):
        remoting.route(server.address, "t")


def test_a_name_server_that_is_not_there_does_not_count_as_one_that_refuses(server: Server) -> None:
    """Only an answer of its own shows that it works: "connection refused" is none."""
    plan = StackPlan(replace(Ports.from_base(20000), namesrv=server.address.port))
    server.says({"code": 17, "remark": "no such topic"})
    assert PROBES["namesrv"](plan) is None
    server.close()
    assert "Connection refused" in (PROBES["namesrv"](plan) or "")


def test_grpc_is_told_from_something_else(server: Server) -> None:
    """Only a server that answers in HTTP/2 counts."""
    server.answer = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
    assert http2(server.address.port) is None
    server.answer = b"HTTP/1.1 400"
    assert http2(server.address.port) == f"127.0.0.1:{server.address.port} is no gRPC."
