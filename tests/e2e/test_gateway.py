"""One address before everything: what is reached there, what is not, and what clients and kills can't do."""

import json
import os
import re
import resource
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import jsonschema_rs
import psutil
import pytest
import urllib3
from click.testing import CliRunner

from common import registry
from gateway import logs
from gateway.settings import Settings
from lab.bench import connections
from ops import gateway as of_deployment
from ops.client import Client, probe
from ops.commands.gateway import reload
from ops.deployment import Deployment, Plan, free_port_base
from ops.documents import documents
from ops.places import PACKAGES
from ops.plan import HOST, Gateway
from tests.e2e.conftest import QUICK
from tests.e2e.shop import Shop, running
from tests.stack import servers
from tests.support import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.embedded("it knows services only, whatever these stand on")]

INSTANCES = 3
JSON = {"Content-Type": "application/json"}
PASSWORD = "correct horse battery"
NOWHERE = "42"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Run a deployment with a gateway, a console, and three instances of order."""
    base = free_port_base({"order": INSTANCES})
    plan = Plan(
        base,
        pay_timeout=3600.0,
        extra=QUICK,
        instances={"order": INSTANCES},
        servers=servers(),
        console=True,
        gateway=Gateway(),
    )
    with running(Deployment(tmp_path_factory.mktemp("front"), plan)) as found:
        yield found


@pytest.fixture
def shop(deployment: Deployment) -> Iterator[Shop]:
    """Return that deployment, and what a test wants of it."""
    shop = Shop(deployment)
    yield shop
    shop.close()


def through(shop: Shop, name: str | None = None) -> Client:
    """Return a client of a new user that knows the one address only."""
    where = shop.deployment.plan.urls["gateway"]
    return Client(dict.fromkeys(registry.NAMES, where), shop.deployment.token(name or shop.name()), timeout=30)


def problem(answer: Any) -> tuple[int, str]:
    """Return the status and slug of a problem, which has all that problems have."""
    body = answer.json
    assert answer.headers["content-type"] == "application/problem+json"
    assert body.keys() >= {"type", "title", "status", "detail", "instance", "request_id"}
    assert body["request_id"] == answer.headers["x-request-id"]
    return answer.status, body["type"].rpartition("/")[2]


@contextmanager
def another(
    deployment: Deployment, folder: Path, at: Mapping[str, str] | None = None, **settings: str
) -> Iterator[int]:
    """Run one more gateway before the same services, with other settings; yield its port.

    `at`: other variables, for services that are elsewhere.
    """
    port = free_port_base()
    changed = {"port": str(port), "admin_port": str(port + 1), "dir": str(folder), "log_dir": str(folder), **settings}
    environment = {
        **os.environ,
        **of_deployment.environment(deployment.plan, deployment.directory),
        **{f"ORDERS_GATEWAY_{name.upper()}": value for name, value in changed.items()},
        **(at or {}),
    }
    process = subprocess.Popen([sys.executable, "-m", "gateway"], env=environment, cwd=PACKAGES)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_each_public_call_is_reached_and_no_other(shop: Shop) -> None:
    """Asked without a token, each call that a service describes answers as the service does, or is not there at all.

    A service's own answer has a request id that it was told; the gateway's 404 is the only one that it makes itself.
    """
    for service, document in documents().items():
        for path, item in document["paths"].items():
            concrete = re.sub(r"\{\w+\}", NOWHERE, path)
            for method, operation in item.items():
                scopes = {scope for way in operation["security"] for scope in way["token"]}
                system = operation.get("tags") == ["system"]
                found = shop.raw("gateway", method.upper(), concrete)
                if path.startswith(("/internal/", "/admin/")) or ("service" in scopes and "orders" not in scopes):
                    assert problem(found) == (404, "not-found"), path
                elif not system:
                    told = shop.raw(service, method.upper(), concrete)
                    assert (found.status, found.headers["content-type"]) == (told.status, told.headers["content-type"])
                    assert found.status != 404 or NOWHERE in concrete, path


@pytest.mark.parametrize(
    "path",
    [
        "/internal/readyz",
        "/%69nternal/readyz",
        "//internal/readyz",
        "/goods/../internal/readyz",
        "/goods/%2e%2e/internal/readyz",
        "/goods/1%2f..%2f..%2finternal/readyz",
        "/console/internal/readyz",
        "/console/%69nternal/readyz",
        "/console//internal/readyz",
        "/console/x/../internal/readyz",
        "/reservations/1",
        "/metrics",
        "/ledger",
    ],
)
def test_internal_calls_are_reached_by_no_spelling(deployment: Deployment, path: str) -> None:
    """Not even with a service's token: 404, and no service hears of it."""
    with socket.create_connection((HOST, deployment.plan.ports["gateway"]), timeout=10) as line:
        token = deployment.token("order", ["service"])
        line.sendall(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        told = read_all(line)
    assert told.startswith("HTTP/1.1 404 "), told
    assert '"type": "/problems/not-found"' in told


def read_all(line: socket.socket) -> str:
    pieces = []
    with suppress(ConnectionResetError):
        while piece := line.recv(65536):
            pieces.append(piece)
    return b"".join(pieces).decode()


def test_a_customers_way(shop: Shop) -> None:
    """Register, log in, look, order, pay, look again, log out: at one address."""
    name = shop.name()
    told = shop.raw("gateway", "POST", "/users", body=json.dumps({"name": name, "password": PASSWORD}).encode(),
                    headers=JSON)  # fmt: skip
    assert told.status == 201, told.data
    token = shop.raw("gateway", "POST", "/tokens", body=json.dumps({"name": name, "password": PASSWORD}).encode(),
                     headers=JSON).json["access_token"]  # fmt: skip
    goods = shop.goods()
    with Client({"gateway": shop.deployment.plan.urls["gateway"]}, token) as client:
        assert client.get("gateway", f"/goods/{goods}")["goods_id"] == goods
        order = client.post("gateway", "/orders", {"items": [{"goods_id": goods, "quantity": 2}]})
        begun = client.ask("gateway", "POST", f"/orders/{order['order_id']}/pay",
                           json_body={"provider": "sandbox", "scenario": "page"})  # fmt: skip
        assert begun.status == 202
        assert begun.body["pay_url"].startswith(shop.deployment.plan.urls["gateway"] + "/page/")
        page = shop.raw("gateway", "GET", begun.body["pay_url"].removeprefix(shop.deployment.plan.urls["gateway"]))
        assert page.status == 200
        assert b"/page.css" in page.data
        assert client.get("gateway", f"/orders/{order['order_id']}")["status"] == "created"
        assert client.call("gateway", "DELETE", "/tokens/current") is not None


def test_the_console_is_below_a_path(shop: Shop) -> None:
    """Its pages, forms and redirects have addresses below /console, which it hears of from the gateway."""
    asked = shop.raw("gateway", "GET", "/console/orders")
    assert asked.status == 303
    assert asked.headers["location"] == "/console/login?back=/orders"
    token = shop.deployment.token("root", ["orders", "admin"])
    logged = shop.raw(
        "gateway", "POST", "/console/login", body=f"token={token}&back=/orders".encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )  # fmt: skip
    assert (logged.status, logged.headers["location"]) == (303, "/console/orders")
    cookie, _, rest = logged.headers["set-cookie"].partition(";")
    assert "Path=/console" in rest
    page = shop.raw("gateway", "GET", "/console/", headers={"Cookie": cookie})
    assert page.status == 200
    places = re.findall(r' (?:href|action|src|data-hx-get|data-url)="(/[^"]*)"', page.data.decode())
    assert places
    assert all(place.startswith("/console/") for place in places)
    for place in set(places):
        if "/static/" in place:
            assert shop.raw("gateway", "GET", place).status == 200, place
    assert b'"/console/' not in shop.raw("console", "GET", "/", headers={"Cookie": cookie}).data


def test_one_document_of_all(shop: Shop) -> None:
    """/openapi.json is an OpenAPI document, /docs shows it, and neither asks anything from elsewhere."""
    document = shop.raw("gateway", "GET", "/openapi.json").json
    assert document["openapi"].startswith("3.1")
    assert {"/orders", "/tokens", "/flash-sales", "/payments/{payment_id}"} <= document["paths"].keys()
    assert not [path for path in document["paths"] if path.startswith("/internal")]
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema)
    page = shop.raw("gateway", "GET", "/docs")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for place in re.findall(r'(?:href|src)="(/[^"]*)"', page.data.decode()):
        assert shop.raw("gateway", "GET", place).status == 200, place


def test_what_the_gateway_refuses_itself(shop: Shop) -> None:
    """Too large a body, announced or in chunks, is a problem as a service has it, and no service hears of it."""
    before = requests_of(shop, "goods")
    for body in (b"x" * 70_000, iter([b"x" * 10_000] * 7)):
        told = shop.raw("gateway", "POST", "/goods", body=body, headers=JSON | shop.bearer(scopes=("admin",)))
        assert problem(told) == (413, "too-large")
    assert problem(shop.raw("gateway", "GET", "/nothing")) == (404, "not-found")
    for path in ("/", "/healthz", "/readyz", "/openapi.json", "/docs"):
        for method in ("POST", "DELETE", "OPTIONS"):
            told = shop.raw("gateway", method, path)
            assert (problem(told), told.headers["allow"]) == ((405, "method-not-allowed"), "GET, HEAD"), (method, path)
    assert requests_of(shop, "goods") == before


def requests_of(shop: Shop, service: str) -> int:
    """Return how many new goods a service was asked for."""
    text = shop.raw(service, "GET", "/metrics", headers=shop.bearer()).data.decode()
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in text.splitlines()
        if line.startswith("orders_http_requests_total") and 'method="POST"' in line and 'route="/goods"' in line
    )


def test_500_slow_clients_reach_no_service(shop: Shop) -> None:
    """While 500 connections send a byte now and then, orders are placed as ever; at their deadline they get 408."""
    goods, user = shop.goods(stock=100), through(shop)
    before = requests_of(shop, "goods")
    assert before, "it counts"
    head = b"POST /goods HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    where = (HOST, shop.deployment.plan.ports["gateway"])
    with ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(where, timeout=30)) for _ in range(500)]
        for line in slow:
            line.sendall(head)
        done, took = threading.Event(), []

        def drip() -> None:
            while not done.wait(0.5):
                for line in slow:
                    with suppress(OSError):
                        line.sendall(b" ")

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            for _ in range(50):
                began = time.monotonic()
                assert user.post("order", "/orders", {"items": [{"goods_id": goods, "quantity": 1}]})
                took.append(time.monotonic() - began)
        finally:
            done.set()
            dripping.join()
        answers = Counter(read_all(line)[:13] for line in slow)
    assert sorted(took)[25] < 0.5, took
    assert answers == {"HTTP/1.1 408 ": 500}
    assert requests_of(shop, "goods") == before
    user.close()


def test_5000_idle_connections_keep_no_client_out(shop: Shop) -> None:
    """Each is kept, and answered once more; orders go on beside them, and Caddy's memory grows by what docs tell."""
    gateway, number = shop.deployment.supervisor.pid("gateway"), 5000
    assert gateway is not None
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if number + connections.SPARE > most:
        pytest.skip(f"ulimit -Hn is {most}")
    files, _ = psutil.Process(gateway).rlimit(psutil.RLIMIT_NOFILE)
    assert files == min(Settings.model_fields["gateway_connections"].default, most)
    goods, user = shop.goods(stock=200), through(shop)
    order = {"items": [{"goods_id": goods, "quantity": 1}]}
    port = shop.deployment.plan.ports["gateway"]
    found = connections.measure(HOST, port, gateway, lambda: user.post("order", "/orders", order), number, within=50)
    assert statistics.median(found.calls_with) < 0.5, found.in_words
    assert found.memory_with.size - found.memory_before.size < number * 64 * 1024, found.in_words
    assert shop.available(goods) == 200 - len(found.calls_before) - len(found.calls_with)
    user.close()


def test_a_killed_instance_loses_nothing(shop: Shop) -> None:
    """Kill -9 of one of three under orders with keys: each gets 201, once, and within a second none is sent there.

    While the others serve, no client sees the kill: what was cut is sent again, with its key, to another instance.
    """
    goods = shop.goods(stock=100_000)
    supervisor, stop = shop.deployment.supervisor, threading.Event()
    seen: list[tuple[str, int, Any]] = []

    def order(worker: int) -> None:
        client, number = through(shop, f"killing-{os.getpid()}-{worker}"), 0
        while not stop.is_set():
            key = f"{worker}-{number}"
            items = {"items": [{"goods_id": goods, "quantity": 1}]}
            told = client.ask("order", "POST", "/orders", json_body=items, headers={"Idempotency-Key": key})
            seen.append((key, told.status, told.body))
            number += 1
        client.close()

    workers = [threading.Thread(target=order, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    try:
        eventually(lambda: len(seen) > 50, within=20)
        supervisor.hold("order-2")
        doomed = supervisor.pid("order-2")
        assert doomed is not None
        os.kill(doomed, signal.SIGKILL)
        killed = time.monotonic()
        supervisor.wait_gone(doomed)
        eventually(lambda: time.monotonic() > killed + 1.0)
        sent = heard(shop.deployment.plan.ports["order-2"], for_seconds=3.0)
    finally:
        stop.set()
        for worker in workers:
            worker.join()
        supervisor.release("order-2")
        supervisor.wait_ready("order-2")
    assert any(line.startswith("GET /healthz ") for line in sent)
    assert not [line for line in sent if "/orders" in line]
    assert Counter(status for _, status, _ in seen) == {201: len(seen)}
    ids = {body["order_id"] for _, _, body in seen}
    assert len(ids) == len(seen)
    eventually(lambda: shop.available(goods) == 100_000 - len(ids), within=60)


def heard(port: int, *, for_seconds: float) -> list[str]:
    """Listen where a service was; return the first line of each request, to which nothing is answered."""
    lines, deadline = [], time.monotonic() + for_seconds
    with socket.create_server((HOST, port)) as listener:
        while (left := deadline - time.monotonic()) > 0:
            listener.settimeout(left)
            with suppress(TimeoutError):
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(1)
                    lines.append(connection.recv(4096).partition(b"\r\n")[0].decode())
    return lines


def test_a_service_that_is_down_is_said_to_be(shop: Shop) -> None:
    """503, nothing was changed, try again; and it is served again as soon as it is back."""
    supervisor = shop.deployment.supervisor
    supervisor.hold("goods")
    pid = supervisor.pid("goods")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    supervisor.wait_gone(pid)
    try:
        told = shop.raw("gateway", "GET", "/goods", headers=shop.bearer())
        assert problem(told) == (503, "unavailable")
        assert told.headers["retry-after"] == "1"
    finally:
        supervisor.release("goods")
        supervisor.wait_ready("goods")
    assert shop.raw("gateway", "GET", "/goods", headers=shop.bearer()).status == 200


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "cut"}], ids=["without a key", "with one"])
def test_a_call_that_was_cut_is_not_said_to_have_done_nothing(shop: Shop, headers: dict[str, str]) -> None:
    """An order, all of whose instances die over it: 503 outcome-unknown. It may stand or not.

    With a key it is sent again, and so is placed where an instance is back by then.
    """
    goods, crash = shop.goods(), {"ORDERS_FAILPOINTS": "order.deducted=kill"}
    supervisor = shop.deployment.supervisor
    for name in shop.deployment.plan.instances_of("order"):
        supervisor.restart(name, extra_env=crash)
    supervisor.wait_ready()
    bearer = shop.bearer()
    eventually(lambda: shop.raw("gateway", "GET", "/orders", headers=bearer).status == 200)  # it found them well again
    body = json.dumps({"items": [{"goods_id": goods, "quantity": 1}]}).encode()
    try:
        told = shop.raw("gateway", "POST", "/orders", body=body, headers=JSON | bearer | headers)
        if not headers or told.status != 201:
            assert problem(told) == (503, "outcome-unknown")
            assert told.headers["retry-after"] == "5"
    finally:
        for name in shop.deployment.plan.instances_of("order"):
            supervisor.restart(name)
        supervisor.wait_ready()


@pytest.mark.parametrize(
    ("headers", "anybody", "told"),
    [
        ({"Idempotency-Key": "cut"}, True, "outcome-unknown"),
        ({}, True, "outcome-unknown"),
        ({}, False, "unavailable"),
    ],
    ids=["cut, then nobody", "cut", "nobody"],
)
def test_what_was_sent_once_may_have_been_done(
    deployment: Deployment, tmp_path: Path, headers: dict[str, str], *, anybody: bool, told: str
) -> None:
    """Sent again where none listens any more: that nothing was changed is true of this try only, and is not said."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(2)]
        where = ",".join(f"http://{HOST}:{one.getsockname()[1]}" for one in listeners)
        environment = {"ORDERS_ORDER_URL": where, "ORDERS_DISCOVERY": ""}
        (tmp_path / "documents").mkdir()
        (tmp_path / "documents" / "order.json").write_text(json.dumps(documents()["order"]))
        for one in listeners:
            threading.Thread(target=well_until_asked, args=(one, listeners)).start()
        port = stack.enter_context(another(deployment, tmp_path, environment))
        root = f"http://{HOST}:{port}"
        eventually(lambda: probe(root) is None, within=20)
        if not anybody:
            end(listeners)
        answer = urllib3.request("POST", f"{root}/orders", body=b"{}", headers=JSON | headers, retries=False)
        assert (answer.status, answer.json()["type"]) == (503, f"/problems/{told}")


def well_until_asked(listener: socket.socket, all_of_them: list[socket.socket]) -> None:
    """Answer what reads; at the first other request all listeners are gone, and it gets no answer."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            if connection.recv(4096).startswith(b"GET "):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            else:
                end(all_of_them)


def end(listeners: list[socket.socket]) -> None:
    """Refuse connections from now on."""
    for one in listeners:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


def test_the_clients_address_is_counted(shop: Shop) -> None:
    """Limits per address are the client's, whatever it says in X-Forwarded-For: forged addresses help no client."""
    with shop.settings("user", registration_rate="3/minute"):
        statuses = []
        for number in range(5):
            body = json.dumps({"name": shop.name(), "password": PASSWORD}).encode()
            forged = {"X-Forwarded-For": f"198.51.100.{number}", "Forwarded": f"for=198.51.100.{number}"}
            statuses.append(shop.raw("gateway", "POST", "/users", body=body, headers=JSON | forged).status)
        assert statuses == [201, 201, 201, 429, 429]
        body = json.dumps({"name": shop.name(), "password": PASSWORD}).encode()
        with socket.create_connection(
            (HOST, shop.deployment.plan.ports["gateway"]), timeout=10, source_address=("127.0.0.2", 0)
        ) as line:
            line.sendall(
                b"POST /users HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
                + f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            assert read_all(line).startswith("HTTP/1.1 201 ")


def test_the_access_log_has_no_secrets(shop: Shop) -> None:
    """One line of JSON for each call, with its request id, and without tokens."""
    token = shop.deployment.token("alice")
    marked = {"Authorization": f"Bearer {token}", "Cookie": "orders_console=very-secret", "X-Request-Id": "logged-once"}
    shop.raw("gateway", "GET", f"/goods?access_token={token}&limit=1&x=very-secret", headers=marked)
    path = shop.deployment.directory.log("gateway").with_name(logs.ACCESS)
    line = eventually(lambda: next((one for one in path.read_text().splitlines() if "logged-once" in one), None))
    told = json.loads(line)
    shown = "/goods?access_token=REDACTED&limit=1&x=REDACTED"
    assert (told["request_id"], told["request"]["uri"]) == ("logged-once", shown)
    everything = path.read_text() + path.with_name(logs.ERRORS).read_text()
    assert token not in everything
    assert "very-secret" not in everything


def test_answers_are_packed_for_those_who_take_it(shop: Shop) -> None:
    """A large answer is smaller by gzip; a small one stays as it is."""
    packed = shop.raw("gateway", "GET", "/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    small = shop.raw("gateway", "GET", "/healthz", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in small.headers


def test_it_is_reloaded_without_a_pause(shop: Shop) -> None:
    """The process stays, and so does a connection that is open; what is served is read anew."""
    deployment = shop.deployment
    pid = deployment.supervisor.pid("gateway")
    assert pid is not None
    document = deployment.directory.gateway / "files" / "openapi.json"
    document.unlink()
    assert shop.raw("gateway", "GET", "/openapi.json").status == 404
    done = CliRunner().invoke(reload, ["--data-dir", str(deployment.directory.root)])
    assert (done.exit_code, done.output) == (0, "The gateway serves what the services have now.\n"), done
    eventually(lambda: shop.raw("gateway", "GET", "/openapi.json").status == 200)
    assert deployment.supervisor.pid("gateway") == pid


def test_pages_of_other_origins(deployment: Deployment, tmp_path: Path) -> None:
    """Off by default; where one is set, it may call, and no other."""
    plain = deployment.plan.urls["gateway"]
    asks = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in urllib3.request("OPTIONS", f"{plain}/orders", headers=asks).headers
    with another(deployment, tmp_path, origins="https://shop.example") as port:
        url = f"http://{HOST}:{port}"
        eventually(lambda: probe(url) is None, within=30)
        before = urllib3.request("OPTIONS", f"{url}/orders", headers=asks)
        assert before.status == 204
        assert before.headers["access-control-allow-origin"] == "https://shop.example"
        assert "Idempotency-Key" in before.headers["access-control-allow-headers"]
        for origin, allowed in (("https://shop.example", "https://shop.example"), ("https://evil.example", None)):
            told = urllib3.request("GET", f"{url}/orders", headers={"Origin": origin})
            assert (told.status, told.headers.get("access-control-allow-origin")) == (401, allowed)
            assert "Origin" in told.headers["vary"]


def test_administrators_apart(deployment: Deployment, tmp_path: Path) -> None:
    """With ORDERS_GATEWAY_ADMIN=separate their calls and the console are at the other port, and only there."""
    admin = {"Authorization": f"Bearer {deployment.token('root', ['orders', 'admin'])}"}
    with another(deployment, tmp_path, admin="separate") as port:
        eventually(lambda: probe(f"http://{HOST}:{port}") is None, within=30)

        def status(at: int, method: str, path: str) -> int:
            pool = urllib3.connection_from_url(f"http://{HOST}:{at}")
            return pool.urlopen(method, path, headers=admin, redirect=False).status  # `request` writes it in capitals

        for method, path in (("POST", "/goods"), ("PUT", "/stock/1"), ("POST", "/sweep"), ("GET", "/console/")):
            assert status(port, method, path) == status(port, method.lower(), path) == 404
            assert status(port + 1, method, path) in {200, 204, 303, 415, 422}, path
        assert status(port, "GET", "/goods") == status(port + 1, "GET", "/goods") == 200


def test_https(deployment: Deployment, tmp_path: Path) -> None:
    """By an authority of its own, which lies in the data directory; HTTP/2 is spoken."""
    with another(deployment, tmp_path, tls="true") as port:
        root = tmp_path / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        eventually(lambda: probe(f"https://{HOST}:{port}", authority=root) is None, within=30)
        eventually(lambda: probe(f"https://localhost:{port}", authority=root) is None)  # a second certificate
        context = ssl.create_default_context(cafile=str(root))
        context.set_alpn_protocols(["h2", "http/1.1"])
        with (
            socket.create_connection((HOST, port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=HOST) as line,
        ):
            assert line.selected_alpn_protocol() == "h2"
        kept: Mapping[str, int] = {
            str(path): path.stat().st_mode & 0o077 for path in root.parent.iterdir() if path.suffix == ".key"
        }
        assert kept
        assert not any(kept.values())


def test_it_ends_with_its_supervisor(deployment: Deployment, tmp_path: Path) -> None:
    """At the end of the supervisor's pipe it stops; killed, it leaves nothing on its port."""
    reads, writes = os.pipe()
    port = free_port_base()
    environment = {
        **os.environ,
        **of_deployment.environment(deployment.plan, deployment.directory),
        "ORDERS_GATEWAY_DIR": str(tmp_path),
        "ORDERS_GATEWAY_LOG_DIR": str(tmp_path),
        "ORDERS_GATEWAY_PORT": str(port),
        "ORDERS_LIFELINE_FD": str(reads),
    }
    process = subprocess.Popen([sys.executable, "-m", "gateway"], env=environment, cwd=PACKAGES, pass_fds=[reads])
    os.close(reads)
    try:
        eventually(lambda: probe(f"http://{HOST}:{port}") is None, within=30)
        os.close(writes)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()


def test_events_come_as_they_are_told(shop: Shop) -> None:
    """An order request that is followed (SSE) is told through the gateway as a stream, not when it has ended."""
    goods, bearer = shop.goods(), shop.bearer()
    body = json.dumps({"items": [{"goods_id": goods, "quantity": 1}]}).encode()
    taken = shop.raw("gateway", "POST", "/orders", body=body, headers=JSON | bearer | {"Prefer": "respond-async"})
    assert (taken.status, taken.headers["preference-applied"]) == (202, "respond-async")
    told = shop.raw(
        "gateway", "GET", taken.headers["location"], headers=bearer | {"Accept": "text/event-stream, */*;q=0.1"}
    )
    assert told.headers["content-type"].startswith("text/event-stream")
    assert b'"state":"created"' in told.data
