"""What a call does not take, or lacks, over all routes of all services: what a body asks for in vain must be told."""

from pathlib import Path
from typing import Any, Final

import pytest
from flask.testing import FlaskClient

from common.auth import issue
from common.config import Settings
from common.registry import NAMES
from common.web import Api
from common.web.routes import Route, is_id
from coupon import app as coupon
from flash import app as flash
from goods import app as goods
from order import app as order
from pay import app as pay
from sandbox import app as sandbox
from stock import app as stock
from user import app as user

SECRET: Final = "s" * 40
AUTH: Final = {"Authorization": f"Bearer {issue(SECRET, 'alice', ['orders', 'admin', 'service'], 86_400)}"}
APPS: Final = {
    "order": order,
    "stock": stock,
    "goods": goods,
    "coupon": coupon,
    "pay": pay,
    "flash": flash,
    "sandbox": sandbox,
    "user": user,
}
MAX_BODY: Final = 100_000
OF_A_BODY: Final = {400, 408, 413, 415, 422}
"""What is answered to a body that is not taken."""


@pytest.fixture(scope="module")
def apis(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Api]:
    """Return the services' APIs; their databases have no tables, so what gets as far as a view is mostly a 503."""
    return {name: app.build(_settings(tmp_path_factory.mktemp(name))).api for name, app in APPS.items()}


def _settings(place: Path) -> Settings:
    return Settings(
        port=0,
        jwt_secret=SECRET,
        max_body=MAX_BODY,
        database_url=f"sqlite:///{place}/own.db",
        broker_url=f"embedded:///{place}/broker.db",
        stock_url="http://127.0.0.1:1",
        goods_url="http://127.0.0.1:2",
        coupon_url="http://127.0.0.1:3",
        pay_url="http://127.0.0.1:4",
        flash_url="http://127.0.0.1:5",
        sandbox_url="http://127.0.0.1:6",
        user_url="http://127.0.0.1:7",
    )


@pytest.fixture(scope="module")
def clients(apis: dict[str, Api]) -> dict[str, FlaskClient]:
    return {name: api.app.test_client() for name, api in apis.items()}


def without_body(apis: dict[str, Api]) -> list[tuple[str, Route]]:
    return [
        (name, route) for name, api in apis.items() for route in api.routes if route.body is None and not route.foreign
    ]


def writes_without_body(apis: dict[str, Api]) -> list[tuple[str, Route]]:
    return [(name, route) for name, route in without_body(apis) if route.writes]


def path_of(route: Route) -> str:
    return route.path.format(**{name: "7" if is_id(name) else "SPRING-10" for name in route.parameters})


def query_of(route: Route) -> dict[str, str]:
    """Return the parameters that the call can't do without."""
    fields = route.query.model_fields if route.query is not None else {}
    return {name: "1" for name, field in fields.items() if field.is_required()}


def status_of(client: FlaskClient, route: Route, **sent: Any) -> tuple[int, list[str]]:
    """Return the status of the answer, and the pointers of a problem."""
    answer = client.open(path_of(route), method=route.method, query_string=query_of(route), headers=AUTH, **sent)
    problem = answer.get_json(silent=True) or {}
    return answer.status_code, [error["pointer"] for error in problem.get("errors", ())]


def test_all_services_are_here(apis: dict[str, Api]) -> None:
    """A new one has to be added; and each has calls that take no body, and others."""
    assert apis.keys() == set(NAMES)
    assert {name for name, _ in without_body(apis)} == set(NAMES)
    assert {("order", "POST /orders/{order_id}/cancel"), ("coupon", "POST /coupons/{coupon_id}/withdraw")} <= {
        (name, f"{route.method} {route.path}") for name, route in without_body(apis)
    }


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"json": {"provider": "sandbox"}}, (422, ["/provider"])),
        ({"json": {"a": 1, "b": None}}, (422, ["/a", "/b"])),
        ({"json": []}, (422, [""])),
        ({"json": None, "data": "null", "content_type": "application/json"}, (422, [""])),
        ({"data": "{", "content_type": "application/json"}, (400, [])),
        ({"data": " ", "content_type": "application/json"}, (400, [])),
        ({"data": "a=1", "content_type": "application/x-www-form-urlencoded"}, (415, [])),
        (
            {"data": "{}", "content_type": "application/json", "environ_overrides": {"HTTP_CONTENT_ENCODING": "br"}},
            (415, []),
        ),
        ({"data": b" " * (MAX_BODY + 1), "content_type": "application/json"}, (413, [])),
    ],
)
def test_a_body_that_says_something_is_refused(
    apis: dict[str, Api], clients: dict[str, FlaskClient], sent: dict[str, Any], expected: tuple[int, list[str]]
) -> None:
    """By its fields' names, or as any other body is."""
    found = {
        (name, path_of(route)): status_of(clients[name], route, **sent) for name, route in writes_without_body(apis)
    }
    assert found == dict.fromkeys(found, expected)


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"environ_overrides": {"CONTENT_LENGTH": "0"}, "content_type": "application/x-www-form-urlencoded"},
        {"json": {}},
        {"data": " { } ", "content_type": "application/json; charset=utf-8"},
        {"environ_overrides": {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}},
    ],
    ids=["none", "no bytes", "empty object", "spaces", "no chunk"],
)
def test_a_body_that_says_nothing_passes(
    apis: dict[str, Api], clients: dict[str, FlaskClient], sent: dict[str, Any]
) -> None:
    """Clients send one out of habit."""
    for name, route in writes_without_body(apis):
        assert status_of(clients[name], route, **sent)[0] not in OF_A_BODY, (name, route.path)


@pytest.mark.parametrize(
    ("sent", "status", "slug"),
    [
        ({}, 503, "unavailable"),  # it was looked for, in a database without tables
        ({"json": {}}, 503, "unavailable"),
        ({"json": {"provider": "sandbox"}}, 503, "unavailable"),
        ({"json": {"provider": "elsewhere"}}, 503, "unavailable"),  # pay knows who takes money, once there is an order
        ({"json": {"provider": "sandbox", "scenario": "late:3"}}, 503, "unavailable"),
        ({"json": {"provider": "sandbox", "scenario": "x" * 65}}, 422, "invalid"),
        ({"json": {"provider": "sandbox", "scenario": ""}}, 422, "invalid"),
        ({"json": {"provider": ""}}, 422, "invalid"),
        ({"json": {"provider": 5}}, 422, "invalid"),
        ({"json": {"card": "4242"}}, 422, "invalid"),
        (
            {"data": "provider=sandbox", "content_type": "application/x-www-form-urlencoded"},
            415,
            "unsupported-media-type",
        ),
    ],
)
def test_who_pays_may_name_the_provider(
    clients: dict[str, FlaskClient], sent: dict[str, Any], status: int, slug: str
) -> None:
    """A body is optional there; what can name no provider is refused before the order is looked up."""
    answer = clients["order"].post("/orders/7/pay", headers=AUTH, **sent)
    assert (answer.status_code, answer.get_json()["type"]) == (status, f"/problems/{slug}")


@pytest.mark.parametrize("sent", [{"data": "{}", "content_type": "application/json"}, {"data": "x"}])
def test_a_read_takes_no_body_at_all(
    apis: dict[str, Api], clients: dict[str, FlaskClient], sent: dict[str, Any]
) -> None:
    """It is not even read; without bytes the call is like any other."""
    reads = [(name, route) for name, route in without_body(apis) if not route.writes]
    assert reads
    for name, route in reads:
        assert status_of(clients[name], route, **sent) == (422, [""])
        assert status_of(clients[name], route, environ_overrides={"CONTENT_LENGTH": "0"})[0] not in OF_A_BODY


def test_a_parameter_that_is_missing_is_422(apis: dict[str, Api], clients: dict[str, FlaskClient]) -> None:
    """Without any query string too."""
    in_need = [(name, route) for name, route in without_body(apis) if query_of(route)]
    assert in_need
    for name, route in in_need:
        answer = clients[name].open(path_of(route), method=route.method, headers=AUTH)
        assert answer.status_code == 422
        assert {error["pointer"] for error in answer.get_json()["errors"]} == {f"/{name}" for name in query_of(route)}


def test_the_documents_tell_it(apis: dict[str, Api], clients: dict[str, FlaskClient]) -> None:
    """In words at the top, and by the statuses of each call."""
    documents = {name: clients[name].get("/openapi.json").get_json() for name in apis}
    for name, route in without_body(apis):
        told = documents[name]["paths"][route.path][route.method.lower()]
        assert "takes none, or an empty JSON object; a read takes none" in documents[name]["info"]["description"]
        assert "requestBody" not in told
        assert {str(status) for status in OF_A_BODY} <= told["responses"].keys()
