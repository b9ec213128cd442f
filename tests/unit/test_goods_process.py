"""The goods service as the process that it is in production: started, called, told to stop, orphaned."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import urllib3

from common import lifeline, migrations
from common.auth import issue
from tests.support import eventually

SECRET = "s" * 32
TEA = {"name": "Tea", "unit_price": 990, "currency": "CNY"}
HEADERS = {"Authorization": f"Bearer {issue(SECRET, 'alice', ['admin'], 86_400)}"}

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        number = server.getsockname()[1]
        assert isinstance(number, int)
        return number


@pytest.fixture
def http(port: int) -> Iterator[Callable[..., urllib3.BaseHTTPResponse]]:
    pool = urllib3.HTTPConnectionPool("127.0.0.1", port, retries=False, timeout=15)

    def call(method: str, path: str, body: Any = None) -> urllib3.BaseHTTPResponse:
        return pool.request(method, path, json=body, headers=HEADERS)

    yield call
    pool.close()


@pytest.fixture
def start(tmp_path: Path, port: int) -> Iterator[Start]:
    url = f"sqlite:///{tmp_path}/goods.db"
    migrations.upgrade("goods", url)
    started: list[subprocess.Popen[bytes]] = []

    def run(**options: Any) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "ORDERS_PORT": str(port),
            "ORDERS_JWT_SECRET": SECRET,
            "ORDERS_DATABASE_URL": url,
        }
        environment |= options.pop("environment", {})
        log = (tmp_path / "log").open("ab")
        with log:
            process = subprocess.Popen([sys.executable, "-m", "goods"], env=environment, stderr=log, **options)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
    if started:
        print((tmp_path / "log").read_text())  # noqa: T201 - pytest shows it where a test fails


def ready(http: Callable[..., urllib3.BaseHTTPResponse]) -> bool:
    with suppress(urllib3.exceptions.HTTPError):
        return http("GET", "/readyz").status == 200
    return False


def test_a_request_in_flight_is_finished_before_the_process_ends(
    start: Start, http: Callable[..., urllib3.BaseHTTPResponse], tmp_path: Path
) -> None:
    """SIGTERM takes no new connections, answers what was accepted, closes the database and exits with 0."""
    process = start()
    eventually(lambda: ready(http), within=15)
    answers: list[urllib3.BaseHTTPResponse] = []
    with closing(sqlite3.connect(tmp_path / "goods.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")  # the request has to wait for this writer
        caller = threading.Thread(target=lambda: answers.append(http("POST", "/goods", TEA)))
        caller.start()
        both_in_flight = b"orders_http_requests_in_flight 2.0"  # that one, and the one that asks
        eventually(lambda: both_in_flight in http("GET", "/metrics").data)
        process.send_signal(signal.SIGTERM)
        eventually(lambda: not ready(http), within=15)
        assert process.poll() is None
        holder.execute("ROLLBACK")
    caller.join()
    assert answers[0].status == 201
    assert process.wait(timeout=15) == 0
    assert b'"event":"stopped"' in (tmp_path / "log").read_bytes()


def test_a_second_one_on_the_same_port_says_why_it_ends(
    start: Start, http: Callable[..., urllib3.BaseHTTPResponse], tmp_path: Path
) -> None:
    """One line, status 1, and the first one is not disturbed."""
    start()
    eventually(lambda: ready(http), within=15)
    assert start().wait(timeout=15) == 1
    log = (tmp_path / "log").read_text()
    assert "can't listen" in log
    assert "Traceback" not in log
    assert ready(http)


def test_the_end_of_its_lifeline_ends_the_service(start: Start, http: Callable[..., urllib3.BaseHTTPResponse]) -> None:
    """A supervisor that is killed can't send signals, but its end of the pipe closes."""
    read_end, write_end = os.pipe()
    process = start(environment={lifeline.VARIABLE: str(read_end)}, pass_fds=(read_end,))
    os.close(read_end)
    eventually(lambda: ready(http), within=15)
    assert process.poll() is None
    os.close(write_end)
    assert process.wait(timeout=15) == 0
