"""The goods service, call by call, over its REST interface."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from common import migrations
from common.auth import issue
from common.config import Settings
from common.db import Database
from goods.app import build
from halfmessage.errors import CommitOutcomeUnknown, DuplicateRow

SECRET = "s" * 32
TEA: dict[str, Any] = {"name": "Tea", "unit_price": 990, "currency": "CNY"}


class Caller:
    """Calls the service in the name of a user with all scopes, unless told otherwise."""

    def __init__(self, client: FlaskClient) -> None:
        self._client = client

    def __call__(
        self, method: str, path: str, body: Any = None, *, scopes: str = "admin service", key: str | None = None
    ) -> TestResponse:
        headers = {"Authorization": f"Bearer {issue(SECRET, 'alice', scopes.split(), 60)}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        options = {} if body is None else {"json": body}
        return self._client.open(path, method=method, headers=headers, **options)  # type: ignore[arg-type]

    def add(self, **change: Any) -> dict[str, Any]:
        response = self("POST", "/goods", TEA | change)
        assert response.status_code == 201, response.text
        added: dict[str, Any] = response.get_json()
        return added


@pytest.fixture
def call(tmp_path: Path) -> Iterator[Caller]:
    url = f"sqlite:///{tmp_path}/goods.db"
    migrations.upgrade("goods", url)
    service = build(Settings(port=0, jwt_secret=SECRET, database_url=url))  # type: ignore[arg-type]
    for start in service.start:
        start()
    with service.api.app.test_client() as client:
        yield Caller(client)
    for stop in service.stop:
        stop()


def slug(response: TestResponse) -> tuple[int, str]:
    return response.status_code, response.get_json()["type"].rpartition("/")[2]


def pointers(response: TestResponse) -> list[str]:
    return [error["pointer"] for error in response.get_json()["errors"]]


def test_added_goods_are_found_where_location_says(call: Caller) -> None:
    """What is left out has its default: the market price is the unit price, and it is on sale."""
    response = call("POST", "/goods", TEA)
    added = response.get_json()
    assert response.status_code == 201
    assert response.headers["Location"] == f"/goods/{added['goods_id']}"
    assert added == {
        "goods_id": added["goods_id"],
        "name": "Tea",
        "brief": "",
        "category_id": None,
        "unit_price": 990,
        "market_price": 990,
        "currency": "CNY",
        "images": [],
        "on_sale": True,
    }
    assert call("GET", response.headers["Location"], scopes="").get_json() == added


def test_everything_given_is_kept(call: Caller) -> None:
    """No field is lost on the way to the database and back."""
    given = {
        "name": "茶",
        "brief": "two\nlines",
        "category_id": "9223372036854775807",
        "unit_price": 0,
        "market_price": 10**11,
        "currency": "JPY",
        "images": ["https://example.org/a.png?x=1", "http://[::1]:80/b"],
        "on_sale": False,
    }
    added = call.add(**given)
    assert {key: added[key] for key in given} == given
    assert call("GET", f"/goods/{added['goods_id']}").get_json() == added


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "x" * 129}, "/name"),
        ({"brief": "x" * 1025}, "/brief"),
        ({"brief": None}, "/brief"),
        ({"unit_price": -1}, "/unit_price"),
        ({"unit_price": 10**11 + 1}, "/unit_price"),
        ({"unit_price": "990"}, "/unit_price"),
        ({"market_price": None}, "/market_price"),
        ({"currency": "cny"}, "/currency"),
        ({"currency": "ZZZ"}, "/currency"),
        ({"category_id": 7}, "/category_id"),
        ({"images": ["ftp://example.org/a"]}, "/images/0"),
        ({"images": ["https://example.org/a b"]}, "/images/0"),
        ({"images": ["https://example.org/" + "x" * 2048]}, "/images/0"),
        ({"images": ["https://example.org/"] * 11}, "/images"),
        ({"on_sale": "yes"}, "/on_sale"),
        ({"goods_id": "7"}, "/goods_id"),
    ],
)
def test_goods_that_break_a_rule_are_not_added(call: Caller, change: dict[str, Any], pointer: str) -> None:
    """422, the place is named, nothing is stored."""
    response = call("POST", "/goods", TEA | change)
    assert slug(response) == (422, "invalid")
    assert pointers(response) == [pointer]
    assert call("GET", "/goods").get_json()["items"] == []


def test_a_missing_price_is_one_finding(call: Caller) -> None:
    """The market price, whose default it is, is not blamed as well."""
    assert pointers(call("POST", "/goods", {"name": "Tea", "currency": "CNY"})) == ["/unit_price"]


def test_a_change_changes_what_it_names_and_nothing_else(call: Caller) -> None:
    """PATCH answers with the goods as they are now."""
    added = call.add(category_id="7", brief="old")
    changes = {"unit_price": 5, "category_id": None, "images": ["https://example.org/"], "on_sale": False}
    response = call("PATCH", f"/goods/{added['goods_id']}", changes)
    assert (response.status_code, response.get_json()) == (200, added | changes)
    assert call("GET", f"/goods/{added['goods_id']}").get_json() == added | changes


def test_an_empty_change_changes_nothing(call: Caller) -> None:
    """As RFC 7396 has it."""
    added = call.add()
    response = call("PATCH", f"/goods/{added['goods_id']}", {})
    assert (response.status_code, response.get_json()) == (200, added)


@pytest.mark.parametrize("change", [{"currency": "USD"}, {"name": None}, {"unit_price": -1}, {"goods_id": "7"}])
def test_a_change_that_breaks_a_rule_is_422(call: Caller, change: dict[str, Any]) -> None:
    """The currency and the id never change; null is no value but for the category."""
    added = call.add()
    response = call("PATCH", f"/goods/{added['goods_id']}", change)
    assert slug(response) == (422, "invalid")
    assert pointers(response) == [f"/{next(iter(change))}"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/goods/7", None),
        ("GET", "/goods/x", None),
        ("PATCH", "/goods/7", {}),
        ("PATCH", "/goods/7", {"unit_price": 1}),
        ("GET", "/rooms/7/goods", None),
    ],
)
def test_what_is_not_there_is_404(call: Caller, method: str, path: str, body: Any) -> None:
    """Goods never added, and a room whose list was never put."""
    assert slug(call(method, path, body)) == (404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/goods", TEA),
        ("PATCH", "/goods/7", {}),
        ("PUT", "/rooms/7/goods", {"goods_ids": []}),
        ("POST", "/goods/lookup", {"goods_ids": ["7"]}),
    ],
)
def test_guarded_calls_need_their_scope(call: Caller, method: str, path: str, body: Any) -> None:
    """A customer's token may only read."""
    assert slug(call(method, path, body, scopes="orders")) == (403, "forbidden")


def test_pages_are_stable_while_goods_are_added(call: Caller) -> None:
    """Newest first; each goods comes once, whatever is added while a user turns the pages."""
    added = [call.add(name=str(number))["goods_id"] for number in range(5)]
    seen: list[str] = []
    cursor = ""
    for pages in range(1, 4):
        page = call("GET", f"/goods?limit=2{cursor}").get_json()
        seen += [one["goods_id"] for one in page["items"]]
        call.add(name="meanwhile")
        cursor = f"&cursor={page['next_cursor']}"
        assert (page["next_cursor"] is None) == (pages == 3)
    assert seen == added[::-1]


def test_a_last_page_that_is_full_has_no_next_cursor(call: Caller) -> None:
    """A client does not fetch an empty page."""
    call.add()
    call.add()
    assert call("GET", "/goods?limit=2").get_json()["next_cursor"] is None


def test_a_cursor_of_no_list_is_422(call: Caller) -> None:
    """A cursor is only ever one that we gave."""
    for number in range(3):
        call.add(name=str(number))
    cursor = call("GET", "/goods?limit=1").get_json()["next_cursor"]
    for wrong in (cursor[:-1], cursor + "A", "_" + cursor[1:], cursor[::-1]):
        response = call("GET", f"/goods?cursor={wrong}")
        assert slug(response) == (422, "invalid")
        assert pointers(response) == ["/cursor"]


def test_a_lookup_finds_what_exists(call: Caller) -> None:
    """The other services ask for many goods at once; unknown ones are left out, doubles come once."""
    first, second = call.add(), call.add()
    wanted = [first["goods_id"], "7", second["goods_id"], first["goods_id"]]
    items = call("POST", "/goods/lookup", {"goods_ids": wanted}).get_json()["items"]
    assert sorted(items, key=lambda one: int(one["goods_id"])) == [first, second]


def test_a_room_shows_its_goods_in_the_host_s_order(call: Caller) -> None:
    """And the prices of now, not of when the list was put."""
    first, second = call.add(), call.add()
    ids = [second["goods_id"], first["goods_id"]]
    put = call("PUT", "/rooms/12/goods", {"goods_ids": ids, "current_goods_id": ids[1]})
    expected = {"room_id": "12", "current_goods_id": ids[1], "items": [second, first]}
    assert (put.status_code, put.get_json()) == (200, expected)
    call("PATCH", f"/goods/{ids[0]}", {"unit_price": 1})
    seen = call("GET", "/rooms/12/goods", scopes="orders").get_json()
    assert seen["items"] == [second | {"unit_price": 1}, first]


def test_a_room_s_list_is_replaced_whole(call: Caller) -> None:
    """The new list, whatever the old one was; an empty one too. Other rooms keep theirs."""
    goods = [call.add()["goods_id"] for _ in range(3)]
    call("PUT", "/rooms/1/goods", {"goods_ids": goods, "current_goods_id": goods[0]})
    call("PUT", "/rooms/2/goods", {"goods_ids": goods[:1]})
    call("PUT", "/rooms/1/goods", {"goods_ids": goods[1:]})
    room = call("GET", "/rooms/1/goods").get_json()
    assert ([one["goods_id"] for one in room["items"]], room["current_goods_id"]) == (goods[1:], None)
    call("PUT", "/rooms/1/goods", {"goods_ids": [], "current_goods_id": None})
    assert call("GET", "/rooms/1/goods").get_json()["items"] == []
    assert len(call("GET", "/rooms/2/goods").get_json()["items"]) == 1


def test_a_room_takes_known_goods_only(call: Caller) -> None:
    """422 names the unknown ones, and the old list stays."""
    known = call.add()["goods_id"]
    call("PUT", "/rooms/1/goods", {"goods_ids": [known]})
    response = call("PUT", "/rooms/1/goods", {"goods_ids": ["7", known, "8"]})
    assert slug(response) == (422, "unknown-goods")
    assert pointers(response) == ["/goods_ids/0", "/goods_ids/2"]
    assert len(call("GET", "/rooms/1/goods").get_json()["items"]) == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"goods_ids": ["7", "7"]}, "/goods_ids"),
        ({"goods_ids": ["7"], "current_goods_id": "8"}, "/current_goods_id"),
        ({"goods_ids": ["x"]}, "/goods_ids/0"),
        ({"goods_ids": [str(i) for i in range(1, 502)]}, "/goods_ids"),
        ({}, "/goods_ids"),
    ],
)
def test_a_wrong_list_is_422(call: Caller, body: Any, pointer: str) -> None:
    """No goods twice; the current one is one of them."""
    response = call("PUT", "/rooms/1/goods", body)
    assert slug(response) == (422, "invalid")
    assert pointers(response) == [pointer]


def test_two_first_lists_of_a_room_at_once_both_succeed(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who loses the race to insert the room tries again, and finds it."""
    real, tries = Database.transact, []

    def lose_once(self: Database, work: Any) -> Any:
        tries.append(work)
        if len(tries) == 1:
            raise DuplicateRow
        return real(self, work)

    monkeypatch.setattr(Database, "transact", lose_once)
    assert call("PUT", "/rooms/1/goods", {"goods_ids": []}).status_code == 200
    assert len(tries) == 2


def test_the_same_goods_again_under_a_key(call: Caller) -> None:
    """The first answer and its Location again, marked; spelt otherwise too; another body is refused."""
    first = call("POST", "/goods", TEA | {"images": ["http://x/a"]}, key="k")
    again = call("POST", "/goods", {"images": ["http://x/a"]} | TEA, key="k")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.get_json() == first.get_json()
    assert again.headers["Location"] == first.headers["Location"]
    assert (first.headers.get("Idempotency-Replayed"), again.headers["Idempotency-Replayed"]) == (None, "true")
    assert len(call("GET", "/goods").get_json()["items"]) == 1
    assert slug(call("POST", "/goods", TEA, key="k")) == (422, "idempotency-mismatch")
    assert call("POST", "/goods", TEA, key="l").get_json()["goods_id"] != first.get_json()["goods_id"]


@pytest.mark.parametrize(
    ("method", "path", "body"), [("PATCH", "/goods/1", {}), ("PUT", "/rooms/1/goods", {"goods_ids": []})]
)
def test_calls_that_can_be_repeated_anyway_take_no_key(call: Caller, method: str, path: str, body: Any) -> None:
    """They refuse it, for they would not keep it."""
    response = call(method, path, body, key="k")
    assert slug(response) == (422, "invalid")
    assert pointers(response) == ["/Idempotency-Key"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/goods", TEA),
        ("PATCH", "/goods/1", {"name": "Tea"}),
        ("PUT", "/rooms/1/goods", {"goods_ids": []}),
    ],
)
def test_a_commit_whose_outcome_is_unknown_is_said_so(
    call: Caller, monkeypatch: pytest.MonkeyPatch, method: str, path: str, body: Any
) -> None:
    """Neither "created" nor "nothing was created" would be true."""

    def lose_connection(_self: Database, _work: Any) -> Any:
        raise CommitOutcomeUnknown

    monkeypatch.setattr(Database, "transact", lose_connection)
    response = call(method, path, body)
    assert slug(response) == (503, "outcome-unknown")
    assert "Retry-After" in response.headers


def test_a_database_that_is_not_set_up_is_503(tmp_path: Path) -> None:
    """No table: unavailable, without a word of SQL."""
    service = build(Settings(port=0, jwt_secret=SECRET, database_url=f"sqlite:///{tmp_path}/new.db"))  # type: ignore[arg-type]
    with service.api.app.test_client() as client:
        response = Caller(client)("GET", "/goods")
    service.stop[-1]()
    assert slug(response) == (503, "unavailable")
    assert "no such table" not in response.text
