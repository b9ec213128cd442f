"""Users end to end: registered, logged in, refused, rotated, forgotten, over HTTP and by command line."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest

from common.auth import issue
from common.our_tokens import ByKey, ServiceToken
from common.own_keys import OwnKey
from common.registry import NAMES
from ops.client import Client
from tests.e2e.shop import Raw, Shop, placed, slug
from tests.support import eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.embedded("tests/real/test_use_cases.py has its database; it knows no broker"),
]

ROOT = Path(__file__).parents[2]
PASSWORD = "correct horse battery"
_numbers = itertools.count(1)


@pytest.fixture(scope="module", autouse=True)
def _rates(deployment: Any) -> Iterator[None]:
    """Let the tests' one address register and log in as often as they need."""
    shop = Shop(deployment)
    with shop.settings("user", registration_rate="10000/hour", log_in_rate="10000/minute"):
        yield
    shop.close()


def ask(shop: Shop, method: str, path: str, body: Any = None, token: str | None = None, service: str = "user") -> Raw:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    if body is None:
        return shop.raw(service, method, path, headers=headers)
    raw = json.dumps(body).encode()
    return shop.raw(service, method, path, body=raw, headers=headers | {"Content-Type": "application/json"})


def registered(shop: Shop) -> str:
    """Register a new user; return the name."""
    name = f"user-{os.getpid()}-{next(_numbers)}"
    answer = ask(shop, "POST", "/users", {"name": name, "password": PASSWORD})
    assert (answer.status, answer.headers["location"]) == (201, "/users/me"), answer
    return name


def logged_in(shop: Shop, name: str, password: str = PASSWORD) -> Any:
    """Log in; return the tokens."""
    answer = ask(shop, "POST", "/tokens", {"name": name, "password": password})
    assert answer.status == 200, answer
    assert answer.headers["cache-control"] == "no-store"
    return answer.json


def orders(shop: Shop, *words: str, password: str | None = None) -> str:
    """Run the command line on the deployment; return what it said."""
    ran = subprocess.run(
        [sys.executable, "-m", "ops", *words, "--data-dir", str(shop.deployment.directory.root)],
        input=password,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_user_registers_logs_in_and_orders(shop: Shop) -> None:
    """The token of the user service is taken by the others; the order is the user's by the id that never changes."""
    tokens = logged_in(shop, registered(shop))
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 900)
    me = ask(shop, "GET", "/users/me", token=tokens["access_token"]).json
    client = Client(shop.deployment.plan.urls, tokens["access_token"])
    order = placed(client, {shop.goods(): 1})
    client.close()
    assert order["user_id"] == me["user_id"]
    assert me["scopes"] == ["orders"]


def test_every_service_takes_a_users_token_and_no_internal_route_does(shop: Shop) -> None:
    """Metrics need any valid token, so each has verified it; what is for services and admins is a 403."""
    token = logged_in(shop, registered(shop))["access_token"]
    internal = 0
    for service in NAMES:
        assert ask(shop, "GET", "/metrics", token=token, service=service).status == 200, service
        paths = shop.raw(service, "GET", "/openapi.json").json["paths"]
        calls = [(path, method) for path in paths if path.startswith("/internal") for method in paths[path]]
        for path, method in calls:
            answer = ask(
                shop, method.upper(), re.sub(r"\{\w+\}", "1", path), {} if method != "get" else None, token, service
            )
            assert (answer.status, slug(answer)) == (403, "forbidden"), (service, path)
            internal += 1
    assert internal > len(NAMES)


def test_a_wrong_password_is_no_more_than_an_unknown_name(shop: Shop) -> None:
    """The same answer to the last character, but for the request's id."""
    name = registered(shop)
    answers = [
        ask(shop, "POST", "/tokens", {"name": one, "password": "not the password"}) for one in (name, "nobody-at-all")
    ]
    assert [(answer.status, slug(answer)) for answer in answers] == [(401, "unauthenticated")] * 2
    first, second = ({k: v for k, v in answer.json.items() if k != "request_id"} for answer in answers)
    assert first == second


def test_guessing_is_slowed_and_the_right_password_works_afterwards(shop: Shop) -> None:
    """429 with the seconds to wait; then the user gets in."""
    name = registered(shop)
    answers = [ask(shop, "POST", "/tokens", {"name": name, "password": "a guess, a guess"}) for _ in range(7)]
    assert [answer.status for answer in answers] == [*[401] * 6, 429]
    assert slug(answers[-1]) == "too-many-requests"
    assert int(answers[-1].headers["retry-after"]) == 1


def test_log_ins_starve_nothing_else(shop: Shop) -> None:
    """So many passwords are hashed, so many wait, the rest gets 503 and Retry-After; other calls pass all of them."""
    token, inside, clients = logged_in(shop, registered(shop))["access_token"], 24, 40
    gate, ended, refused = threading.Barrier(clients + 1), list[float](), list[Raw]()

    def log_in(number: int) -> None:
        gate.wait(20)
        answer = ask(shop, "POST", "/tokens", {"name": f"nobody-{number}", "password": PASSWORD})
        if answer.status == 401:
            ended.append(time.monotonic())
        else:
            refused.append(answer)

    bounds: dict[str, str | float] = {"hashes_at_once": 1, "hashes_waiting": inside - 1, "threads": 4}
    with shop.settings("user", log_in_rate="10000/minute", **bounds), ThreadPoolExecutor(clients) as pool:
        calls = [pool.submit(log_in, number) for number in range(clients)]
        gate.wait(20)
        eventually(lambda: ended or refused, within=20)
        for path in ("/users/me", "/.well-known/jwks.json", "/users/me"):
            assert ask(shop, "GET", path, token=token).status == 200
        passed = time.monotonic()
        for call in calls:
            call.result(30)
    assert sum(at > passed for at in ended) > inside // 2
    assert {(answer.status, answer.headers["retry-after"]) for answer in refused} == {(503, "1")}


def test_a_refresh_token_is_good_once(shop: Shop) -> None:
    """Twice ends the log-in; so does logging out."""
    name = registered(shop)
    first = logged_in(shop, name)
    second = ask(shop, "POST", "/tokens/refresh", {"refresh_token": first["refresh_token"]})
    assert second.status == 200
    for token in (first["refresh_token"], second.json["refresh_token"]):
        assert ask(shop, "POST", "/tokens/refresh", {"refresh_token": token}).status == 401
    third = logged_in(shop, name)
    for _ in range(2):
        assert ask(shop, "DELETE", "/tokens/current", token=third["access_token"]).status == 200
    assert ask(shop, "POST", "/tokens/refresh", {"refresh_token": third["refresh_token"]}).status == 401


@pytest.mark.parametrize(
    ("name", "password"),
    [("ab", PASSWORD), ("a" * 65, PASSWORD), ("Alice", PASSWORD), ("al ice", PASSWORD), ("al/ice", PASSWORD),
     ("somebody", "short"), ("somebody", "x" * 257), ("somebody", ""), ("somebody-long", "somebody-long")],
)  # fmt: skip
def test_names_and_passwords_have_rules(shop: Shop, name: str, password: str) -> None:
    """422; and no answer repeats a password."""
    answer = ask(shop, "POST", "/users", {"name": name, "password": password})
    assert answer.status == 422
    assert not password or password not in json.dumps(answer.json.get("errors", []))


def test_a_password_is_changed_and_an_account_deleted(shop: Shop) -> None:
    """Both with the password, not with a token alone; the orders stay."""
    name = registered(shop)
    token = logged_in(shop, name)["access_token"]
    client = Client(shop.deployment.plan.urls, token)
    order = placed(client, {shop.goods(): 1})
    client.close()
    wrong = ask(shop, "POST", "/users/me/delete", {"password": "not the password"}, token)
    assert (wrong.status, slug(wrong)) == (403, "wrong-password")
    change = {"password": PASSWORD, "new_password": "ünïcode is as good as any"}
    assert ask(shop, "POST", "/users/me/password", change, token).status == 200
    logged_in(shop, name, change["new_password"])
    assert ask(shop, "POST", "/users/me/delete", {"password": change["new_password"]}, token).status == 200
    assert ask(shop, "GET", "/users/me", token=token).status == 404
    assert ask(shop, "POST", "/tokens", {"name": name, "password": change["new_password"]}).status == 401
    assert shop.admin.get("order", f"/orders/{order['order_id']}")["user_id"] == order["user_id"]


def test_the_keys_are_public_and_nothing_else_is(shop: Shop) -> None:
    """JWKS without a private member; it verifies a token by a library that knows nothing of ours."""
    answer = ask(shop, "GET", "/.well-known/jwks.json")
    assert answer.headers["cache-control"] == "max-age=300"
    token = logged_in(shop, registered(shop))["access_token"]
    keys = {key["kid"]: key for key in answer.json["keys"]}
    assert all(set(key) == {"kty", "crv", "alg", "use", "kid", "x", "exp"} for key in keys.values())
    key = jwt.PyJWK(keys[jwt.get_unverified_header(token)["kid"]])
    claims = jwt.decode(token, key.key, algorithms=["EdDSA"], audience="orders", issuer="orders/user")
    assert claims["scope"] == "orders"


def test_an_admin_is_made_by_command_line(shop: Shop) -> None:
    """Never over REST; and is one until it is taken back."""
    name = f"admin-{os.getpid()}"
    assert "an admin" in orders(shop, "users", "add-admin", name, "--password-stdin", password=f"{PASSWORD}\n")
    token = logged_in(shop, name)["access_token"]
    assert ask(shop, "GET", "/admin/orders", token=token, service="order").status == 200
    listed = {one["name"]: one["is_admin"] for one in json.loads(orders(shop, "users", "list", "--json"))}
    assert listed[name]
    orders(shop, "users", "remove-admin", name)
    token = logged_in(shop, name)["access_token"]
    assert ask(shop, "GET", "/admin/orders", token=token, service="order").status == 403
    seen = json.loads(orders(shop, "users", "log-ins", "--json"))
    assert [(one["name"], one["outcome"]) for one in seen[:2]] == [(name, "ok")] * 2


def test_a_rotated_key_is_published_at_once_and_signs_later(shop: Shop) -> None:
    """Tokens from before are good all the while; nothing is restarted."""
    before = logged_in(shop, registered(shop))["access_token"]
    said = orders(shop, "users", "rotate-keys")
    kid = said.split()[1]

    def published() -> set[str]:
        return {key["kid"] for key in ask(shop, "GET", "/.well-known/jwks.json").json["keys"]}

    eventually(lambda: kid in published(), within=20)
    after = logged_in(shop, registered(shop))["access_token"]
    assert jwt.get_unverified_header(after)["kid"] != kid
    for token in (before, after):
        assert ask(shop, "GET", "/metrics", token=token, service="goods").status == 200


def test_without_the_setting_services_make_no_users_tokens(shop: Shop) -> None:
    """The secret that all of them have is good for nothing; it is where the setting says so, and warned of."""
    secret, token = shop.deployment.directory.secret(), logged_in(shop, registered(shop))["access_token"]
    made = [issue(secret, *of, 60) for of in (("ann", ["orders"]), ("root", ["admin"]), ("order", ["service"]))]
    for one in made:
        refused = ask(shop, "GET", "/goods", token=one, service="goods")
        assert (refused.status, slug(refused)) == (401, "unauthenticated")
    assert ask(shop, "GET", "/goods", token=token, service="goods").status == 200
    with shop.settings("goods", hs256_tokens="true"):
        assert [ask(shop, "GET", "/goods", token=one, service="goods").status for one in made] == [200] * 3
        warned = shop.deployment.directory.log("goods").read_text()
        assert "tokens are taken that any service can make" in warned


def test_internal_calls_take_no_users_token_and_open_ones_no_services(shop: Shop) -> None:
    """Not even an admin's; and what a service is shown is good at that service alone."""
    name = f"admin-{os.getpid()}-{next(_numbers)}"
    orders(shop, "users", "add-admin", name, "--password-stdin", password=f"{PASSWORD}\n")
    admin = logged_in(shop, name)["access_token"]
    key = OwnKey(shop.deployment.directory.keys.private("order"), "order")
    of_order = ServiceToken(ByKey(key), "order", "stock")()
    assert ask(shop, "GET", "/internal/readyz", token=of_order, service="stock").status == 200
    assert ask(shop, "GET", "/internal/readyz", token=of_order, service="goods").status == 401
    assert ask(shop, "PUT", "/stock/1", {"total": 0}, token=of_order, service="stock").status == 403
    assert ask(shop, "GET", "/orders", token=of_order, service="order").status == 401
    for service in NAMES:
        answer = ask(shop, "GET", "/internal/readyz", token=admin, service=service)
        assert (answer.status, slug(answer)) == (403, "forbidden"), service


def test_what_tokens_of_the_command_line_may_is_a_setting(shop: Shop) -> None:
    """All in development; what admins ask, as in production; nothing."""
    user, admin = shop.bearer(), shop.bearer("root", ("admin",))

    def answers(path: str) -> list[int]:
        return [shop.raw("order", "GET", path, headers=headers).status for headers in (user, admin)]

    assert (answers("/orders"), answers("/admin/orders")) == ([200, 200], [403, 200])
    with shop.settings("order", operator_tokens="admin"):
        assert (answers("/orders"), answers("/admin/orders")) == ([403, 200], [403, 200])
    with shop.settings("order", operator_tokens="none"):
        assert (answers("/orders"), answers("/admin/orders")) == ([401, 401], [401, 401])


def test_a_service_s_key_is_rotated_and_no_order_fails(shop: Shop) -> None:
    """Nothing is restarted; the old key goes by itself, at once where it was stolen."""
    client, goods_id = shop.user(), shop.goods(stock=100)
    for words in (("rotate", "order"), ("rotate", "order", "--withdraw"), ("rotate", "operator")):
        before = {line["kid"] for line in json.loads(orders(shop, "keys", "list", "--json"))}
        kid = orders(shop, "keys", *words).split()[-1].rstrip(".")
        for _ in range(5):
            placed(client, {goods_id: 1})
        listed = json.loads(orders(shop, "keys", "list", "--json"))
        assert kid not in before
        assert [line["kid"] for line in listed if line["owner"] == words[1] and line["ends_at"] is None] == [kid]
    placed(shop.user(), {goods_id: 1})


def test_receivers_are_forgotten_by_command_line(shop: Shop) -> None:
    """`orders forget USER`: the orders stay, without name, phone and address; again: nothing is left."""
    name = shop.name()
    user = shop.user(name)
    receiver = {"name": "Nemo", "phone": "1", "address": "Nowhere"}
    order = placed(user, {shop.goods(): 1}, receiver=receiver)
    assert order["receiver"] == receiver
    assert orders(shop, "forget", name) == "Erased the receivers of 1 orders and 0 order requests.\n"
    assert user.get("order", f"/orders/{order['order_id']}") == order | {"receiver": None}
    assert orders(shop, "forget", name) == "Erased the receivers of 0 orders and 0 order requests.\n"


def test_services_go_on_while_user_is_down(shop: Shop) -> None:
    """With the keys that they have; a token whose key they can't know is told to come again, or refused."""
    token = logged_in(shop, registered(shop))["access_token"]
    assert ask(shop, "GET", "/orders", token=token, service="order").status == 200
    supervisor = shop.deployment.supervisor
    client, goods_id = shop.user(), shop.goods()
    supervisor.hold("user")
    supervisor.kill("user", signal.SIGKILL)
    try:
        users = Client(shop.deployment.plan.urls, token)
        placed(users, {goods_id: 1})
        users.close()
        unknown = "eyJhbGciOiJFZERTQSIsImtpZCI6Im5vbmUifQ.e30.AAAA"
        assert ask(shop, "GET", "/orders", token=unknown, service="order").status in {401, 503}
        fresh = ask(shop, "GET", "/orders?limit=1", token=token, service="order")
        assert fresh.status == 200
        for service in ("order", "stock", "goods", "coupon"):  # in no order: services' own tokens need no user at all
            supervisor.restart(service)
        supervisor.wait_ready("order")
        placed(client, {goods_id: 1})
    finally:
        supervisor.release("user")
        supervisor.wait_ready()
