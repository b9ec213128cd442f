"""Blocking calls on channels of our own, to a real gRPC server that stands for RocketMQ's proxy."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rocketmq.v5", reason="the gRPC client is an extra: .[rocketmq]")

import grpc
from rocketmq.grpc_protocol import Code, SendMessageRequest
from rocketmq.grpc_protocol.definition_pb2 import Status
from rocketmq.grpc_protocol.service_pb2 import SendMessageResponse

from halfmessage.mq.rocketmq_grpc.lines import Lines

_METHOD = "/apache.rocketmq.v2.MessagingService/SendMessage"


class _Proxy(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers SendMessage, and knows from how many connections it was called."""

    def __init__(self) -> None:
        self.peers: set[str] = set()

    def service(self, details: Any) -> Any:
        if details.method != _METHOD:
            return None
        return grpc.unary_unary_rpc_method_handler(
            self._send, SendMessageRequest.FromString, SendMessageResponse.SerializeToString
        )

    def _send(self, _request: Any, context: Any) -> Any:
        self.peers.add(context.peer())
        return SendMessageResponse(status=Status(code=Code.OK))


@pytest.fixture
def proxy() -> Iterator[tuple[_Proxy, Any]]:
    """Return a server, and its endpoints."""
    handler = _Proxy()
    server = grpc.server(ThreadPoolExecutor(2), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handler, SimpleNamespace(facade=f"ipv4:127.0.0.1:{port}")
    server.stop(None)


def _call(lines: Lines, endpoints: Any) -> int:
    return int(lines.to(endpoints).SendMessage(SendMessageRequest(), timeout=10).status.code)


def test_a_line_is_kept_until_it_is_renewed(proxy: tuple[_Proxy, Any]) -> None:
    """Calls share a connection; after `renew` the next one has a new one."""
    handler, endpoints = proxy
    lines = Lines(tls=False)
    assert [_call(lines, endpoints) for _ in range(3)] == [Code.OK] * 3
    assert len(handler.peers) == 1
    lines.renew(endpoints)
    assert _call(lines, endpoints) == Code.OK
    assert len(handler.peers) == 2
    lines.close()


def test_a_line_that_was_closed(proxy: tuple[_Proxy, Any]) -> None:
    """A stub that a thread still holds raises what the adapter translates."""
    _, endpoints = proxy
    lines = Lines(tls=False)
    stub = lines.to(endpoints)
    lines.close()
    with pytest.raises(ValueError, match="closed channel"):
        stub.SendMessage(SendMessageRequest(), timeout=10)


def test_tls() -> None:
    """With TLS a line wants a certificate: it never falls back to plain text."""
    lines = Lines(tls=True)
    with pytest.raises(grpc.RpcError):
        lines.to(SimpleNamespace(facade="ipv4:127.0.0.1:1")).SendMessage(SendMessageRequest(), timeout=1)
    lines.close()
