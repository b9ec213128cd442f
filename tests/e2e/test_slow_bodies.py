"""Clients that announce a body and send it slowly, or never: threads are not theirs to hold."""

import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress

import pytest
from urllib3.exceptions import ProtocolError

from tests.e2e.shop import Shop, at_once
from tests.support import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.embedded("bodies are read before any server is asked")]

THREADS = 4
CLIENTS = 12
LENGTH = 1000
JSON = {"Content-Type": "application/json"}
ANNOUNCED = {"Content-Length": str(LENGTH)}


def line(
    shop: Shop, stack: ExitStack, method: str, path: str, headers: Mapping[str, str], *, at: str = "goods"
) -> socket.socket:
    """Send the head of a request, and nothing of its body."""
    address = ("127.0.0.1", shop.deployment.plan.ports[at])
    connection = stack.enter_context(socket.create_connection(address, timeout=10))
    told = "".join(f"{name}: {value}\r\n" for name, value in ({"Host": "x"} | headers).items())
    connection.sendall(f"{method} {path} HTTP/1.1\r\n{told}\r\n".encode())
    return connection


def answer(connection: socket.socket) -> str:
    """Return all that is sent until the server ends the connection."""
    pieces = []
    with suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces).decode()


@contextmanager
def dripping(connections: list[socket.socket]) -> Iterator[None]:
    """Send a blank on each connection, again and again."""
    done = threading.Event()

    def drip() -> None:
        while not done.wait(0.05):
            for connection in connections:
                with suppress(OSError):  # it was ended, which is the point
                    connection.sendall(b" ")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("announced", [ANNOUNCED, {"Transfer-Encoding": "chunked"}], ids=["length", "chunks"])
@pytest.mark.parametrize("expects", [False, True], ids=["", "100-continue"])
def test_what_is_refused_is_answered_without_its_body(shop: Shop, announced: dict[str, str], expects: bool) -> None:
    """401, 403, 404, 405, 415, 422 and reads: the answer comes at once, says that the connection ends, and it does."""
    admin, user = shop.bearer(scopes=("admin",)), shop.bearer()
    announced = announced | ({"Expect": "100-continue"} if expects else {})
    cases = [
        ("POST", "/goods", JSON, 401),
        ("POST", "/goods", user | JSON, 403),
        ("POST", "/nothing", admin | JSON, 404),
        ("PATCH", "/goods/9", JSON, 401),
        ("DELETE", "/goods", admin | JSON, 405),
        ("POST", "/goods", admin, 415),
        ("POST", "/goods?a=1", admin | JSON, 422),
        ("POST", "/goods", admin | JSON | {"Idempotency-Key": ","}, 400),
        ("GET", "/goods", admin, 422),
        ("GET", "/healthz", {}, 422),
        ("DELETE", "/nothing", {}, 404),
    ]
    if "Content-Length" in announced:
        cases.append(("POST", "/goods", admin | JSON | {"Content-Length": "99999999"}, 413))
    for method, path, headers, status in cases:
        with ExitStack() as stack:
            told = answer(line(shop, stack, method, path, announced | headers))
        assert told.startswith(f"HTTP/1.1 {status} "), (method, path, told[:99])
        assert re.search(r"\r\nconnection: close\r\n", told.lower()), (method, path, told)


def test_dripping_without_a_token_holds_no_thread(shop: Shop) -> None:
    """Three times as many clients as threads drip, with no token or a wrong one: all others are served at once."""
    with shop.settings("goods", threads=THREADS, body_timeout=30), ExitStack() as stack:
        heads = [ANNOUNCED | JSON, ANNOUNCED | JSON | {"Authorization": "Bearer x"}]
        slow = [line(shop, stack, "POST", "/goods", heads[i % 2]) for i in range(CLIENTS)]
        with dripping(slow):
            calls = [lambda: shop.raw("goods", "GET", "/goods", headers=shop.bearer()).status for _ in range(CLIENTS)]
            assert at_once(calls) == [200] * CLIENTS
        assert all(answer(connection).startswith("HTTP/1.1 401 ") for connection in slow)


@pytest.mark.parametrize(
    ("at", "path", "status"),
    [("pay", "/callbacks/sandbox", 503), ("pay", "/callbacks/nobody", 404), ("sandbox", "/page/any", 503)],
)
def test_dripping_where_no_token_is_asked_for_holds_few_threads(shop: Shop, at: str, path: str, status: int) -> None:
    """Callbacks and pages take bodies of any client: a quarter of the threads at most, the others are told at once."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    with shop.settings(at, threads=THREADS, body_timeout=30), ExitStack() as stack:
        slow = [line(shop, stack, "POST", path, ANNOUNCED | form, at=at) for _ in range(CLIENTS)]
        with dripping(slow):
            calls = [lambda: shop.raw(at, "GET", "/healthz").status for _ in range(CLIENTS)]
            assert at_once(calls) == [200] * CLIENTS
        told = [answer(connection)[:13] for connection in slow]
        assert told.count(f"HTTP/1.1 {status} ") >= CLIENTS - THREADS // 4, told


def _answers(shop: Shop, path: str) -> bool:
    """Ask on a new connection; one that waited as long as a body that is cut is cut with it."""
    with suppress(ProtocolError):
        return shop.raw("goods", "GET", path, headers=shop.bearer()).status == 200
    return False


def test_dripping_with_a_token_holds_threads_for_seconds(shop: Shop) -> None:
    """With a token too: while they are more than half of the threads, all that are slow are cut (408)."""
    with shop.settings("goods", threads=THREADS, body_timeout=60), ExitStack() as stack:
        kept = shop.user()
        assert kept.ask("goods", "GET", "/goods").status == 200
        head = ANNOUNCED | JSON | shop.bearer(scopes=("admin",))
        slow = [line(shop, stack, "POST", "/goods", head) for _ in range(CLIENTS)]
        with dripping(slow):
            eventually(lambda: _answers(shop, "/healthz") and _answers(shop, "/goods"), within=20)
        told = [answer(connection) for connection in slow[:THREADS]]
        assert any(one.startswith("HTTP/1.1 408 ") and "/problems/too-slow" in one for one in told), told


@pytest.mark.parametrize(
    "announced",
    [ANNOUNCED, {"Transfer-Encoding": "chunked"}, ANNOUNCED | {"Expect": "100-continue"}],
    ids=["length", "chunks", "100-continue"],
)
def test_a_body_has_a_deadline(shop: Shop, announced: dict[str, str]) -> None:
    """One slow client alone is cut as well, after ORDERS_BODY_TIMEOUT, though it sends something all the time."""
    with shop.settings("goods", body_timeout=1), ExitStack() as stack:
        silent = line(shop, stack, "POST", "/goods", announced | JSON | shop.bearer(scopes=("admin",)))
        assert " 408 " in answer(silent)
        if "Content-Length" in announced:
            drip = line(shop, stack, "POST", "/goods", announced | JSON | shop.bearer(scopes=("admin",)))
            with dripping([drip]):
                assert " 408 " in answer(drip)
