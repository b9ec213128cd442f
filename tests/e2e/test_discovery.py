"""Instances that come and go while orders are placed: found without a restart, left when they die, nothing lost."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pytest
import urllib3

from common.discovery.port import LOOK_EVERY
from ops.deployment import Deployment, Plan, free_port_base
from ops.plan import Gateway
from tests.e2e.conftest import QUICK
from tests.e2e.shop import Shop, placed, running
from tests.e2e.test_command_line import answered, orders
from tests.etcd_server import EtcdServer, SecuredEtcdServer
from tests.support import eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.embedded("who is listed where does not depend on other servers"),
    pytest.mark.timeout(300),  # it starts a deployment, and a part of it, by the command line
]

_TTL = 2  # seconds
_PACE = 0.1  # seconds between two orders of a thread: enough to hit every instance, and soon compared
_LISTS = ("embedded", "etcd")


@pytest.fixture(params=_LISTS)
def etcd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EtcdServer | None]:
    """Run what lists the instances: an etcd, or nothing (None) where the folder of the deployment does it."""
    if request.param == "embedded":
        yield None
        return
    server = EtcdServer(tmp_path / "etcd") if request.param == "etcd" else SecuredEtcdServer(tmp_path / "etcd")
    yield server
    server.kill()


@pytest.fixture
def shop(etcd: EtcdServer | None, tmp_path: Path) -> Iterator[Shop]:
    """Run a deployment with one of each, and a short TTL."""
    extra: dict[str, str | float] = {**QUICK, "discovery_ttl": _TTL}
    if etcd is not None:
        extra |= found_at(etcd)
    deployment = Deployment(tmp_path / "main", Plan(free_port_base(), extra=extra))
    with running(deployment):
        shop = Shop(deployment)
        yield shop
        shop.close()


def found_at(etcd: EtcdServer) -> dict[str, str | float]:
    """Return the settings that name it."""
    files = etcd.certificates
    named = {"discovery_ca": files.authority, "discovery_certificate": files.own, "discovery_key": files.key}
    return {"discovery": etcd.url} | {name: str(path) for name, path in named.items() if path is not None}


@contextmanager
def joined(shop: Shop, directory: Path, *services: str) -> Iterator[dict[str, tuple[str, int]]]:
    """Start one more instance of each service by `orders up --join`; lend their URLs and pids."""
    words = [word for service in services for word in (f"--{service}", "1")]
    main = str(shop.deployment.directory.root)
    up = orders("up", "--detach", "--join", main, *words, data_dir=directory)
    try:
        assert up.returncode == 0, up.stderr
        assert f"Part of the deployment in {main}." in up.stdout
        status = answered(orders("status", "--json", data_dir=directory))
        yield {one["name"]: (one["url"], one["pid"]) for one in status["services"]}
    finally:
        assert orders("down", data_dir=directory).returncode == 0


def asked(shop: Shop, url: str) -> float:
    """Return how many calls of others an instance has answered, as it counts them itself."""
    answer = shop._pool.request("GET", f"{url}/metrics", headers=shop.bearer())
    lines = [line for line in answer.data.decode().splitlines() if line.startswith("orders_http_requests_total{")]
    return sum(float(line.split()[-1]) for line in lines if "/reservations" in line)


@contextmanager
def ordering(shop: Shop, pieces: int) -> Iterator[list[str]]:
    """Place orders for one piece each from two threads, until the end; lend the ids of those that stand."""
    tea, stop, found, faults = shop.goods(pieces), threading.Event(), list[str](), list[Exception]()

    def buy() -> None:
        user = shop.user()
        while not stop.wait(_PACE):
            try:
                found.append(placed(user, {tea: 1})["order_id"])
            except AssertionError as error:
                faults.append(error)

    threads = [threading.Thread(target=buy) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not faults
    shop.assert_sound()
    assert shop.available(tea) == pieces - len(found)


def end_for_good(directory: Path, pid: int) -> None:
    """Kill an instance with SIGKILL, and what would start it again."""
    supervisor = json.loads((directory / "run" / "state.json").read_text())["supervisor"]
    os.kill(supervisor, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    os.kill(supervisor, signal.SIGKILL)


@contextmanager
def nobody_calls(url: str) -> Iterator[None]:
    """Listen where an instance was; fail if a client connects."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_server((host, int(port))) as listener:
        yield
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


@contextmanager
def only_checks(url: str) -> Iterator[None]:
    """Listen where an instance was, and answer nothing; fail if anything is asked but its health."""
    asked: list[bytes] = []
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_server((host, int(port))) as listener:

        def hear() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        asked.append(connection.recv(4096).partition(b"\r\n")[0])

        hearing = threading.Thread(target=hear)
        hearing.start()
        try:
            yield
            eventually(lambda: asked)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            hearing.join()
    assert set(asked) == {b"GET /healthz HTTP/1.1"}


def test_one_more_is_found_and_one_that_is_killed_is_left(shop: Shop, tmp_path: Path) -> None:
    """`--join` starts one elsewhere: it takes its part. Killed, it is called no more after its TTL and a second.

    All the while every order that is tried is placed, and the books agree.
    """
    elsewhere = tmp_path / "elsewhere"
    with joined(shop, elsewhere, "stock") as instances, ordering(shop, 5_000) as placed_orders:
        url, pid = instances["stock"]
        eventually(lambda: asked(shop, url) > 5, within=5)
        end_for_good(elsewhere, pid)
        left_at = time.monotonic() + _TTL + 1
        before = len(placed_orders)
        eventually(lambda: time.monotonic() > left_at, within=_TTL + 2)
        with nobody_calls(url):
            end = time.monotonic() + 3 * LOOK_EVERY
            eventually(lambda: time.monotonic() > end)
        assert len(placed_orders) > before


@pytest.mark.parametrize("etcd", ["embedded"], indirect=True)
def test_one_that_stops_is_left_at_once(shop: Shop, tmp_path: Path) -> None:
    """It withdraws before it stops: no caller waits for its lease."""
    with ordering(shop, 5_000):
        with joined(shop, tmp_path / "elsewhere", "stock") as instances:
            url, _ = instances["stock"]
            eventually(lambda: asked(shop, url) > 5, within=5)
        end = time.monotonic() + LOOK_EVERY + 0.5
        eventually(lambda: time.monotonic() > end)
        with nobody_calls(url):
            end = time.monotonic() + LOOK_EVERY
            eventually(lambda: time.monotonic() > end)


@pytest.mark.parametrize("etcd", ["etcd", "etcds"], indirect=True)
def test_discovery_is_down(shop: Shop, etcd: EtcdServer) -> None:
    """Frozen or dead, orders are placed as fast as ever, and readiness and metrics say it; a start needs it neither."""

    def told(service: str = "order") -> tuple[int, str]:
        ready = shop.raw(service, "GET", "/readyz")
        return ready.status, ready.json["checks"]["discovery"]

    def up() -> str:
        lines = shop.raw("order", "GET", "/metrics", headers=shop.bearer()).data.decode().splitlines()
        return next(line for line in lines if line.startswith("orders_discovery_up"))

    user, tea = shop.user(), shop.goods(50)
    eventually(lambda: told() == (200, "ok"))
    etcd.freeze()
    eventually(lambda: told() == (200, "failed"), within=10)
    begun = time.monotonic()
    for _ in range(5):
        placed(user, {tea: 1})
    assert time.monotonic() - begun < 4
    assert up() == "orders_discovery_up 0.0"
    etcd.thaw()
    eventually(lambda: told() == (200, "ok"), within=10)

    etcd.kill()
    eventually(lambda: told() == (200, "failed"), within=10)
    supervisor = shop.deployment.supervisor
    for service in ("stock", "order"):
        supervisor.restart(service)
        supervisor.wait_ready(service)
    placed(user, {tea: 1})
    kept = json.loads(shop.deployment.directory.last_known("order").read_bytes())
    assert kept["stock"] == [shop.deployment.plan.urls["stock"]]

    etcd.start()
    eventually(lambda: told("order") == told("stock") == (200, "ok"), within=10)
    eventually(lambda: up() == "orders_discovery_up 1.0", within=5)
    placed(user, {tea: 1})
    for log in (shop.deployment.directory.root / "log").iterdir():
        lines = log.read_text()
        assert SecuredEtcdServer.PASSWORD not in lines
        assert quote(SecuredEtcdServer.PASSWORD, safe="") not in lines


@pytest.mark.parametrize("etcd", ["embedded"], indirect=True)
def test_the_gateway_follows(etcd: EtcdServer | None, tmp_path: Path) -> None:
    """One more gets its part of what comes through the gateway; killed for good, only checks. Each call is answered.

    Caddy is told of the new one, which costs some connections, and not of the one that left: its checks find that.
    """
    assert etcd is None
    extra: dict[str, str | float] = {**QUICK, "discovery_ttl": _TTL}
    deployment = Deployment(tmp_path / "main", Plan(free_port_base(), extra=extra, gateway=Gateway()))
    statuses: list[int] = []
    with running(deployment):
        shop = Shop(deployment)
        token = shop.bearer()
        fresh = {**token, "Connection": "close"}  # Caddy closes idle ones as it takes a new configuration

        def call() -> None:
            try:
                answer = shop.raw("gateway", "GET", "/goods", headers=fresh)
            except urllib3.exceptions.ProtocolError:  # it came as Caddy took a new configuration: sent again, once
                answer = shop.raw("gateway", "GET", "/goods", headers=fresh)
            statuses.append(answer.status)

        def calls_until(condition: Callable[[], bool], *, within: float) -> None:
            eventually(lambda: (call(), condition())[1], within=within)

        def is_asked(url: str) -> bool:
            answer = shop._pool.request("GET", f"{url}/metrics", headers=token)
            return b'orders_http_requests_total{method="GET",route="/goods",status="200"}' in answer.data

        elsewhere = tmp_path / "elsewhere"
        with joined(shop, elsewhere, "goods") as instances:
            url, pid = instances["goods"]
            calls_until(lambda: is_asked(url), within=20)
            end_for_good(elsewhere, pid)
            killed_at = time.monotonic()
            config = deployment.directory.gateway / "caddy.json"
            told = config.stat().st_mtime_ns
            calls_until(lambda: time.monotonic() > killed_at + _TTL + 1, within=20)
            with only_checks(url):
                for _ in range(50):
                    call()
            assert config.stat().st_mtime_ns == told
        shop.close()
    assert set(statuses) == {200}
