"""What is missing, and what this client can't do."""

import socket
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from halfmessage.errors import BrokerError, ConsoleUnavailable, HalfMessageError
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import (
    BrokerOptions,
)
from halfmessage.mq.rocketmq_remoting import library
from halfmessage.mq.rocketmq_remoting.broker import RemotingBroker
from tests.native.standin import Standin
from tests.unit.rocketmq_remoting.kit import Open


def test_missing_library(standin: Standin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the package or the native library the error says how to get both, and what excludes them."""
    del standin
    for name in [name for name in sys.modules if name.startswith("rocketmq")]:
        monkeypatch.delitem(sys.modules, name)
    for url in (f"rocketmq4://127.0.0.1:9876?library={tmp_path}/none.so", "rocketmq4://127.0.0.1:9876"):
        with pytest.raises(HalfMessageError, match=r"rocketmq-client-cpp/releases.*only one of them"):
            open_broker(url, BrokerOptions())
    assert library.ctypes.util.find_library.__module__ == "ctypes.util"


@pytest.mark.parametrize(
    "url", [f"rocketmq4://{rest}" for rest in ("", "host", "host:1/x", "host:1?lib=x", "user@host:1", "host:1;")]
)
def test_wrong_url(url: str) -> None:
    """What names no name server is refused, with what does."""
    with pytest.raises(HalfMessageError, match="which looks like rocketmq4://host:9876"):
        open_broker(url, BrokerOptions())


def test_console_says_where_to_look(open_: Open) -> None:
    """There is no console, which is an error of its own: it says that the admin tool has one."""
    with pytest.raises(ConsoleUnavailable, match="mqadmin queryMsgByKey"):
        open_().console()


def listening(answer: bytes | None) -> socket.socket:
    """Return a server that reads one question, says `answer` and closes; None: it only listens."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            asked = connection.recv(4096)
            assert b'"code": 106' in asked
            assert len(asked) == 4 + int.from_bytes(asked[:4])
            connection.sendall(answer or b"")

    if answer is not None:
        threading.Thread(target=serve, daemon=True).start()
    return server


def cluster(table: str) -> bytes:
    """Return what a name server answers: a frame with the header's length, the header, the body."""
    frame = b"\x00\x00\x00\x0a" + b'{"code":0}' + table.encode()
    return len(frame).to_bytes(4) + frame


@pytest.mark.parametrize("table", ['{"brokerAddrTable":{"a":{"brokerAddrs":{0:"%s"}}}}', '{"brokerAddrs":{"0":"%s"}}'])
def test_ping(standin: Standin, table: str) -> None:
    """A name server that knows a broker which takes connections is pinged without complaint."""
    del standin
    with listening(None) as nobody, listening(None) as there:
        there_at, nobody_at = (f"127.0.0.1:{server.getsockname()[1]}" for server in (there, nobody))
        nobody.close()
        with listening(cluster(table % there_at)) as names:
            broker = RemotingBroker(f"{nobody_at};127.0.0.1:{names.getsockname()[1]}", BrokerOptions())
            broker.ping()
            broker.close()


@pytest.mark.parametrize(
    ("answer", "match"),
    [(cluster("{}"), "knows no broker"), (b"", "no name server"), (b"HTTP/1.1 400 Bad Request", "no name server")],
)
def test_ping_of_what_is_no_broker(standin: Standin, answer: bytes, match: str) -> None:
    """A name server without a broker, and a server that is none, are a `BrokerError`; so is a closed port."""
    del standin
    with listening(answer) as names:
        broker = RemotingBroker(f"127.0.0.1:{names.getsockname()[1]}", BrokerOptions(send_timeout=1.0))
        with pytest.raises(BrokerError, match=match):
            broker.ping()
    with pytest.raises(BrokerError, match="refused"):
        broker.ping()
    broker.close()


def test_an_older_library_has_no_trace_to_switch_off() -> None:
    """An old librocketmq lacks the function: nothing is called, and nothing fails."""
    older = library.Library(None, SimpleNamespace(), Exception, frozenset())
    older.switch_trace_off(SimpleNamespace(_handle=1))
