"""The REST client of the command line, against a server that answers as a test says."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ops.client import Client, Refused, Unreachable, probe

PROBLEM = {
    "type": "https://example.com/problems/insufficient-stock",
    "title": "Insufficient stock",
    "status": 409,
    "detail": "There is not enough.",
    "request_id": "r-1",
    "errors": [{"pointer": "/items/0", "message": "too many"}],
}


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answers: dict[str, tuple[int, bytes]] = {
            "/fine?limit=2": (200, b'{"items":[]}'),
            "/readyz": (503, json.dumps({"detail": "Not ready: broker."}).encode()),
            "/text": (502, b"<html>"),
        }
        if self.path == "/cut":
            return  # no answer at all: the connection closes
        status, body = answers.get(self.path, (409, json.dumps(PROBLEM).encode()))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client({"order": url}, "token") as made:
        yield made


def test_an_answer_is_its_body(client: Client) -> None:
    """A query is sent, JSON comes back."""
    assert client.get("order", "/fine", limit=2) == {"items": []}


def test_a_problem_is_told_whole(client: Client) -> None:
    """Status, title, detail, the parts that are wrong and the request's id are in one line."""
    with pytest.raises(Refused) as raised:
        client.get("order", "/orders")
    told = "GET /orders: 409 Insufficient stock: There is not enough. [/items/0: too many] (request r-1)"
    assert raised.value.detail == told
    assert raised.value.problem_slug == "insufficient-stock"
    assert raised.value.http_status == 409


def test_an_answer_that_is_no_problem_document_is_told_too(client: Client) -> None:
    """Whatever a proxy in between says, there is a line and no traceback."""
    with pytest.raises(Refused, match="502"):
        client.get("order", "/text")


def test_a_cut_connection_is_unreachable(client: Client) -> None:
    """No answer is told apart from any answer."""
    with pytest.raises(Unreachable, match="connection was cut"):
        client.get("order", "/cut")


def test_a_port_where_nothing_listens_is_unreachable() -> None:
    """The line says that nothing listens there."""
    with (
        Client({"order": "http://127.0.0.1:1"}, "token") as client,
        pytest.raises(Unreachable, match="nothing listens"),
    ):
        client.get("order", "/orders")


def test_a_probe_tells_why_a_service_is_not_ready(url: str) -> None:
    """The reason in the answer is what `orders status` shows."""
    assert probe(url) == "Not ready: broker."
    assert probe("http://127.0.0.1:1") == "no answer: nothing listens there"
