"""What every service refuses alike: who may call, what can be read, what exists; and what it says of itself."""

import json
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from typing import Any

import jsonschema_rs
import jwt
import pytest

from common import ed25519
from common.jwk import raw_of
from common.registry import NAMES, PARTICIPANTS
from ops.deployment import Deployment
from tests.contract.participants import wanted_of
from tests.e2e.shop import Raw, Shop, slug
from tests.stack import REAL

pytestmark = pytest.mark.e2e

# Every call of the contract: service, method, path, who may call it (empty: any valid token), a body that is valid.
_ITEMS = [{"goods_id": "1", "quantity": 1}]
_SALE = {
    "goods_id": "1", "quantity": 1, "unit_price": 1, "starts_at": "2026-01-01T00:00:00Z",
    "ends_at": "9998-01-01T00:00:00Z",
}  # fmt: skip
_SETTLED = {"orders": [{"order_id": "2", "tx_id": "1", "fate": "stands"}]}
_OWED = {"user_id": "ann", "amount": 1, "currency": "EUR", "expires_at": 1}
_WANTED: Mapping[str, dict[str, Any]] = {
    "stock": {"items": [{"goods_id": "2", "quantity": 1}]},
    "coupon": {"coupon_id": "2", "user_id": "ann", "goods_amount": 1, "currency": "EUR", "version": 1},
    "pay": _OWED,
    "flash": {"sale_id": "2", "purchase_id": "1", "user_id": "ann", "quantity": 1},
}
"""What an order may want of participants; of others, what their contract's test says."""


def _deduct(name: str) -> dict[str, Any]:
    return {"tx_id": "1", "orders": [{"order_id": "1", **(_WANTED.get(name) or wanted_of(name))}]}


_ASKED_FOR = {
    "attempt_id": "1", "payment_id": "1", "amount": 1, "currency": "EUR", "callback_url": "http://127.0.0.1:9",
    "expires_at": "2026-01-01T00:00:00Z", "scenario": "never",
}  # fmt: skip
_OWN = frozenset({"orders", "admin", "service"})
_MERCHANT = frozenset({"service", "admin"})
CALLS: tuple[tuple[str, str, str, frozenset[str], Any], ...] = (
    ("order", "POST", "/orders", frozenset({"orders"}), {"items": _ITEMS}),
    ("order", "GET", "/orders", frozenset({"orders", "admin"}), None),
    ("order", "GET", "/orders/1", frozenset({"orders", "admin"}), None),
    ("order", "GET", "/orders/1/timeline", frozenset({"orders", "admin"}), None),
    ("order", "POST", "/orders/1/pay", frozenset({"orders", "admin"}), None),
    ("order", "POST", "/orders/1/cancel", frozenset({"orders", "admin"}), None),
    ("order", "POST", "/orders/1/return", frozenset({"orders", "admin"}), {"reason": "broken"}),
    ("order", "GET", "/orders/1/return", frozenset({"orders", "admin"}), None),
    ("order", "GET", "/order-requests/1", frozenset({"orders", "admin"}), None),
    ("order", "POST", "/internal/order-requests/states", frozenset({"service"}), {"request_ids": ["1"]}),
    ("order", "POST", "/sweep", frozenset({"admin"}), None),
    ("order", "POST", "/sweep/full", frozenset({"admin"}), None),
    ("order", "GET", "/admin/orders", frozenset({"admin"}), None),
    ("order", "GET", "/admin/find?q=1", frozenset({"admin"}), None),
    ("order", "POST", "/admin/forget", frozenset({"admin"}), {"user_id": "nobody"}),
    ("order", "GET", "/admin/sagas", frozenset({"admin"}), None),
    ("order", "GET", "/admin/sagas/1", frozenset({"admin"}), None),
    ("order", "POST", "/admin/sagas/1/retry", frozenset({"admin"}), None),
    ("order", "POST", "/admin/sagas/1/give-up", frozenset({"admin"}), {"why": "settled by hand"}),
    ("order", "POST", "/admin/sagas/1/skip", frozenset({"admin"}), {"step": "refund", "why": "settled by hand"}),
    ("order", "GET", "/admin/records?tx_ids=1", frozenset({"admin"}), None),
    ("order", "POST", "/admin/records/1/check", frozenset({"admin"}), None),
    ("pay", "GET", "/admin/records?tx_ids=1", frozenset({"admin"}), None),
    ("pay", "POST", "/admin/records/1/check", frozenset({"admin"}), None),
    ("stock", "GET", "/stock/1", frozenset(), None),
    ("stock", "PUT", "/stock/1", frozenset({"admin"}), {"total": 0}),
    ("stock", "POST", "/stock/1/restock", frozenset({"admin"}), {"quantity": 1}),
    ("stock", "POST", "/stock/1/withdraw", frozenset({"admin"}), {"quantity": 1}),
    ("stock", "GET", "/internal/allotments/1", frozenset({"service"}), None),
    (
        "stock",
        "PUT",
        "/internal/allotments/1",
        frozenset({"service"}),
        {"goods_id": "1", "quantity": 0, "version": 1},
    ),
    ("goods", "GET", "/goods", frozenset(), None),
    ("goods", "GET", "/goods/1", frozenset(), None),
    ("goods", "POST", "/goods", frozenset({"admin"}), {"name": "Tea", "unit_price": 1, "currency": "EUR"}),
    ("goods", "PATCH", "/goods/1", frozenset({"admin"}), {}),
    ("goods", "POST", "/goods/lookup", frozenset({"service"}), {"goods_ids": ["1"]}),
    ("goods", "GET", "/rooms/1/goods", frozenset(), None),
    ("goods", "PUT", "/rooms/1/goods", frozenset({"admin"}), {"goods_ids": []}),
    ("coupon", "GET", "/coupons", frozenset(), None),
    ("coupon", "GET", "/coupons/1", frozenset(), None),
    ("coupon", "GET", "/coupons/by-code/1", frozenset(), None),
    ("coupon", "POST", "/coupons", frozenset({"admin"}), {"kind": "percent", "value": 10, "uses": 1}),
    ("coupon", "POST", "/coupons/1/withdraw", frozenset({"admin"}), None),
    ("coupon", "POST", "/coupons/lookup", frozenset({"service"}), {"coupon_ids": ["1"]}),
    ("pay", "GET", "/payments/1", _OWN, None),
    ("pay", "GET", "/payments?order_id=1", _OWN, None),
    ("pay", "POST", "/payments/1/refund", frozenset({"admin"}), {"reason": "broken"}),
    (
        "pay",
        "POST",
        "/payments/1/attempts",
        frozenset({"service"}),
        {"provider": "nobody", "scenario": None, "tx_id": "1", **_OWED},
    ),
    ("pay", "POST", "/payments/ask", frozenset({"service"}), {"order_ids": ["1"]}),
    ("pay", "POST", "/payments/lookup", frozenset({"service"}), {"order_ids": ["1"]}),
    ("flash", "GET", "/flash-sales", frozenset(), None),
    ("flash", "GET", "/flash-sales/1", frozenset(), None),
    ("flash", "POST", "/flash-sales", frozenset({"admin"}), _SALE),
    ("flash", "POST", "/flash-sales/1/close", frozenset({"admin"}), None),
    ("flash", "POST", "/flash-sales/1/orders", frozenset({"orders"}), None),
    ("flash", "POST", "/flash-sales/1/tickets", frozenset({"orders"}), None),
    ("flash", "GET", "/internal/purchases/1", frozenset({"service"}), None),
    ("flash", "GET", "/admin/purchases/1", frozenset({"admin"}), None),
    ("flash", "GET", "/admin/sales/1", frozenset({"admin"}), None),
    ("sandbox", "POST", "/sessions", _MERCHANT, _ASKED_FOR),
    ("sandbox", "GET", "/sessions/1", _MERCHANT, None),
    ("sandbox", "POST", "/sessions/1/close", _MERCHANT, None),
    ("sandbox", "POST", "/charges/1/refunds", _MERCHANT, {"key": "1", "amount": 1, "currency": "EUR"}),
    ("sandbox", "GET", "/ledger", _MERCHANT, None),
    ("sandbox", "GET", "/faults", _MERCHANT, None),
    ("sandbox", "PUT", "/faults", frozenset({"admin"}), {}),
    *(
        call
        for name in NAMES
        for call in (
            (name, "GET", "/internal/readyz", frozenset({"service"}), None),
            (name, "GET", "/metrics", frozenset[str](), None),
        )
    ),
    ("user", "GET", "/users/me", frozenset(), None),
    ("user", "POST", "/users/me/password", frozenset(), {"password": "x", "new_password": "y" * 10}),
    ("user", "POST", "/users/me/delete", frozenset(), {"password": "x"}),
    ("user", "DELETE", "/tokens/current", frozenset(), None),
    *(
        call
        for name in PARTICIPANTS
        for call in (
            (name, "POST", "/reservations", frozenset({"service"}), _deduct(name)),
            (name, "GET", "/reservations?older_than=0", frozenset({"service", "admin"}), None),
            (name, "GET", "/reservations/1", frozenset({"service", "admin"}), None),
            (name, "POST", "/reservations/settle", frozenset({"service"}), _SETTLED),
            (name, "POST", "/reservations/states", frozenset({"service", "admin"}), {"order_ids": ["1"]}),
        )
    ),
)
OPEN_CALLS: tuple[tuple[str, str, str, frozenset[str], Any], ...] = (
    ("user", "POST", "/users", frozenset(), {"name": "nobody", "password": "y" * 10}),
    ("user", "POST", "/tokens", frozenset(), {"name": "nobody", "password": "y" * 10}),
    ("user", "POST", "/tokens/refresh", frozenset(), {"refresh_token": "x"}),
)
"""Calls that need no token."""
BODIES = tuple(call for call in (*CALLS, *OPEN_CALLS) if call[4] is not None)
LARGEST = {("order", "POST", "/internal/order-requests/states"): 512 * 1024} | {
    (name, "POST", path): 512 * 1024
    for name in PARTICIPANTS
    for path in ("/reservations", "/reservations/settle", "/reservations/states")
}
"""Bytes that calls of our own services take: a whole batch of orders."""
OPEN = tuple((service, path) for service in NAMES for path in ("/healthz", "/readyz", "/openapi.json", "/docs"))


@pytest.fixture(scope="module", autouse=True)
def _tombstone(deployment: Deployment) -> None:
    """Have order 1, which calls here ask payments for, be one that never was."""
    with deployment.client("order", ["service"]) as client:
        client.post("pay", "/reservations/settle", {"orders": [{"order_id": "1", "tx_id": "1", "fate": "void"}]})


def named(calls: Any) -> Any:
    return [pytest.param(*call, id=" ".join(call[:3])) for call in calls]


def tokens(shop: Shop) -> Mapping[str, str | None]:
    """Return Authorization headers that prove nothing."""
    secret = shop.deployment.directory.secret()
    document = json.loads(shop.deployment.directory.keys.private("operator").read_text())
    claims = {
        "iss": "orders/process/operator",
        "sub": "eve",
        "scope": "orders admin service",
        "aud": "orders",
        "exp": int(time.time()) + 60,
    }

    def signed(key: bytes = raw_of(document["d"]), **changed: Any) -> str:
        told = {k: v for k, v in (claims | changed).items() if v is not None}
        return "Bearer " + ed25519.sign(told, key, document["kid"])

    def by_secret(key: str, algorithm: str) -> str:
        return "Bearer " + jwt.encode(claims, key, algorithm=algorithm, headers={"kid": document["kid"]})

    good = signed()
    head, body, signature = good.split(".")
    return {
        "no token": None,
        "empty": "",
        "no scheme": good.removeprefix("Bearer "),
        "basic": "Basic ZXZlOmV2ZQ==",
        "no jwt": "Bearer x",
        "expired": signed(exp=int(time.time()) - 1),
        "never expires": signed(exp=None),
        "alg none": by_secret("", "none"),
        "the shared secret": by_secret(secret, "HS256"),
        "the shared secret, another algorithm": by_secret(secret, "HS512"),
        "the public key as a secret": by_secret(document["x"], "HS256"),
        "another key": signed(b"x" * 32),
        "another issuer": signed(iss="orders/process/order"),
        "tampered": f"{head}.{body[:-4]}AAAA.{signature}",
        "cut": f"{head}.{body}.",
        "wrong audience": signed(aud="somebody"),
        "no audience": signed(aud=None),
        "no user": signed(sub=None),
        "empty user": signed(sub=""),
        "scope as list": signed(scope=["orders"]),
        "not yet valid": signed(nbf=int(time.time()) + 3600),
        "huge": good + "A" * 8192,
    }


def call(shop: Shop, service: str, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Raw:
    if body is None:
        return shop.raw(service, method, path, headers=headers)
    return shop.raw(
        service, method, path, body=json.dumps(body).encode(), headers={"Content-Type": "application/json", **headers}
    )


@pytest.mark.parametrize(("service", "method", "path", "_scopes", "body"), named(CALLS))
def test_no_call_gets_in_without_a_valid_token(
    shop: Shop, service: str, method: str, path: str, _scopes: frozenset[str], body: Any
) -> None:
    """Every call, every kind of token that proves nothing: 401 and WWW-Authenticate."""
    for kind, token in tokens(shop).items():
        answer = call(shop, service, method, path, body, {"Authorization": token} if token is not None else {})
        assert (answer.status, slug(answer)) == (401, "unauthenticated"), kind
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("service", "method", "path", "scopes", "body"), named(CALLS))
def test_every_call_needs_its_scope(
    shop: Shop, service: str, method: str, path: str, scopes: frozenset[str], body: Any
) -> None:
    """Every call with each scope alone, and with none: 403 exactly where the contract asks for another one."""
    for held in ((), ("orders",), ("admin",), ("service",)):
        answer = call(shop, service, method, path, body, shop.bearer(scopes=held))
        if not scopes or scopes & set(held):
            assert answer.status not in {401, 403}, held
            assert answer.status < 500, held
        else:
            assert (answer.status, slug(answer)) == (403, "forbidden"), held


@pytest.mark.parametrize(("service", "path"), OPEN)
def test_health_and_documents_need_no_token(shop: Shop, service: str, path: str) -> None:
    """Health, readiness, OpenAPI and docs are for all callers."""
    assert shop.raw(service, "GET", path).status == 200


def test_the_table_of_calls_is_the_documented_one(shop: Shop) -> None:
    """The calls tested here are all that the services document, with the scopes that they document."""
    documented = set()
    for service in NAMES:
        for path, operations in shop.raw(service, "GET", "/openapi.json").json["paths"].items():
            for method, operation in operations.items():
                if operation["security"]:
                    scopes = frozenset(scope for way in operation["security"] for scope in way["token"])
                    documented.add((service, method.upper(), re.sub(r"\{[a-z_]+\}", "1", path), scopes))
    assert documented == {(s, m, p.partition("?")[0], scopes) for s, m, p, scopes, _ in CALLS}


@pytest.mark.parametrize("service", NAMES)
@pytest.mark.parametrize("path", ["/", "/nothing", "/orders/", "/goods/", "/orders/1/x", "/docs/x"])
def test_unknown_paths_are_problems(shop: Shop, service: str, path: str) -> None:
    """404 in the same form, also without a token; its instance is the path."""
    answer = shop.raw(service, "GET", path)
    assert (answer.status, slug(answer)) == (404, "not-found")


@pytest.mark.parametrize(("service", "method", "path", "_scopes", "_body"), named(CALLS))
def test_wrong_methods_are_problems_that_name_the_right_ones(
    shop: Shop, service: str, method: str, path: str, _scopes: frozenset[str], _body: Any
) -> None:
    """405 with Allow, for every path."""
    for wrong in {"DELETE", "OPTIONS", "TRACE", "PROPFIND"} - {method}:
        answer = shop.raw(service, wrong, path)
        assert (answer.status, slug(answer)) == (405, "method-not-allowed")
        assert method in answer.headers["allow"].split(", ")


@pytest.mark.parametrize(("service", "method", "path"), [c[:3] for c in CALLS if c[1] == "GET"])
def test_head_is_answered_like_get(shop: Shop, service: str, method: str, path: str) -> None:
    """HEAD: the status of GET, no body."""
    headers = shop.bearer(scopes=("orders", "admin", "service"))
    head, get = (shop.raw(service, m, path, headers=headers) for m in ("HEAD", method))
    assert (head.status, head.data) == (get.status, b"")


@pytest.mark.parametrize("service", NAMES)
def test_a_sane_request_id_is_echoed(shop: Shop, service: str) -> None:
    """X-Request-Id comes back on every answer; one that is not sane is replaced by a new one."""
    for path in ("/healthz", "/nothing"):
        sane = shop.raw(service, "GET", path, headers={"X-Request-Id": "my-id_1.2"})
        assert sane.headers["x-request-id"] == "my-id_1.2"
        seen = {shop.raw(service, "GET", path).headers["x-request-id"] for _ in range(3)}
        for bad in ("a b", "x" * 65, "<script>", "a\tb"):
            seen.add(shop.raw(service, "GET", path, headers={"X-Request-Id": bad}).headers["x-request-id"])
        assert len(seen) == 7
        assert all(re.fullmatch("[0-9a-f]{32}", request_id) for request_id in seen)


_UNREADABLE: tuple[tuple[str, bytes], ...] = (
    ("nothing", b""),
    ("blanks", b"  "),
    ("half an object", b'{"items": ['),
    ("two objects", b"{} {}"),
    ("a trailing comma", b'{"a": 1,}'),
    ("single quotes", b"{'a': 1}"),
    ("no utf-8", b'{"a": "\xff"}'),
    ("utf-16", '{"a": 1}'.encode("utf-16")),
    ("a byte order mark", b"\xef\xbb\xbf{}"),
    ("the same key twice", b'{"items": [], "items": []}'),
    ("NaN", b'{"a": NaN}'),
    ("Infinity", b'{"a": -Infinity}'),
    ("a lone surrogate", b'{"a": "\\ud800"}'),
    ("a lone surrogate as key", b'{"\\udc00": 1}'),
    ("deep nesting", b"[" * 10_000 + b"]" * 10_000),
    ("deep objects", b'{"a":' * 5_000 + b"1" + b"}" * 5_000),
    ("an integer of 30,000 digits", b'{"a": ' + b"9" * 30_000 + b"}"),
    ("a control character", b'{"a": "\x01"}'),
)


@pytest.mark.parametrize(("service", "method", "path", "scopes", "_body"), named(BODIES))
def test_what_is_no_json_is_malformed(
    shop: Shop, service: str, method: str, path: str, scopes: frozenset[str], _body: Any
) -> None:
    """Every call with a body: 400 for what is no JSON of the Internet (RFC 7493)."""
    headers = shop.bearer(scopes=tuple(scopes)) | {"Content-Type": "application/json"}
    for what, raw in _UNREADABLE:
        answer = shop.raw(service, method, path, body=raw, headers=headers)
        assert (answer.status, slug(answer)) == (400, "malformed"), what


@pytest.mark.parametrize(("service", "method", "path", "scopes", "body"), named(BODIES))
def test_unknown_fields_are_refused(
    shop: Shop, service: str, method: str, path: str, scopes: frozenset[str], body: Any
) -> None:
    """Every call with a body: 422 for a field that it does not know, pointing at it."""
    answer = call(shop, service, method, path, body | {"surprise": 1}, shop.bearer(scopes=tuple(scopes)))
    assert (answer.status, slug(answer)) == (422, "invalid")
    assert {"/surprise"} == {error["pointer"] for error in answer.json["errors"]}


@pytest.mark.parametrize(("service", "method", "path", "scopes", "body"), named(CALLS))
def test_unknown_parameters_are_refused(
    shop: Shop, service: str, method: str, path: str, scopes: frozenset[str], body: Any
) -> None:
    """Every call but the metrics: 422 for a query parameter that it does not know."""
    if path == "/metrics":
        return
    path += "&surprise=1" if "?" in path else "?surprise=1"
    answer = call(shop, service, method, path, body, shop.bearer(scopes=tuple(scopes)))
    assert (answer.status, slug(answer)) == (422, "invalid")


@pytest.mark.parametrize(("service", "method", "path", "scopes", "body"), named(BODIES))
def test_nul_is_refused(shop: Shop, service: str, method: str, path: str, scopes: frozenset[str], body: Any) -> None:
    """Every call with a body: 422 for a string with NUL in it."""
    answer = call(shop, service, method, path, body | {"surprise": "a\u0000b"}, shop.bearer(scopes=tuple(scopes)))
    assert (answer.status, slug(answer)) == (422, "invalid")


_NOT_JSON = (
    None,
    "",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/jsonp",
    "application/json; charset=latin-1",
    "application/merge-patch+json",
)


@pytest.mark.parametrize(("service", "method", "path", "scopes", "body"), named(BODIES))
def test_bodies_of_other_types_are_refused(
    shop: Shop, service: str, method: str, path: str, scopes: frozenset[str], body: Any
) -> None:
    """Every call with a body: 415 for anything but application/json in UTF-8, and for a content encoding."""
    raw, bearer = json.dumps(body).encode(), shop.bearer(scopes=tuple(scopes))
    for kind in _NOT_JSON:
        headers = bearer | ({"Content-Type": kind} if kind is not None else {})
        answer = shop.raw(service, method, path, body=raw, headers=headers)
        assert (answer.status, slug(answer)) == (415, "unsupported-media-type"), kind
    headers = bearer | {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert shop.raw(service, method, path, body=raw, headers=headers).status == 415


def test_json_may_say_that_it_is_utf_8(shop: Shop) -> None:
    """application/json; charset=utf-8 is what it is anyway."""
    headers = shop.bearer(scopes=("admin",)) | {"Content-Type": "Application/JSON; charset=UTF-8"}
    body = '{"name": "Th\u00e9", "unit_price": 1, "currency": "EUR"}'.encode()
    answer = shop.raw("goods", "POST", "/goods", body=body, headers=headers)
    assert (answer.status, answer.json["name"]) == (201, "Th\u00e9")


@pytest.mark.parametrize(("service", "method", "path", "scopes", "_body"), named(BODIES))
def test_large_bodies_are_refused(
    shop: Shop, service: str, method: str, path: str, scopes: frozenset[str], _body: Any
) -> None:
    """Every call with a body: 413 beyond what it takes, whether its length is told or it comes in chunks."""
    headers = shop.bearer(scopes=tuple(scopes)) | {"Content-Type": "application/json"}
    largest = LARGEST.get((service, method, path), 64 * 1024)
    large = b'{"a": "' + b"x" * largest + b'"}'

    def chunks() -> Iterator[bytes]:
        yield from (large[i : i + 8192] for i in range(0, len(large), 8192))

    for body in (large, chunks()):
        answer = shop.raw(service, method, path, body=body, headers=headers)
        assert (answer.status, slug(answer)) == (413, "too-large")


def test_chunked_bodies_are_read(shop: Shop) -> None:
    """A body in chunks that is small enough is as good as one whose length is told."""
    headers = shop.bearer(scopes=("admin",)) | {"Content-Type": "application/json"}
    parts = iter([b'{"name": "Tea", ', b'"unit_price": 1, ', b'"currency": "EUR"}'])
    assert shop.raw("goods", "POST", "/goods", body=parts, headers=headers).status == 201


@pytest.mark.parametrize(
    "head",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: a\r\n\r\n",
        b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /orders/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"GET /orders HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 5_000 + b"\r\n",
        b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"GET /orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\x00b\r\n\r\n",
        b"GET /orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
        b"GET /orders HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\r\n b\r\n\r\n",
    ],
    ids=[
        *("nonsense", "length", "smuggling", "long path", "long header", "raw path", "odd path", "cut body"),
        *("many headers", "two lengths", "NUL in a header", "two tokens", "folded header"),
    ],
)
def test_what_is_hardly_http_gets_no_server_error(shop: Shop, head: bytes) -> None:
    """Requests that break HTTP get a 4xx or a closed connection; never a 5xx, a traceback or a dead server."""
    with closing(socket.create_connection(("127.0.0.1", shop.deployment.plan.ports["order"]), timeout=10)) as wire:
        answer = b""
        with suppress(OSError):  # cut off in the middle
            wire.sendall(head)
            wire.shutdown(socket.SHUT_WR)
            while part := wire.recv(65536):
                answer += part
    assert re.match(rb"(HTTP/1\.[01] 4\d\d|$)", answer), answer[:200]
    assert b"Traceback" not in answer
    assert shop.raw("order", "GET", "/healthz").status == 200


def test_errors_tell_nothing_of_the_inside(shop: Shop) -> None:
    """No problem names a file, a table, an exception or a line of code."""
    user = shop.user()
    answers = [
        user.ask("order", "GET", "/orders?cursor=AAAAAAAAAAAAAAAAAAAAAA"),
        user.ask("order", "POST", "/orders", json_body={"items": [{"goods_id": "' OR 1=1 --", "quantity": 1}]}),
        user.ask("order", "GET", "/orders/1'--"),
        user.ask("order", "GET", "/..%2f..%2fetc%2fpasswd"),
        shop.admin.ask("goods", "PATCH", "/goods/1", json_body={"name": "\\'; DROP TABLE goods; --"}),
    ]
    for answer in answers:
        assert 400 <= answer.status < 500
        told = json.dumps({k: v for k, v in answer.body.items() if k != "instance"}).lower()
        assert not re.search(r"traceback|sqlite|select |insert |\.py|sqlalchemy|pydantic|/home|/work|/tmp", told)


# What shared contract says each call may answer with, besides 401 and 405, 500 and 503, which every call may.
_PROMISED = {
    ("order", "post", "/orders"): {201, 400, 403, 409, 413, 415, 422, 429},
    ("order", "get", "/orders/{order_id}"): {200, 403, 404},
    ("order", "get", "/orders"): {200, 403, 422},
    ("order", "post", "/orders/{order_id}/pay"): {200, 202, 402, 403, 404, 409, 422},
    ("order", "post", "/orders/{order_id}/cancel"): {200, 403, 404, 409},
    ("order", "get", "/orders/{order_id}/timeline"): {200, 403, 404},
    ("order", "get", "/order-requests/{request_id}"): {200, 403, 404, 429},
    ("stock", "get", "/stock/{goods_id}"): {200, 404},
    ("stock", "put", "/stock/{goods_id}"): {200, 400, 403, 404, 409, 413, 415, 422},
    ("stock", "post", "/stock/{goods_id}/restock"): {200, 400, 403, 404, 413, 415, 422},
    ("stock", "post", "/stock/{goods_id}/withdraw"): {200, 400, 403, 404, 409, 413, 415, 422},
    ("stock", "post", "/reservations"): {200, 400, 403, 413, 415, 422},
    ("stock", "get", "/reservations/{order_id}"): {200, 403, 404},
    ("goods", "get", "/goods"): {200, 422},
    ("goods", "get", "/goods/{goods_id}"): {200, 404},
    ("goods", "post", "/goods"): {201, 400, 403, 413, 415, 422},
    ("goods", "patch", "/goods/{goods_id}"): {200, 400, 403, 404, 413, 415, 422},
    ("goods", "get", "/rooms/{room_id}/goods"): {200, 404},
    ("goods", "put", "/rooms/{room_id}/goods"): {200, 400, 403, 404, 413, 415, 422},
    ("coupon", "get", "/coupons"): {200, 422},
    ("coupon", "get", "/coupons/{coupon_id}"): {200, 404},
    ("coupon", "get", "/coupons/by-code/{code}"): {200, 404},
    ("coupon", "post", "/coupons"): {201, 400, 403, 409, 413, 415, 422},
    ("coupon", "post", "/coupons/{coupon_id}/withdraw"): {200, 403, 404},
    ("pay", "get", "/payments/{payment_id}"): {200, 403, 404},
    ("pay", "get", "/payments"): {200, 403, 422},
    ("pay", "post", "/payments/{payment_id}/refund"): {202, 400, 403, 404, 409, 413, 415, 422},
    ("pay", "post", "/reservations"): {200, 400, 403, 413, 415, 422},
    ("pay", "get", "/reservations/{order_id}"): {200, 403, 404},
    ("user", "post", "/users"): {201, 400, 409, 413, 415, 422, 429},
    ("user", "post", "/tokens"): {200, 400, 401, 413, 415, 422, 429},
    ("user", "post", "/tokens/refresh"): {200, 400, 401, 413, 415, 422, 429},
    ("user", "delete", "/tokens/current"): {200, 404},
    ("user", "get", "/users/me"): {200, 404},
    ("user", "post", "/users/me/password"): {200, 400, 403, 404, 413, 415, 422, 429},
    ("user", "post", "/users/me/delete"): {200, 400, 403, 404, 413, 415, 422, 429},
    ("coupon", "post", "/reservations"): {200, 400, 403, 413, 415, 422},
    ("coupon", "get", "/reservations/{order_id}"): {200, 403, 404},
}
_SLUGS = {
    ("order", "post", "/orders"): {
        "malformed",
        "unauthenticated",
        "forbidden",
        "insufficient-stock",
        "too-large",
        "unsupported-media-type",
        "invalid",
        "unknown-goods",
        "idempotency-mismatch",
        "too-many-requests",
        "unavailable",
        "outcome-unknown",
    },
    ("order", "post", "/orders/{order_id}/pay"): {
        *("order-closed", "not-found", "payment-refused", "unknown-provider", "unavailable", "outcome-unknown")
    },
    ("order", "post", "/orders/{order_id}/cancel"): {"order-paid", "not-found"},
    ("stock", "put", "/stock/{goods_id}"): {"below-reserved"},
    ("goods", "put", "/rooms/{room_id}/goods"): {"unknown-goods"},
    ("user", "post", "/users"): {"name-taken", "breached-password", "too-many-requests"},
    ("user", "post", "/users/me/password"): {"wrong-password", "breached-password"},
    ("coupon", "post", "/coupons"): {"code-taken", "idempotency-mismatch"},
}


@pytest.mark.parametrize("service", NAMES)
def test_the_openapi_document_is_valid_and_complete(shop: Shop, service: str) -> None:
    """GET /openapi.json: OpenAPI 3.1, its schemas are JSON Schema 2020-12, and every status and slug is in it."""
    answer = shop.raw(service, "GET", "/openapi.json")
    document = answer.json
    assert answer.headers["content-type"] == "application/json"
    assert document["openapi"].startswith("3.1.")
    assert {"healthz", "readyz", "metrics", "openapi.json", "docs"} <= {path[1:] for path in document["paths"]}
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)
    references = set(re.findall(r'"\$ref":\s*"#/components/([^"]+)"', answer.data.decode()))
    for reference in references:
        kind, name = reference.split("/")
        assert name in document["components"][kind]
    for (of, method, path), statuses in _PROMISED.items():
        if of == service:
            responses = document["paths"][path][method]["responses"]
            needs_token = set() if (of, method) == ("user", "post") and path == "/users" else {401}
            assert statuses | needs_token | {405, 503} <= set(map(int, responses)), (method, path)
    for (of, method, path), slugs in _SLUGS.items():
        if of == service:
            told = json.dumps(document["paths"][path][method]["responses"])
            assert slugs <= set(re.findall(r"/problems/([a-z-]+)", told)), (method, path)


@pytest.mark.parametrize("service", NAMES)
def test_the_docs_need_no_internet(shop: Shop, service: str) -> None:
    """GET /docs: a page whose every resource comes from this service, and whose policy allows no other."""
    page = shop.raw(service, "GET", "/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    resources = [link for link in re.findall(r'(?:src|href)="([^"]+)"', page.data.decode()) if "data:" not in link]
    assert resources
    for link in resources:
        assert link.startswith("/docs/")
        assert shop.raw(service, "GET", link).status == 200


_OF_THE_BROKER = (  # which RocketMQ's client can't ask for
    "orders_half_messages_unresolved",
    "orders_half_message_oldest_seconds",
    "orders_half_messages_parked",
    "orders_dead_letters",
    "orders_messages_pending",
)
_METRICS = {
    "order": {
        "orders_placed_total",
        "orders_step_seconds",
        "orders_check_backs_total",
        "orders_sweep_findings_total",
        "orders_timeouts_total",
        "orders_payments_total",
        "orders_request_messages_total",
        "orders_purchase_messages_total",
        "orders_requests_decided_total",
        "orders_requests_queued",
        "orders_request_oldest_seconds",
        *([] if REAL else _OF_THE_BROKER),
    },
    "flash": {
        "orders_purchases_total",
        "orders_batch_buyers_bucket",
        "orders_step_seconds",
        "orders_check_backs_total",
        "orders_sale_findings_total",
    },
    "pay": {
        "orders_money_taken_total",
        "orders_money_refunded_total",
        "orders_callbacks_total",
        "orders_polls_total",
        "orders_refund_oldest_seconds",
    },
}
"""What some services count of their own; participants count rollbacks."""


@pytest.mark.parametrize("service", NAMES)
def test_metrics_are_there(shop: Shop, service: str) -> None:
    """GET /metrics: Prometheus text with what an operator watches."""
    answer = shop.raw(service, "GET", "/metrics", headers=shop.bearer())
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    told = answer.data.decode()
    names = set(re.findall(r"^(?:# TYPE )?([a-z_]+)", told, re.MULTILINE))
    common = {"orders_http_requests_total", "orders_http_requests_in_flight", "orders_http_request_seconds_bucket"}
    of_participants = {"orders_rollbacks_total"} if service in PARTICIPANTS else set()
    assert not (common | of_participants | _METRICS.get(service, set())) - names


@pytest.mark.parametrize("service", NAMES)
def test_readiness_names_what_it_checked(shop: Shop, service: str) -> None:
    """GET /readyz: the database, the broker, the peers and discovery, each with its result."""
    checks = shop.raw(service, "GET", "/readyz").json["checks"]
    expected = {"database", "discovery"} | ({"broker"} if service in PARTICIPANTS else set())
    more = {
        "order": {"ids", "broker", "goods", *PARTICIPANTS},
        "goods": {"ids"},
        "coupon": {"ids"},
        "pay": {"ids"},
        "flash": {"ids", "pieces"},
        "sandbox": {"ids"},
        "user": {"ids", "keys"},
    }
    assert checks == dict.fromkeys(expected | more.get(service, set()), "ok")
