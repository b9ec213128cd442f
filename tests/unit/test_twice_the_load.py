"""What happens beyond a bound that nothing else goes past: twice as many come at once as are let in."""

import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from werkzeug.test import TestResponse

from common.auth import Verifier, issue
from common.telemetry import Metrics
from common.web import Api
from flash import api as flash_api
from halfmessage.errors import NotFound

BOUND = 4
SECRET = "s" * 32
WITHIN = 10.0  # seconds

_PROGRAM = """
import sys
from flask import Flask
from common.web.server import serve

app = Flask("toy")
app.add_url_rule("/", view_func=lambda: "here")
serve(app, host="127.0.0.1", port=int(sys.argv[1]), threads=2, max_connections=int(sys.argv[2]))
"""


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    """Run a server that takes `BOUND` connections; return where."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address: tuple[str, int] = free.getsockname()
    program = [sys.executable, "-c", _PROGRAM, str(address[1]), str(BOUND)]
    with subprocess.Popen(program, env=os.environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert any("listening" in line for line in process.stdout)
            yield address
        finally:
            process.terminate()
            process.communicate(timeout=WITHIN + 5)  # it has 10 s for requests in flight


def asking(address: tuple[str, int]) -> HTTPConnection:
    client = HTTPConnection(*address, timeout=WITHIN)
    client.request("GET", "/")
    return client


def answered(client: HTTPConnection) -> bool:
    """Wait for an answer; return whether it is the server's."""
    with client.getresponse() as answer:
        return answer.read() == b"here"


def test_whom_a_server_can_t_take_is_served_once_another_leaves(address: tuple[str, int]) -> None:
    """Nobody is turned away, and those inside go on; each that leaves lets one in."""
    with ExitStack() as opened:
        inside = [opened.enter_context(closing(asking(address))) for _ in range(BOUND)]
        assert all(answered(client) for client in inside)
        late = [opened.enter_context(closing(asking(address))) for _ in range(BOUND)]
        waiting = {client.sock: client for client in late}
        for client in inside * 3:
            client.request("GET", "/")
            assert answered(client)
        assert select.select(waiting, [], [], 0) == ([], [], [])
        while waiting:
            inside.pop(0).close()
            (served,), *_ = select.select(waiting, [], [], WITHIN)
            inside.append(waiting.pop(served))
            assert answered(inside[-1])


@pytest.fixture
def flash() -> Iterator[tuple[Api, threading.Event, threading.Semaphore]]:
    """Return flash's routes over a sale that has buyers wait: what lets them go on, and what each tells on its way."""
    go_on, inside = threading.Event(), threading.Semaphore(0)

    def wait(*_: object) -> NoReturn:
        inside.release()
        assert go_on.wait(WITHIN)
        raise NotFound

    use_cases: Any = SimpleNamespace(purchasing=SimpleNamespace(buy=wait, join=wait))
    api = Api(
        "flash",
        title="Flash",
        description="",
        max_body=2048,
        verifier=Verifier(SECRET),
        metrics=Metrics("flash"),
        checks={},
    )
    flash_api.install(api, use_cases, most_at_once=BOUND, most_of_one_user=BOUND)
    yield api, go_on, inside
    go_on.set()


@pytest.mark.parametrize("inside_are", [("orders",), ("tickets",), ("orders", "tickets")])
def test_buyers_beyond_the_queue_are_refused_at_once(
    flash: tuple[Api, threading.Event, threading.Semaphore], inside_are: tuple[str, ...]
) -> None:
    """503 and when to come again, while as many as ORDERS_BUYING_QUEUE says wait on; then there is room again.

    Those who buy and those who queue are counted together.
    """
    api, go_on, inside = flash

    def call(number: int, what: str = "") -> TestResponse:
        what = what or inside_are[number % len(inside_are)]
        token = issue(SECRET, f"user-{number}", ["orders"], 60)
        with api.app.test_client() as client:
            return client.post(f"/flash-sales/1/{what}", headers={"Authorization": f"Bearer {token}"})

    with ThreadPoolExecutor(BOUND) as pool:
        taken = [pool.submit(call, number) for number in range(BOUND)]
        for _ in taken:
            assert inside.acquire(timeout=WITHIN)
        refused = [call(number, what) for what in ("orders", "tickets") for number in range(BOUND, 2 * BOUND)]
        assert {(one.status_code, one.headers["Retry-After"]) for one in refused} == {(503, "1")}
        assert not any(future.done() for future in taken)
        go_on.set()
        assert [future.result(WITHIN).status_code for future in taken] == [404] * BOUND
    assert call(0).status_code == 404
