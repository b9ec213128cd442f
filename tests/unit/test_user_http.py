"""The user service's doors: calls without a token, and how often one address and one name may make them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder, TestResponse

from common.auth import Verifier
from common.limits import ProcessLimiter
from common.telemetry import Metrics
from common.web import Api
from common.web.requests import client_address
from tests.users import NAME, PASSWORD, Users
from user.api import Doors, Rates, install
from user.instruments import Instruments

_RATES = ("3/hour", "4/hour", "2/hour")


class Site:
    """The service over HTTP, without a server."""

    def __init__(self, folder: Path, *, proxies: int = 0, rates: tuple[str, ...] = _RATES) -> None:
        self.users = Users(folder)
        self.metrics = Metrics("user")
        told: Any = {"title": "", "description": "", "max_body": 9999, "metrics": self.metrics, "checks": {}}
        self.api = Api("user", verifier=Verifier("s" * 32, self.users.keys), **told)
        doors = Doors(ProcessLimiter(), Rates(*rates, proxies))
        instruments = Instruments(self.metrics, self.users.keys)
        install(self.api, self.users.accounts, self.users.sessions, self.users.keys, doors, instruments)
        self.client = self.api.app.test_client()

    def post(self, path: str, body: Any, address: str = "192.0.2.1", **headers: str) -> TestResponse:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(path, json=body, headers=names, environ_overrides={"REMOTE_ADDR": address})

    def register(self, name: str, address: str = "192.0.2.1", **headers: str) -> TestResponse:
        return self.post("/users", {"name": name, "password": PASSWORD}, address, **headers)

    def log_in(self, name: str, address: str = "192.0.2.1", **headers: str) -> TestResponse:
        return self.post("/tokens", {"name": name, "password": PASSWORD}, address, **headers)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.users.close()


def test_an_address_registers_so_often(site: Site) -> None:
    """Then it is 429, with the seconds to wait; others go on. What can't be read is not counted."""
    assert site.post("/users", {"name": "A", "password": PASSWORD}).status_code == 422
    assert [site.register(f"user-{n}").status_code for n in range(4)] == [201, 201, 201, 429]
    again = site.register("user-9")
    assert 0 < int(again.headers["Retry-After"]) <= 3600
    assert site.register("user-9", "192.0.2.2").status_code == 201


def test_an_address_logs_in_and_refreshes_so_often(site: Site) -> None:
    """Whatever the names, and the tokens."""
    assert [site.log_in(f"user-{n}").status_code for n in range(4)] == [401] * 4
    assert site.log_in("user-9").status_code == 429
    assert site.post("/tokens/refresh", {"refresh_token": "x"}).status_code == 429
    assert site.post("/tokens/refresh", {"refresh_token": "x"}, "192.0.2.2").status_code == 401


def test_a_name_is_logged_in_under_so_often(site: Site) -> None:
    """From however many addresses; one that is no user's too."""
    for name in (NAME, "nobody"):
        answers = [site.log_in(name, f"192.0.2.{n}").status_code for n in range(10, 13)]
        assert answers == [401, 401, 429]


def test_a_stranger_does_not_use_up_the_tries_of_a_user(site: Site) -> None:
    """From where a user has logged in before, a name's tries count by themselves; from all else, together."""
    mine, others = "192.0.2.1", ("192.0.2.2", "192.0.2.3")
    site.register(NAME)
    assert site.log_in(NAME, mine).status_code == 200  # the first from there counts with all others
    wrong = {"name": NAME, "password": "not the password"}
    assert [site.post("/tokens", wrong, one).status_code for one in others] == [401, 429]
    assert [site.log_in(NAME, one).status_code for one in (mine, others[0], mine, mine)] == [200, 429, 200, 429]


def test_who_is_behind_a_proxy_is_told_by_it(tmp_path: Path) -> None:
    """And not by themselves: what they send as X-Forwarded-For comes before the proxy's own entry."""
    site = Site(tmp_path, proxies=1)
    for n in range(3):
        assert site.register(f"user-{n}", "127.0.0.1", X_Forwarded_For=f"10.0.0.{n}, 198.51.100.1").status_code == 201
    assert site.register("user-9", "127.0.0.1", X_Forwarded_For="10.0.0.9, 198.51.100.1").status_code == 429
    assert site.register("user-9", "127.0.0.1", X_Forwarded_For="198.51.100.2").status_code == 201
    site.users.close()


@pytest.mark.parametrize(
    ("told", "forwarded", "proxies", "expected"),
    [
        ("192.0.2.1", None, 0, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.1", 0, "192.0.2.1"),
        ("127.0.0.1", "198.51.100.1", 1, "198.51.100.1"),
        ("127.0.0.1", "10.0.0.1, 198.51.100.1,198.51.100.2", 2, "198.51.100.1"),
        ("127.0.0.1", None, 1, "127.0.0.1"),
        ("127.0.0.1", "198.51.100.1", 2, "127.0.0.1"),
        ("192.0.2.1", "198.51.100.1", 1, "192.0.2.1"),
        ("127.0.0.1", "nonsense", 1, "unknown"),
        ("", None, 0, "unknown"),
        ("2001:db8:1:2:3:4:5:6", None, 0, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", None, 0, "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", None, 0, "192.0.2.1"),
    ],
)
def test_whose_address_it_is(told: str, forwarded: str | None, proxies: int, expected: str) -> None:
    """Of IPv6 the network; of a proxy's entries the one before those of ours."""
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    environ = EnvironBuilder(headers=headers, environ_overrides={"REMOTE_ADDR": told}).get_environ()
    assert client_address(Request(environ), proxies) == expected


def test_a_token_is_not_looked_at_where_none_is_needed(site: Site) -> None:
    """A client that sends its old one logs in all the same; where one is needed it is asked for."""
    assert site.register("user-1", Authorization="Bearer nonsense").status_code == 201
    assert site.client.get("/.well-known/jwks.json", headers={"Authorization": "Bearer x"}).status_code == 200
    assert site.client.get("/users/me").status_code == 401
    assert site.client.delete("/tokens/current").status_code == 401


def test_the_document_tells_which_calls_need_a_token(site: Site) -> None:
    """And that others need none, with every status; nothing in it breaks."""
    paths = site.client.get("/openapi.json").get_json()["paths"]
    for path, method in (("/users", "post"), ("/tokens", "post"), ("/.well-known/jwks.json", "get")):
        assert paths[path][method]["security"] == []
    assert "401" not in paths["/users"]["post"]["responses"]
    assert {"401", "429", "503"} <= paths["/tokens"]["post"]["responses"].keys()
    assert paths["/users/me"]["get"]["security"] == [{"token": []}]


def test_log_ins_and_refreshes_are_counted_by_what_became_of_them(tmp_path: Path) -> None:
    """Each outcome from 0 on; and how old the key is that signs."""
    site = Site(tmp_path, rates=("99/hour", "12/hour", "99/hour"))
    site.register(NAME)
    told = site.log_in(NAME).get_json()
    for token in (told["refresh_token"], told["refresh_token"], "x.y"):
        site.post("/tokens/refresh", {"refresh_token": token})
    for _ in range(8):
        site.post("/tokens", {"name": NAME, "password": "not the password"}, "192.0.2.9")
    for _ in range(9):
        site.log_in("nobody")
    lines = site.metrics.render().decode().splitlines()
    seen = {line.partition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line.startswith("orders_")}

    def counted(what: str) -> dict[str, float]:
        names = ("ok", "wrong", "delayed", "limited", "reused", "failed")
        return {name: seen[f'orders_{what}_total{{outcome="{name}"}}'] for name in names}

    assert counted("refreshes") == {"ok": 1, "wrong": 1, "delayed": 0, "limited": 0, "reused": 1, "failed": 0}
    assert counted("log_ins") == {"ok": 1, "wrong": 12, "delayed": 4, "limited": 1, "reused": 0, "failed": 0}
    assert seen["orders_signing_keys_published"] == 1
    assert 0 <= seen["orders_signing_key_age_seconds"] < 3600
    site.users.close()
