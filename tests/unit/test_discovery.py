"""Following who is listed, and being listed; the directory is one of the test's own, which fails when it is told to."""

import http.server
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import structlog

from common.config import Settings
from common.discovery.certificates import Certificates
from common.discovery.factory import NoSuchDiscovery, open_directory
from common.discovery.following import Follower, Following
from common.discovery.port import MOST_INSTANCES, DiscoveryUnavailable, Instance, Listing
from common.discovery.process import Discovery
from common.discovery.registration import Registration, advertised, local
from common.peer import Peer
from gateway.following import known
from gateway.settings import Settings as OfGateway
from halfmessage.paths import EMBEDDED, file_url
from ops.commands import up
from ops.deployment import Deployment
from ops.gateway import environment
from ops.places import DataDir
from ops.plan import Gateway, Plan
from tests.support import eventually

ONE, TWO = "http://127.0.0.1:8002", "http://127.0.0.1:8102"
ME = Instance("stock", ONE)


class Directory:
    """A list in memory."""

    changes: ClassVar[bool] = True

    def __init__(self) -> None:
        self.listed: dict[str, list[str]] = {}
        self.is_down = False
        self.puts: list[tuple[Instance, int]] = []
        self.withdrawn: list[Instance] = []
        self.at_put: Callable[[], object] = lambda: None

    def put(self, instance: Instance, ttl: int) -> None:
        self._answer()
        self.at_put()
        self.puts.append((instance, ttl))

    def withdraw(self, instance: Instance) -> None:
        self._answer()
        self.withdrawn.append(instance)

    def read(self, services: Collection[str]) -> Listing:
        self._answer()
        return {name: sorted(self.listed.get(name, [])) for name in services}

    def close(self) -> None: ...

    def _answer(self) -> None:
        if self.is_down:
            raise DiscoveryUnavailable("It is down.")


class Caller:
    """Who follows a service."""

    def __init__(self, service: str = "stock") -> None:
        self.service = service
        self.used: list[Sequence[str]] = []

    def use(self, urls: Sequence[str]) -> None:
        self.used.append(urls)


@pytest.fixture
def directory() -> Directory:
    return Directory()


@pytest.fixture
def caller() -> Caller:
    return Caller()


Follow = Callable[..., Following]


@pytest.fixture
def follow(directory: Directory, caller: Caller) -> Iterator[Follow]:
    made: list[Following] = []

    def start(*callers: Follower, file: Path | None = None) -> Following:
        made.append(Following(directory, callers or [caller], file))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.close()


def test_told_what_is_listed_and_what_changes(directory: Directory, caller: Caller, follow: Follow) -> None:
    """The list at the start, and each change of it, once; who follows another service is told of that one."""
    directory.listed = {"stock": [ONE], "goods": [TWO]}
    other = Caller("goods")
    follow(caller, other)
    assert (caller.used, other.used) == ([[ONE]], [[TWO]])
    directory.listed = {"stock": [TWO, ONE], "goods": [TWO]}
    eventually(lambda: caller.used == [[ONE], [ONE, TWO]])
    assert other.used == [[TWO]]


def test_an_empty_list_is_not_believed(directory: Directory, caller: Caller, follow: Follow) -> None:
    """A list that is empty, as of a directory that lost what it had, leaves callers those that were there last."""
    directory.listed = {"stock": [ONE]}
    following = follow()
    directory.listed = {}
    threading.Event().wait(0.6)  # one look at least; nothing can be waited for
    directory.listed = {"stock": [TWO]}
    eventually(lambda: caller.used == [[ONE], [TWO]])
    following.ask()


def test_down_the_last_known_list_is_used_and_that_is_said(
    directory: Directory, caller: Caller, follow: Follow
) -> None:
    """Said once in the log, and in readiness and gauges for as long as it lasts; then all goes on."""
    directory.listed = {"stock": [ONE]}
    with structlog.testing.capture_logs() as logs:
        following = follow()
        assert following.gauges["discovery_up"] == 1
        directory.is_down = True
        eventually(lambda: following.gauges["discovery_up"] == 0)
        eventually(lambda: following.gauges["discovery_list_age_seconds"] > 0.6)  # more than one look failed
        with pytest.raises(DiscoveryUnavailable, match=r"It is down\. The last known list"):
            following.ask()
        assert caller.used == [[ONE]]
        directory.listed, directory.is_down = {"stock": [TWO]}, False
        eventually(lambda: caller.used == [[ONE], [TWO]])
        following.ask()
        assert following.gauges["discovery_up"] == 1
    said = [line["event"] for line in logs]
    assert said.count("discovery is down: the last known list of instances is used") == 1
    assert said.count("discovery is up again") == 1


def test_a_start_while_it_is_down(directory: Directory, caller: Caller, follow: Follow, tmp_path: Path) -> None:
    """The list that was kept on disk is used, at once; without one the settings' addresses stay."""
    file = tmp_path / "run" / "stock.json"
    directory.listed = {"stock": [ONE, TWO], "goods": [ONE]}
    follow(file=file).close()
    assert json.loads(file.read_bytes()) == {"stock": [ONE, TWO]}
    directory.is_down = True
    late = Caller()
    following = follow(late, file=file)
    assert late.used == [[ONE, TWO]]
    with pytest.raises(DiscoveryUnavailable):
        following.ask()
    unlucky = Caller()
    follow(unlucky)
    follow(unlucky, file=tmp_path / "none.json")
    assert unlucky.used == []
    assert caller.used == [[ONE, TWO]]


@pytest.mark.parametrize("kept", [b"{", b"[]", b'{"stock": 7}', b"\xff"])
def test_a_kept_list_that_is_broken(
    kept: bytes, directory: Directory, caller: Caller, follow: Follow, tmp_path: Path
) -> None:
    """It is passed over, and the log says so."""
    file = tmp_path / "kept.json"
    file.write_bytes(kept)
    directory.is_down = True
    with structlog.testing.capture_logs() as logs:
        follow(file=file)
    assert caller.used == []
    assert "the last known list of instances can't be read" in {line["event"] for line in logs}


def test_a_list_that_can_not_be_kept(directory: Directory, caller: Caller, follow: Follow, tmp_path: Path) -> None:
    """It is followed all the same."""
    (tmp_path / "file").touch()
    directory.listed = {"stock": [ONE]}
    with structlog.testing.capture_logs() as logs:
        follow(file=tmp_path / "file" / "kept.json")
    assert caller.used == [[ONE]]
    assert "the list of instances is not kept" in {line["event"] for line in logs}


def test_more_than_are_followed(directory: Directory, caller: Caller, follow: Follow) -> None:
    """The first ones are, and the log tells of the rest."""
    directory.listed = {"stock": [f"http://127.0.0.1:{port}" for port in range(20_000, 20_001 + MOST_INSTANCES)]}
    with structlog.testing.capture_logs() as logs:
        follow()
    assert [len(urls) for urls in caller.used] == [MOST_INSTANCES]
    assert "more instances than are followed" in {line["event"] for line in logs}


def test_an_entry_that_is_no_address(directory: Directory, follow: Follow) -> None:
    """It is not called, and said once; whoever calls the service goes on following, from the start on."""
    peer = Peer("stock", TWO, lambda: "token", timeout=1, connections=1)
    directory.listed = {"stock": [ONE, "http://me:hush@x:80o2", "http://y:99999", "http://z :1", "http://[::zz]:1"]}
    with structlog.testing.capture_logs() as logs:
        follow(peer)
        assert list(peer._instances) == [ONE]
        directory.listed = {"stock": [ONE, TWO, "http://y:99999"]}
        eventually(lambda: list(peer._instances) == [ONE, TWO])
        directory.listed = {"stock": ["http://y:99999"]}
        threading.Event().wait(0.6)  # one look at least; nothing can be waited for
        directory.listed = {"stock": [TWO]}
        eventually(lambda: list(peer._instances) == [TWO])
    odd = [(line["number"], line["first"]) for line in logs if line["event"].startswith("listed at no http://")]
    assert odd == [(4, "http://[::zz]:1"), (1, "http://y:99999")]
    peer.close()


def test_a_start_while_a_service_has_no_instance(
    directory: Directory, caller: Caller, follow: Follow, tmp_path: Path
) -> None:
    """Those of it that were kept are called, and stay kept; of others the list counts."""
    file = tmp_path / "kept.json"
    file.write_text(json.dumps({"stock": [ONE], "goods": [ONE]}))
    directory.listed = {"stock": [], "goods": [TWO]}
    other = Caller("goods")
    follow(caller, other, file=file)
    assert (caller.used, other.used) == ([[ONE]], [[TWO]])
    assert json.loads(file.read_bytes()) == {"stock": [ONE], "goods": [TWO]}


def test_a_gateway_that_starts_while_a_service_has_no_instance(tmp_path: Path) -> None:
    """It begins as callers do: with what was kept, and without what is no address."""
    folder, file = tmp_path / "list", tmp_path / "kept.json"
    listed = open_directory(file_url(EMBEDDED, folder), str)
    for instance in (Instance("goods", TWO), Instance("order", "http://x:80o2")):
        listed.put(instance, 60)
    file.write_text(json.dumps({"stock": [ONE], "goods": [ONE]}))
    settings = OfGateway(gateway_dir=tmp_path, discovery=file_url(EMBEDDED, folder), discovery_file=file)
    told = known(settings)
    assert [told.urls(name) for name in ("stock", "goods")] == [(ONE,), (TWO,)]
    assert told.urls("order") == settings.urls("order")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        yield listener


Register = Callable[..., Registration]


@pytest.fixture
def register(directory: Directory, listener: socket.socket) -> Iterator[Register]:
    made: list[Registration] = []

    def start(*, ttl: int = 2) -> Registration:
        made.append(Registration(directory, ME, listens_at=listener.getsockname(), ttl=ttl))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.close()


def test_listed_once_it_listens_and_withdrawn_once(
    directory: Directory, register: Register, listener: socket.socket
) -> None:
    """No caller is sent to a port that is not open yet; at the end it is off the list before `withdraw` returns."""
    registration = register(ttl=60)
    threading.Event().wait(0.2)
    assert directory.puts == []
    listener.listen()
    eventually(lambda: directory.puts == [(ME, 60)])
    registration.withdraw()
    registration.close()
    assert directory.withdrawn == [ME]


def test_renewed_three_times_in_its_time(directory: Directory, register: Register, listener: socket.socket) -> None:
    """Two renewals may be lost before the lease is."""
    listener.listen()
    register(ttl=2)
    eventually(lambda: len(directory.puts) == 4, within=2.6)


def test_while_the_directory_is_down_it_is_tried_more_often(
    directory: Directory, register: Register, listener: socket.socket
) -> None:
    """It is listed a tenth of the time after the directory answers again; one line tells of each change."""
    listener.listen()
    directory.is_down = True
    with structlog.testing.capture_logs() as logs:
        register(ttl=5)
        threading.Event().wait(1.2)
        directory.is_down = False
        eventually(lambda: directory.puts, within=1)
        eventually(lambda: len(logs) == 2)
    assert [line["event"] for line in logs] == ["this instance can't be listed", "this instance is listed again"]


def test_withdrawn_while_the_directory_is_down(
    directory: Directory, register: Register, listener: socket.socket
) -> None:
    """It stops all the same; its lease ends by itself."""
    listener.listen()
    registration = register()
    eventually(lambda: directory.puts)
    directory.is_down = True
    with structlog.testing.capture_logs() as logs:
        registration.close()
    assert "this instance stays listed until its lease is over" in {line["event"] for line in logs}


def test_no_renewal_comes_after_the_withdrawal(
    directory: Directory, register: Register, listener: socket.socket
) -> None:
    """One that is on its way ends first, or it would list an instance that is gone."""
    entered, leave = threading.Event(), threading.Event()
    directory.at_put = lambda: (entered.set(), leave.wait(5))
    listener.listen()
    registration = register()
    assert entered.wait(5)
    ending = threading.Thread(target=registration.withdraw)
    ending.start()
    threading.Event().wait(0.1)
    assert directory.withdrawn == []
    leave.set()
    ending.join(5)
    registration.close()
    assert len(directory.puts) == 1
    assert directory.withdrawn == [ME]


def test_where_others_reach_it() -> None:
    """Where it listens, unless told otherwise; one that listens everywhere is there for itself at the loopback."""
    assert advertised("127.0.0.1", 8001, "") == "http://127.0.0.1:8001"
    assert advertised("::1", 8001, "") == "http://[::1]:8001"
    assert advertised("0.0.0.0", 8001, "http://shop:80/") == "http://shop:80"  # noqa: S104
    assert local("0.0.0.0", 8001) == ("127.0.0.1", 8001)  # noqa: S104
    assert local("10.0.0.7", 8001) == ("10.0.0.7", 8001)


@pytest.mark.parametrize(
    "url",
    [
        *("embedded://", "embedded://host/folder", "etcd://", "etcd://host:port", "zookeeper://host"),
        *("consul://:hush@", "etcd://hush@host", "etcd://:hush@host", "etcds://me:@host", "etcds://me:hush"),
        *("etcd://me:hush@host:hush", "etcds://me:hush@"),
    ],
)
def test_no_such_discovery(url: str) -> None:
    """The error names what there is, and not the URL, which may have a token or a password."""
    with pytest.raises(NoSuchDiscovery) as failed:
        open_directory(url, str)
    assert "ORDERS_DISCOVERY" in failed.value.detail
    assert "hush" not in f"{failed.value!r} {failed.value.__cause__!r}"


def test_etcd_by_its_url() -> None:
    """Members, prefix and protocol; a name and a password as they are before they are put into a URL."""
    directory: Any = open_directory("etcds://a%40b:p%3A%2F@one, two:77,[::1]:78/shop/", str)
    assert [client.base_url for client in directory._clients] == [
        *("https://one:2379", "https://two:77", "https://[::1]:78")
    ]
    assert (directory._login, directory._prefix) == (("a@b", "p:/"), "shop")
    plain: Any = open_directory("etcd://one", str)
    assert (plain._clients[0].base_url, plain._login) == ("http://one:2379", None)
    for made in (directory, plain):
        made.close()


def test_a_log_in_may_take_longer_than_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """All processes may log in at once, and each password costs etcd much: none gives up, and begins anew."""
    monkeypatch.setattr("common.discovery.etcd.ANSWERS_WITHIN", 0.5)

    class Etcd(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            told: tuple[int, dict[str, str]] = (400, {"error": "etcdserver: user name is empty"})
            if self.path == "/v3/auth/authenticate":
                threading.Event().wait(1)
                told = 200, {"token": "hush"}
            elif self.headers["Authorization"] == "hush":
                told = 200, {}
            body = json.dumps(told[1]).encode()
            self.send_response(told[0])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Etcd) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        directory = open_directory(f"etcd://me:hush@127.0.0.1:{server.server_address[1]}", str)
        try:
            assert directory.read(["stock"]) == {"stock": []}
        finally:
            directory.close()
            server.shutdown()
            serving.join()


@pytest.mark.parametrize(
    ("url", "named", "fault"),
    [
        ("etcds://host", {"authority": "none.pem"}, r"ORDERS_DISCOVERY_CA: there is no file .*none\.pem"),
        ("etcds://host", {"own": "a.pem"}, "ORDERS_DISCOVERY_CERTIFICATE and ORDERS_DISCOVERY_KEY go together"),
        ("etcds://host", {"key": "a.pem"}, "go together"),
        ("etcd://host", {"authority": "a.pem"}, "ORDERS_DISCOVERY_CA is for etcds://HOST:PORT alone"),
        ("consul://host", {"own": "a.pem", "key": "a.pem"}, "ORDERS_DISCOVERY_CERTIFICATE is for etcds"),
    ],
)
def test_certificates_that_are_no_good(url: str, named: dict[str, str], fault: str, tmp_path: Path) -> None:
    """Told at the start: later, each question would fail; and nothing is taken for TLS that is none."""
    (tmp_path / "a.pem").touch()
    with pytest.raises(NoSuchDiscovery, match=fault):
        open_directory(url, str, Certificates(**{name: tmp_path / file for name, file in named.items()}))


def test_a_detached_start_finds_files_that_are_named_by_where_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs elsewhere: both of them are told whole paths."""
    given: dict[str, str] = {}

    class NotStarted(Exception):
        """Nothing is started here."""

    def popen(*_: object, env: dict[str, str], **__: object) -> None:
        given.update(env)
        raise NotStarted

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDERS_STACK_DIR", "servers")
    monkeypatch.setenv("ORDERS_DISCOVERY_CA", "ca.pem")
    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises(NotStarted):
        up.start_detached(Deployment(tmp_path / "var", Plan()))
    assert given["ORDERS_STACK_DIR"] == str(tmp_path / "servers")
    assert given["ORDERS_DISCOVERY_CA"] == str(tmp_path / "ca.pem")
    assert "ORDERS_DISCOVERY_KEY" not in given


def test_its_files_are_kept_with_the_deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `orders up` was told them, with their whole path; services and the gateway are told the same ones."""
    monkeypatch.chdir(tmp_path)
    given = {"": "etcds://one", "_CA": "ca.pem", "_CERTIFICATE": "/a/own.pem", "_KEY": ""}
    for name, value in given.items():
        monkeypatch.setenv(f"ORDERS_DISCOVERY{name}", value)
    kept = up._kept()
    assert kept["discovery_ca"] == str(tmp_path / "ca.pem")
    assert kept["discovery_certificate"] == "/a/own.pem"
    assert "discovery_key" not in kept
    plan = Plan(extra={**kept, "discovery_key": "/a/key.pem"}, gateway=Gateway())
    told = environment(plan, DataDir(tmp_path))
    for name in given:
        monkeypatch.setenv(f"ORDERS_DISCOVERY{name}", told[f"ORDERS_DISCOVERY{name}"])
    with pytest.raises(NoSuchDiscovery, match=f"there is no file {tmp_path}/ca.pem"):
        known(OfGateway(gateway_dir=tmp_path))
    there = Certificates(tmp_path / "ca.pem", Path("/a/own.pem"), Path("/a/key.pem"))
    base = {"port": 0, "jwt_secret": "s" * 40, "database_url": "sqlite://"}
    assert Settings(**base).discovery_certificates == there  # type: ignore[arg-type]
    with pytest.raises(NoSuchDiscovery, match=r"ca\.pem"):
        Discovery("stock", Settings(**base), [])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"host": "0.0.0.0"}, "ORDERS_HOST=0.0.0.0 is no address to be called at: set ORDERS_ADVERTISE to one"),  # noqa: S104
        ({"advertise": "shop:80"}, "ORDERS_ADVERTISE=shop:80 must be a base URL"),
        *(
            ({"advertise": wrong}, f"ORDERS_ADVERTISE={re.escape(wrong)} must be a base URL")
            for wrong in (
                "http://a:80o2",
                "http://a:99999",
                "http://a :1",
                "http://[::1",
                "http://[1::2::3]:1",
                "http://a/x",
            )
        ),
        ({"host": "0.0.0.0", "advertise": "http://shop:80"}, ""),  # noqa: S104
        ({"advertise": "https://[::1]:80/"}, ""),
    ],
)
def test_an_address_to_be_called_at(given: dict[str, str], fault: str) -> None:
    """It is asked for where a list that others follow would have none."""
    told = {"port": 0, "jwt_secret": "s" * 40, "database_url": "sqlite://", "broker_url": "embedded:///b.db"}
    Settings(**told, **{**given, "advertise": ""})  # type: ignore[arg-type]  # no list: it does not matter
    if fault:
        with pytest.raises(ValueError, match=fault):
            Settings(**told, **given, discovery="embedded:///folder")  # type: ignore[arg-type]
    else:
        Settings(**told, **given, discovery="embedded:///folder")  # type: ignore[arg-type]


def test_a_folder_that_can_not_be_used(tmp_path: Path) -> None:
    """It is as a server that is down: each call says so."""
    (tmp_path / "list").touch()
    listed = open_directory(file_url(EMBEDDED, tmp_path / "list"), str)
    for call in (lambda: listed.read(["stock"]), lambda: listed.put(ME, 5), lambda: listed.withdraw(ME)):
        with pytest.raises(DiscoveryUnavailable, match="The folder of instances"):
            call()


def test_files_of_a_folder_that_say_nothing(tmp_path: Path) -> None:
    """Broken ones are passed over; those whose time was long ago, or is too far away (another boot), are removed."""
    url = file_url(EMBEDDED, tmp_path / "a folder #1")
    listed = open_directory(url, str)
    listed.put(ME, 5)
    folder = tmp_path / "a folder #1"
    now = time.monotonic()
    for name, text in {
        "broken": "{",
        "other": "[]",
        "future": json.dumps({"service": "stock", "url": TWO, "until": now + 1e6}),
        "past": json.dumps({"service": "stock", "url": TWO, "until": now - 1e6}),
        "ended": json.dumps({"service": "stock", "url": TWO, "until": now - 1}),
    }.items():
        (folder / f"{name}.json").write_text(text)
    assert open_directory(url, str).read(["stock"]) == {"stock": [ONE]}
    assert {path.stem for path in folder.iterdir()} >= {"broken", "other", "ended"}
    assert not {"future", "past"} & {path.stem for path in folder.iterdir()}
