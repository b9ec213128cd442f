"""The contract that every route keeps, whatever the service: tested on an API of two toy routes."""

import io
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask.testing import FlaskClient
from jsonschema_rs import validator_for
from pydantic import BaseModel
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from werkzeug.datastructures import Headers
from werkzeug.test import TestResponse

from common.auth import Verifier, issue
from common.our_tokens import BySecret, ServiceToken
from common.paging import PageQuery, decode_cursor
from common.schema import Currency, Id, Line, Money, Quantity, Schema
from common.telemetry import Metrics
from common.web import Api, ProblemWith, Reply, current_identity
from common.web.gate import Gate
from halfmessage.errors import Conflict, DatabaseUnavailable, DuplicateRow, Unavailable

SECRET = "s" * 32
PUBLIC = ("/healthz", "/readyz", "/openapi.json", "/docs", "/docs/swagger-ui.css")
TOKEN = issue(SECRET, "alice", ["orders"], 86_400)
AUTH = {"Authorization": f"Bearer {TOKEN}"}
GOOD = {"goods_id": "12", "quantity": 2}


class Part(Schema):
    size: Quantity


class Body(Schema):
    goods_id: Id
    quantity: Quantity
    name: Line = ""
    parts: tuple[Part, ...] = ()


class Out(Schema):
    thing_id: Id
    owner: str
    key: str | None = None
    price: Money = 5
    currency: Currency = "CNY"


class Short(BaseModel):
    items: tuple[str, ...]


def break_down() -> None:
    raise DatabaseUnavailable


@pytest.fixture
def api() -> Api:
    api = Api(
        "toy",
        title="Toy",
        description="Two routes.",
        max_body=2048,
        verifier=Verifier(SECRET),
        metrics=Metrics("toy"),
        checks={"database": lambda: None},
    )

    @api.post(
        "/things/{thing_id}/parts",
        scopes=("orders",),
        body=Body,
        returns={201: Out},
        errors=[ProblemWith(Conflict, Short)],
        idempotent=True,
    )
    def add_part(thing_id: int, body: Body, idempotency_key: str | None) -> Reply:
        """Add a part.

        Whatever that means.
        """
        if body.name == "conflict":
            raise Conflict(items=["12"])
        if body.name == "bug":
            raise KeyError("SELECT secret FROM /etc/passwd")
        if body.name == "row":
            raise DuplicateRow("goods.name")
        if body.name == "down":
            raise Unavailable
        out = Out(thing_id=thing_id, owner=current_identity().user_id, key=idempotency_key)
        return Reply(out, 201, {"Location": "/things/1"})

    @api.get("/things", query=PageQuery, returns={200: Out})
    def list_things(query: PageQuery) -> Reply:
        """List them."""
        if query.cursor is not None:
            decode_cursor(query.cursor)
        return Reply(Out(thing_id=query.limit, owner="x"))

    @api.post("/limited", returns={200: Out}, rate_limit="2/hour")
    def limited() -> Reply:
        """Take two an hour."""
        return Reply(Out(thing_id=1, owner="x"))

    return api


@pytest.fixture
def client(api: Api) -> Iterator[FlaskClient]:
    with api.app.test_client() as client:
        yield client


def post(client: FlaskClient, data: Any = None, path: str = "/things/7/parts", **options: Any) -> TestResponse:
    raw = data if isinstance(data, bytes) else json.dumps(GOOD if data is None else data).encode()
    options = {"headers": AUTH, "content_type": "application/json"} | options
    return client.post(path, data=raw, **options)


def assert_problem(response: TestResponse, status: int, slug: str, *pointers: str) -> dict[str, Any]:
    assert (response.status_code, response.content_type) == (status, "application/problem+json")
    problem: dict[str, Any] = response.get_json()
    assert problem["type"] == f"/problems/{slug}"
    assert problem["status"] == status
    assert problem["instance"] == response.request.path
    assert problem["request_id"] == response.headers["X-Request-Id"]
    assert problem["title"]
    assert problem["detail"]
    if pointers:
        assert [error["pointer"] for error in problem["errors"]] == list(pointers)
    return problem


def test_a_good_request_reaches_its_view_parsed(client: FlaskClient) -> None:
    """Ids arrive as integers, the caller and the idempotency key are known, the answer is JSON."""
    response = post(client, headers=AUTH | {"Idempotency-Key": "k-1"})
    assert response.status_code == 201
    assert response.headers["Location"] == "/things/1"
    assert response.get_json() == {
        "thing_id": "7",
        "owner": "alice",
        "key": "k-1",
        "price": 5,
        "currency": "CNY",
    }


def test_a_string_without_an_end_is_looked_at_once(client: FlaskClient) -> None:
    """All that follows its first quote is it: no bracket in it counts, and no other quote begins the search anew."""
    problem = assert_problem(post(client, b'"' + b'\\"' * 900 + b"[" * 33), 400, "malformed")
    assert problem["detail"].startswith("The body is not JSON: Unterminated string")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/things/7/parts", "POST"),
        ("OPTIONS", "/things", "GET, HEAD"),
        ("TRACE", "/things", "GET, HEAD"),
        ("DELETE", "/healthz", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_405_with_allow(client: FlaskClient, method: str, path: str, allow: str) -> None:
    """A method that a path does not know needs no token to be told so, and learns which it knows."""
    response = client.open(path, method=method)
    assert_problem(response, 405, "method-not-allowed")
    assert response.headers["Allow"] == allow


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("post", "/limited", "POST"), ("Get", "/things", "GET, HEAD"), ("head", "/healthz", "GET, HEAD")],
)
def test_a_method_in_small_letters_is_none(client: FlaskClient, method: str, path: str, allow: str) -> None:
    """Methods are told apart by case (RFC 9110, 9.1): what refuses POST before a service is not passed by "post"."""
    response = client.open(path, headers=AUTH, environ_overrides={"REQUEST_METHOD": method})
    assert_problem(response, 405, "method-not-allowed")
    assert response.headers["Allow"] == allow


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/things/",
        "/things/0/parts",
        "/things/x/parts",
        "/things/01/parts",
        "/things/9223372036854775808/parts",
    ],
)
def test_an_unknown_path_is_404_without_redirect(client: FlaskClient, path: str) -> None:
    """Trailing slashes and ids that are none are unknown paths."""
    assert_problem(post(client, path=path), 404, "not-found")


def test_head_is_answered_like_get(client: FlaskClient) -> None:
    """HEAD has GET's status and headers, and no body (RFC 9110)."""
    response = client.head("/things", headers=AUTH)
    assert (response.status_code, response.content_type, response.data) == (200, "application/json", b"")


def test_no_token_is_401_before_the_body_is_looked_at(client: FlaskClient) -> None:
    """Who does not say who they are learns nothing about their request."""
    response = post(client, b"{", headers={})
    assert_problem(response, 401, "unauthenticated")
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("scopes", [(), ("admin",), ("orders",), ("service", "admin")])
def test_what_is_internal_is_for_services_alone(api: Api, scopes: tuple[str, ...]) -> None:
    """A route below /internal that a user's token could call is a mistake that shows at once."""
    with pytest.raises(ValueError, match="for services alone"):
        api.get("/internal/things", scopes=scopes, returns={200: Out})(lambda: Reply({}))


def test_a_token_without_the_scope_is_403(client: FlaskClient) -> None:
    """A route with scopes takes only tokens with one of them."""
    token = issue(SECRET, "alice", ["admin"], 60)
    assert_problem(post(client, b"{", headers={"Authorization": f"Bearer {token}"}), 403, "forbidden")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1,"a":2}',
        b'{"name":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        b'{"name":"\\ud800"}',
        b'{"\\udfff":1}',
        b"[" * 33 + b"]" * 33,
        b"[" * 2000,
        b'{"a":' + b"9" * 1900 + b",}",
        b'{"goods_id":"1","quantity":1} x',
    ],
)
def test_what_is_no_json_is_400(client: FlaskClient, raw: bytes) -> None:
    """Only JSON that every parser reads alike is taken (RFC 7493), and no deep nesting."""
    assert_problem(post(client, raw), 400, "malformed")


def test_an_absurdly_long_integer_is_refused_cheaply(api: Api) -> None:
    """Digits beyond Python's limit for converting them are malformed, not an internal error."""
    api.bodies._largest = 100_000
    with api.app.test_client() as client:
        assert_problem(post(client, b'{"quantity":' + b"9" * 5000 + b"}"), 400, "malformed")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"quantity": "2"}, "/quantity"),
        ({"quantity": True}, "/quantity"),
        ({"quantity": 1.0}, "/quantity"),
        ({"quantity": 1e400}, "/quantity"),
        ({"quantity": 0}, "/quantity"),
        ({"quantity": 1000}, "/quantity"),
        ({"quantity": None}, "/quantity"),
        ({"goods_id": 12}, "/goods_id"),
        ({"goods_id": "012"}, "/goods_id"),
        ({"goods_id": "+1"}, "/goods_id"),
        ({"goods_id": "0"}, "/goods_id"),
        ({"goods_id": "\u0661"}, "/goods_id"),
        ({"goods_id": "9223372036854775808"}, "/goods_id"),
        ({"name": "a\x00b"}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"parts": [{"size": 1}, {"size": 0}]}, "/parts/1/size"),
        ({"parts": {"0": 1}}, "/parts"),
        ({"user_id": "bob"}, "/user_id"),
        ({"a/b~c": 1}, "/a~1b~0c"),
    ],
)
def test_what_breaks_a_rule_is_422_with_a_pointer_to_it(
    client: FlaskClient, change: dict[str, Any], pointer: str
) -> None:
    """Types are exact, unknown fields are refused, and the JSON pointer names the place."""
    raw = json.dumps(GOOD | change).replace("Infinity", "1e400").encode()
    assert_problem(post(client, raw), 422, "invalid", pointer)


@pytest.mark.parametrize("raw", [b"[]", b"1", b"null", b'"x"'])
def test_a_body_that_is_no_object_is_422(client: FlaskClient, raw: bytes) -> None:
    """JSON, but no object: the pointer is that of the whole body."""
    assert_problem(post(client, raw), 422, "invalid", "")


@pytest.mark.parametrize(
    "options",
    [
        {"content_type": None},
        {"content_type": "text/plain"},
        {"content_type": "application/json; charset=latin-1"},
        {"headers": AUTH | {"Content-Encoding": "gzip"}},
    ],
)
def test_anything_but_plain_json_is_415(client: FlaskClient, options: dict[str, Any]) -> None:
    """The body has to be said to be JSON in UTF-8, uncompressed."""
    assert_problem(post(client, **options), 415, "unsupported-media-type")


def test_json_with_a_charset_is_taken(client: FlaskClient) -> None:
    """Many clients add the charset."""
    assert post(client, content_type="application/json; charset=UTF-8").status_code == 201


def test_a_large_body_is_413(client: FlaskClient) -> None:
    """By its Content-Length it is refused unread; without one as soon as it is too long."""
    large = json.dumps(GOOD | {"name": "x" * 3000}).encode()
    assert_problem(post(client, large), 413, "too-large")
    assert_problem(client.open(**chunked(large)), 413, "too-large")


class Untouchable(io.BytesIO):
    """A body that may not be read."""

    def read(self, _size: int | None = -1) -> bytes:
        raise AssertionError("read")


@pytest.mark.parametrize(
    ("status", "method", "path", "headers"),
    [
        (401, "POST", "/things/7/parts", {}),
        (403, "POST", "/things/7/parts", {"Authorization": f"Bearer {issue(SECRET, 'bob', [], 86_400)}"}),
        (404, "POST", "/nothing", AUTH),
        (405, "DELETE", "/things", AUTH),
        (413, "POST", "/things/7/parts", AUTH),
        (415, "POST", "/things/7/parts", AUTH | {"Content-Type": "text/plain"}),
        (422, "POST", "/things/7/parts?a=1", AUTH),
        (422, "GET", "/things", AUTH),
        (413, "POST", "/limited", AUTH),
        *((422, "GET", path, AUTH) for path in (*PUBLIC, "/metrics")),
    ],
)
def test_a_body_that_is_not_wanted_is_not_read(
    client: FlaskClient, status: int, method: str, path: str, headers: dict[str, str]
) -> None:
    """Its sender could hold up a thread; so the connection ends instead, and the answer says so."""
    told = {"Content-Type": "application/json"} | headers
    length = {"CONTENT_LENGTH": "9999" if status == 413 else "9"}
    answer = client.open(path, method=method, headers=told, input_stream=Untouchable(), environ_overrides=length)
    assert (answer.status_code, answer.headers.get("Connection")) == (status, "close")


def test_a_body_that_was_read_leaves_its_connection_open(client: FlaskClient) -> None:
    """Told in advance or in chunks."""
    assert "Connection" not in post(client).headers
    assert "Connection" not in client.open(**chunked(json.dumps(GOOD).encode())).headers


def test_a_body_that_ends_early_is_400(client: FlaskClient) -> None:
    """The client went away, or lied about the length."""
    environ = {"wsgi.input_terminated": True, "CONTENT_LENGTH": "999"}
    response = client.open(**chunked(json.dumps(GOOD).encode()) | {"environ_overrides": environ})
    assert_problem(response, 400, "malformed")


def test_a_chunked_body_is_read(client: FlaskClient) -> None:
    """A body needs no Content-Length."""
    assert client.open(**chunked(json.dumps(GOOD).encode())).status_code == 201


def chunked(raw: bytes) -> dict[str, Any]:
    """As the server hands over a chunked body: no length, and a stream that ends."""
    return {
        "path": "/things/7/parts",
        "method": "POST",
        "headers": AUTH,
        "content_type": "application/json",
        "input_stream": io.BytesIO(raw),
        "environ_overrides": {"wsgi.input_terminated": True},
    }


def test_a_number_of_too_many_digits_is_said_in_our_words(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python reads none of that many, and advises its own programmers."""
    monkeypatch.setattr("common.web.requests._MOST_DIGITS", 900)
    problem = assert_problem(post(client, b'{"name": %s}' % (b"9" * 901)), 400, "malformed")
    assert problem["detail"] == "The body is not JSON: a number has more than 900 digits."


@pytest.mark.parametrize(
    ("query", "pointers"),
    [
        ("limit=0", ["/limit"]),
        ("limit=101", ["/limit"]),
        ("limit=", ["/limit"]),
        ("limit=+5", ["/limit"]),
        ("limit=1_0", ["/limit"]),
        ("limit=5.0", ["/limit"]),
        ("limit=1&limit=1", ["/limit"]),
        ("page=2", ["/page"]),
        ("cursor=nonsense", ["/cursor"]),
        ("cursor=AAAAAAAAAAAAAAAA", ["/cursor"]),
        ("limit=%ff", [""]),
        ("&".join(f"a{i}=1" for i in range(40)), [""]),
    ],
)
def test_a_wrong_query_is_422(client: FlaskClient, query: str, pointers: list[str]) -> None:
    """Unknown, repeated and misspelt parameters are refused by name."""
    assert_problem(client.get(f"/things?{query}", headers=AUTH), 422, "invalid", *pointers)


def test_a_route_without_parameters_refuses_any(client: FlaskClient) -> None:
    """A parameter that would be ignored is a mistake worth telling."""
    assert_problem(post(client, path="/things/7/parts?dry_run=1"), 422, "invalid", "/dry_run")


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é"])
def test_a_wrong_idempotency_key_is_422(client: FlaskClient, key: str) -> None:
    """1 to 255 visible ASCII characters."""
    assert_problem(post(client, headers=AUTH | {"Idempotency-Key": key}), 422, "invalid", "/Idempotency-Key")


def test_an_idempotency_key_may_have_any_visible_character(client: FlaskClient) -> None:
    """All of them, the comma too."""
    key = "".join(chr(code) for code in range(0x21, 0x7F))
    response = post(client, headers=AUTH | {"Idempotency-Key": key})
    assert (response.status_code, response.get_json()["key"]) == (201, key)


@pytest.mark.parametrize("values", [("k", "k"), ("k", "l"), ("k,l",)])
@pytest.mark.parametrize("name", ["Authorization", "Host", "X-Request-Id"])
def test_a_header_that_comes_twice_is_400(client: FlaskClient, name: str, values: tuple[str, ...]) -> None:
    """What means one thing comes once, whatever the call: a proxy that doubles it must not make it something else."""
    headers = Headers({} if name == "Authorization" else AUTH)
    for value in (TOKEN, TOKEN) if name == "Authorization" and values == ("k", "k") else values:
        headers.add(name, value)
    for answer in (post(client, headers=headers), client.get("/healthz", headers=headers)):
        assert name in assert_problem(answer, 400, "malformed")["detail"]


@pytest.mark.parametrize("values", [("k", "k"), ("k", "k", "k"), ("a,b", "a,b"), ("k,k",), ("k, k",)])
def test_an_idempotency_key_that_is_doubled_is_400(client: FlaskClient, values: tuple[str, ...]) -> None:
    """A proxy that doubles it makes a key of its own of it, and a second order of the retry."""
    headers = Headers(AUTH)
    for value in values:
        headers.add("Idempotency-Key", value)
    assert "Idempotency-Key" in assert_problem(post(client, headers=headers), 400, "malformed")["detail"]


@pytest.mark.parametrize("key", ["k,l", "a,b,a", ",a", "a,"])
def test_an_idempotency_key_with_a_comma_is_one(client: FlaskClient, key: str) -> None:
    """Lines that differ can't be told from one key with a comma, which is legal."""
    response = post(client, headers=AUTH | {"Idempotency-Key": key})
    assert (response.status_code, response.get_json()["key"]) == (201, key)


def test_headers_that_are_lists_may_come_twice(client: FlaskClient) -> None:
    """Accept, Prefer and the like are lists, on one line or several."""
    headers = Headers(AUTH)
    for name in ("Accept", "Prefer", "Accept-Encoding", "Via"):
        headers.add(name, "a")
        headers.add(name, "b")
    assert post(client, headers=headers).status_code == 201


@pytest.mark.parametrize("name", ["Idempotency-Key", "If-Match", "If-None-Match", "Content-Range"])
def test_a_header_that_a_write_would_ignore_is_422(client: FlaskClient, name: str) -> None:
    """What would make another call of it, and is not honoured, is refused by name."""
    sent = AUTH | {name: "k"}
    assert_problem(client.post("/limited", headers=sent), 422, "invalid", f"/{name}")
    if name != "Idempotency-Key":
        assert_problem(post(client, headers=sent), 422, "invalid", f"/{name}")


@pytest.mark.parametrize("path", ["/things", *PUBLIC, "/metrics", "/internal/readyz"])
@pytest.mark.parametrize("name", ["Idempotency-Key", "If-Match", "X-HTTP-Method-Override"])
def test_a_header_that_a_read_would_ignore_is_422(client: FlaskClient, path: str, name: str) -> None:
    """Reading keeps no promise of a key either; conditions that spare a copy may be left out of account."""
    headers = {"Authorization": f"Bearer {issue(SECRET, 'order', ['service', 'orders'], 60)}"}
    assert_problem(client.get(path, headers=headers | {name: "k"}), 422, "invalid", f"/{name}")
    spared = {"If-None-Match": "*", "If-Modified-Since": "Sat, 28 Nov 2026 12:00:00 GMT"}
    assert client.get(path, headers=headers | spared).status_code == 200


@pytest.mark.parametrize("path", [*PUBLIC, "/metrics"])
def test_a_parameter_of_what_a_service_tells_of_itself_is_422(client: FlaskClient, path: str) -> None:
    """None has one."""
    assert_problem(client.get(f"{path}?verbose=1", headers=AUTH), 422, "invalid", "/verbose")


@pytest.mark.parametrize("sent", ["abc-1.2_3", "x" * 64])
def test_a_sane_request_id_is_echoed(client: FlaskClient, sent: str) -> None:
    """A caller can follow its request by its own id."""
    assert client.get("/healthz", headers={"X-Request-Id": sent}).headers["X-Request-Id"] == sent


@pytest.mark.parametrize("sent", ["", "a b", "x" * 65, "<script>"])
def test_any_other_request_id_is_replaced(client: FlaskClient, sent: str) -> None:
    """What could spoil a log is not repeated."""
    answered = client.get("/nothing", headers={"X-Request-Id": sent}).headers["X-Request-Id"]
    assert answered != sent
    assert len(answered) == 32


def test_a_view_s_error_becomes_a_problem_with_its_members(client: FlaskClient) -> None:
    """What an error carries besides its text stands in the problem."""
    problem = assert_problem(post(client, GOOD | {"name": "conflict"}), 409, "conflict")
    assert problem["items"] == ["12"]


def test_unavailable_says_when_to_come_again(client: FlaskClient) -> None:
    """503 carries Retry-After."""
    response = post(client, GOOD | {"name": "down"})
    assert_problem(response, 503, "unavailable")
    assert int(response.headers["Retry-After"]) >= 1


def test_a_bug_is_500_and_leaks_nothing(client: FlaskClient) -> None:
    """The log gets the traceback, the client gets the request's id."""
    response = post(client, GOOD | {"name": "bug"})
    assert_problem(response, 500, "internal")
    assert b"SELECT" not in response.data
    assert b"Traceback" not in response.data


def test_an_error_that_no_view_should_let_out_is_500(client: FlaskClient) -> None:
    """An error of ours without a status of its own is a bug as well."""
    response = post(client, GOOD | {"name": "row"})
    assert_problem(response, 500, "internal")
    assert b"goods.name" not in response.data


def test_too_many_requests_of_one_user_are_429(client: FlaskClient) -> None:
    """The limit counts per user, and says when to come again."""
    other = {"Authorization": f"Bearer {issue(SECRET, 'bob', [], 60)}"}
    statuses = [client.post("/limited", headers=AUTH).status_code for _ in range(2)]
    response = client.post("/limited", headers=AUTH)
    assert statuses == [200, 200]
    assert_problem(response, 429, "too-many-requests")
    assert 1 <= int(response.headers["Retry-After"]) <= 3600
    assert client.post("/limited", headers=other).status_code == 200


def test_one_user_has_a_share_of_what_may_be_inside(api: Api) -> None:
    """Beyond it that user gets 429 with Retry-After at once, while others are let in; later it is let in again."""
    inside, go_on = threading.Barrier(3), threading.Event()

    @api.post("/slow", returns={200: Out}, gate=Gate(4, share=2))
    def slow() -> Reply:
        """Wait."""
        inside.wait(10)
        assert go_on.wait(10)
        return Reply(Out(thing_id=1, owner="x"))

    def call(user: str) -> TestResponse:
        with api.app.test_client() as client:
            return client.post("/slow", headers={"Authorization": f"Bearer {issue(SECRET, user, [], 60)}"})

    with ThreadPoolExecutor(4) as pool:
        accepted = [pool.submit(call, "ann") for _ in range(2)]
        inside.wait(10)
        refused = call("ann")
        assert_problem(refused, 429, "too-many-requests")
        assert refused.headers["Retry-After"] == "1"
        accepted += [pool.submit(call, "bob") for _ in range(2)]
        inside.wait(10)
        assert_problem(call("ann"), 503, "unavailable")
        go_on.set()
        assert [future.result(10).status_code for future in accepted] == [200] * 4
        accepted = [pool.submit(call, "ann") for _ in range(2)]
        inside.wait(10)
        assert [future.result(10).status_code for future in accepted] == [200] * 2


def test_a_body_of_our_own_services_is_taken_whatever_is_set(api: Api) -> None:
    """A route that needs longer ones than clients may send says so itself."""

    @api.post("/long", body=Body, returns={200: Out}, body_at_least=5000)
    def long(body: Body) -> Reply:
        """Take a long one."""
        return Reply(Out(thing_id=1, owner=body.name[:1]))

    with api.app.test_client() as client:
        for size, status in ((4000, 200), (6000, 413)):
            padded = json.dumps(GOOD).encode() + b" " * (size - len(json.dumps(GOOD)))
            answer = client.post("/long", data=padded, headers=AUTH, content_type="application/json")
            assert answer.status_code == status


def test_more_than_may_be_inside_are_refused_at_once(api: Api) -> None:
    """Beyond what a route takes at once: 503 with Retry-After, while those inside go on; other routes don't mind."""
    inside, go_on = threading.Barrier(3), threading.Event()

    @api.post("/slow", returns={200: Out}, gate=Gate(2, share=2))
    def slow() -> Reply:
        """Wait."""
        inside.wait(10)
        assert go_on.wait(10)
        return Reply(Out(thing_id=1, owner="x"))

    def call(path: str = "/slow") -> TestResponse:
        with api.app.test_client() as client:
            return client.post(path, headers=AUTH)

    with ThreadPoolExecutor(2) as pool:
        accepted = [pool.submit(call) for _ in range(2)]
        inside.wait(10)
        for _ in range(3):
            refused = call()
            assert_problem(refused, 503, "unavailable")
            assert refused.headers["Retry-After"] == "1"
        assert call("/limited").status_code == 200
        go_on.set()
        assert [future.result(10).status_code for future in accepted] == [200, 200]
        inside.reset()
        accepted = [pool.submit(call) for _ in range(2)]
        inside.wait(10)
        assert [future.result(10).status_code for future in accepted] == [200, 200]


@pytest.mark.parametrize("path", PUBLIC)
def test_health_and_docs_need_no_token(client: FlaskClient, path: str) -> None:
    """Supervisors and readers have none."""
    assert client.get(path).status_code == 200


def test_metrics_need_a_token_and_count_requests_by_route(client: FlaskClient) -> None:
    """Routes are labelled as declared, unknown paths with one label."""
    assert_problem(client.get("/metrics"), 401, "unauthenticated")
    post(client)
    client.get("/nothing/at/all")
    text = client.get("/metrics", headers=AUTH).text
    assert 'orders_http_requests_total{method="POST",route="/things/{thing_id}/parts",status="201"} 1.0' in text
    assert 'route="unknown",status="404"} 1.0' in text
    assert "/nothing" not in text
    assert "process_resident_memory_bytes" in text


def test_every_request_is_one_log_line_but_probes(client: FlaskClient) -> None:
    """With its route as declared, status and id; probes only when they fail."""
    with capture_logs(processors=[merge_contextvars]) as lines:
        post(client, headers=AUTH | {"X-Request-Id": "r-1"})
        client.get("/healthz")
        client.get("/readyz")
        client.get("/metrics", headers=AUTH)
    assert len(lines) == 1
    assert isinstance(lines[0].pop("milliseconds"), float)
    assert lines[0] == {
        "event": "request",
        "log_level": "info",
        "method": "POST",
        "route": "/things/{thing_id}/parts",
        "status": 201,
        "request_id": "r-1",
    }


def ready_of(checks: dict[str, Any], optional: tuple[str, ...] = ()) -> TestResponse:
    api = Api(
        "toy", title="T", description="", max_body=1, verifier=Verifier(SECRET), metrics=Metrics("t"), checks=checks,
        optional=optional,
    )  # fmt: skip
    with api.app.test_client() as client:
        return client.get("/readyz")


def test_readiness_tells_what_most_calls_do_without() -> None:
    """An optional check that fails is told, and the service is ready; beside another it is not named as the reason."""
    optional = ready_of({"coupon": break_down, "database": lambda: None}, ("coupon",))
    assert (optional.status_code, optional.get_json()["checks"]) == (200, {"coupon": "failed", "database": "ok"})
    both = ready_of({"coupon": break_down, "database": break_down}, ("coupon",))
    assert assert_problem(both, 503, "unavailable")["detail"] == "Not ready: database."


def test_readiness_says_what_does_not_answer() -> None:
    """503 names each thing needed, and which of them fail."""
    response = ready_of({"database": break_down, "broker": lambda: None})
    problem = assert_problem(response, 503, "unavailable")
    assert problem["checks"] == {"database": "failed", "broker": "ok"}
    assert "Retry-After" in response.headers


def test_readiness_does_not_wait_for_what_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """One check that does not come back fails in time; the others are not held up by it."""
    released = threading.Event()
    monkeypatch.setattr("common.readiness.READY_WITHIN", 0.05)
    try:
        problem = assert_problem(ready_of({"broker": released.wait, "database": lambda: None}), 503, "unavailable")
    finally:
        released.set()
    assert problem["checks"] == {"broker": "failed", "database": "ok"}


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (ServiceToken(BySecret(SECRET), "order", "things"), 200),
        (ServiceToken(BySecret("another" * 5), "order", "things"), 401),
        (lambda: issue(SECRET, "ann", ["orders", "admin"], 60), 403),
    ],
)
def test_readiness_for_another_service_needs_its_token(
    client: FlaskClient, token: Callable[[], str], status: int
) -> None:
    """So that one whose token is refused learns it before a client does."""
    assert client.get("/internal/readyz", headers={"Authorization": f"Bearer {token()}"}).status_code == status


def test_readiness_for_another_service_is_readiness(client: FlaskClient) -> None:
    """The same checks, the same answer."""
    headers = {"Authorization": f"Bearer {ServiceToken(BySecret(SECRET), 'order', 'things')()}"}
    assert client.get("/internal/readyz", headers=headers).get_json() == client.get("/readyz").get_json()


def test_docs_need_no_resource_from_elsewhere(client: FlaskClient) -> None:
    """The page, its script and its styles name no other host, and the policy would forbid it."""
    page = client.get("/docs")
    assert "http" not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "http" not in client.get("/docs/start.js").text
    assert "url(http" not in client.get("/docs/swagger-ui.css").text
    assert b"SwaggerUIBundle" in client.get("/docs/swagger-ui-bundle.js").data
    assert_problem(client.get("/docs/other.js"), 404, "not-found")


def test_the_document_tells_every_status_of_a_route(client: FlaskClient) -> None:
    """What the view returns and raises, and what is answered before it is called."""
    document = client.get("/openapi.json").get_json()
    operation = document["paths"]["/things/{thing_id}/parts"]["post"]
    expected = ["201", "400", "401", "403", "404", "405", "408", "409", "413", "415", "422", "500", "503"]
    assert document["openapi"] == "3.1.0"
    assert sorted(operation["responses"]) == expected
    assert (operation["summary"], operation["description"]) == ("Add a part.", "Whatever that means.")
    assert operation["security"] == [{"token": ["orders"]}]
    assert [p["name"] for p in operation["parameters"]] == ["thing_id", "Idempotency-Key"]
    assert {"Location", "X-Request-Id", "Idempotency-Replayed"} <= operation["responses"]["201"]["headers"].keys()
    assert "429" in document["paths"]["/limited"]["post"]["responses"]
    assert {"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"} <= document["paths"].keys()


@pytest.mark.parametrize(
    ("name", "status"), [("", "201"), ("conflict", "409"), ("bug", "500"), ("down", "503"), ("\x01", "422")]
)
def test_answers_match_the_document(client: FlaskClient, name: str, status: str) -> None:
    """An answer validates against the schema of its status and content type."""
    document = client.get("/openapi.json").get_json()
    responses = document["paths"]["/things/{thing_id}/parts"]["post"]["responses"]
    response = post(client, GOOD | {"name": name})
    schema = responses[status]["content"][response.content_type]["schema"]
    assert str(response.status_code) == status
    validator_for(schema | {"components": document["components"]}).validate(response.get_json())


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("1", True),
        ("9223372036854775807", True),
        ("8999999999999999999", True),
        ("9223372036854775808", False),
        ("9999999999999999999", False),
        ("10000000000000000000", False),
        ("0", False),
        ("01", False),
        ("", False),
    ],
)
def test_the_document_bounds_ids_exactly(client: FlaskClient, text: str, valid: bool) -> None:
    """The pattern of ids allows 64-bit integers and nothing else."""
    document = client.get("/openapi.json").get_json()
    schema = document["components"]["schemas"]["Body"]["properties"]["goods_id"]
    assert validator_for(schema).is_valid(text) is valid


def test_cursors_are_not_nullable_in_the_document(client: FlaskClient) -> None:
    """An optional parameter is left out; it can't be null."""
    parameters = client.get("/openapi.json").get_json()["paths"]["/things"]["get"]["parameters"]
    assert [(p["name"], p["required"], p["schema"]["type"]) for p in parameters] == [
        ("limit", False, "integer"),
        ("cursor", False, "string"),
    ]
