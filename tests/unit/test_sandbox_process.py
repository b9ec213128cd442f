"""The sandbox as the process that it is: killed in the middle of its callbacks, it goes on with them."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import orjson
import pytest
import urllib3

from common import migrations
from pay.providers.port import Asked
from pay.providers.sandbox import SandboxProvider
from tests.contract.providers.settings import SECRET, settings
from tests.contract.providers.standin import Answer, serving
from tests.support import eventually

pytestmark = pytest.mark.embedded("books on MariaDB are tested by tests/unit/test_sandbox.py")

_PATIENCE = 60.0  # seconds: what a killed sandbox had claimed is sent again after twenty


class Receiver:
    """Refuses callbacks until it is told to take them."""

    def __init__(self) -> None:
        self.takes = False
        self.asked = 0
        self.got: list[bytes] = []
        self.headers: list[Mapping[str, str]] = []

    def handle(self, _method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        assert path == "/callbacks/sandbox"
        self.asked += 1
        if not self.takes:
            return 503, {}, b""
        self.got.append(body)
        self.headers.append(headers)
        return 200, {}, b"{}"


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def start(tmp_path: Path, port: int) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    database = f"sqlite:///{tmp_path}/sandbox.db"
    migrations.upgrade("sandbox", database)
    environment = os.environ | {
        "ORDERS_PORT": str(port), "ORDERS_SANDBOX_URL": f"http://127.0.0.1:{port}", "ORDERS_JWT_SECRET": SECRET,
        "ORDERS_DATABASE_URL": database,
    }  # fmt: skip
    started: list[subprocess.Popen[bytes]] = []

    def is_ready() -> bool:
        try:
            return urllib3.request("GET", f"http://127.0.0.1:{port}/readyz", retries=False).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def run() -> subprocess.Popen[bytes]:
        with (tmp_path / "log").open("ab") as log:
            started.append(subprocess.Popen([sys.executable, "-m", "sandbox"], env=environment, stderr=log))
        eventually(is_ready, within=_PATIENCE)
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()


def test_a_killed_sandbox_goes_on(start: Callable[[], subprocess.Popen[bytes]], port: int) -> None:
    """Each callback that was not taken comes once it runs again, signed anew; what it took, it still knows."""
    receiver, first = Receiver(), start()
    with serving(receiver.handle) as url:
        provider = SandboxProvider(settings(sandbox_url=f"http://127.0.0.1:{port}", callback_base=url))
        begun = [provider.begin(Asked(n, 100 + n, 500, "JPY", 0, "callback")) for n in range(1, 6)]
        eventually(lambda: receiver.asked, within=_PATIENCE)
        first.kill()
        first.wait()
        receiver.takes = True
        start()
        eventually(lambda: len({orjson.loads(raw)["event_id"] for raw in receiver.got}) == 5, within=_PATIENCE)
        (event,) = {provider.read(receiver.headers[0], receiver.got[0])}
        assert event.payment_id in range(1, 6)
        assert [len(provider.ask(one.reference)) for one in begun] == [1] * 5
        assert time.time() - int(receiver.headers[0]["sandbox-signature"][2:12]) < _PATIENCE
