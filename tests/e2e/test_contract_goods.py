"""The goods service's REST contract, call by call."""

from typing import Any

import pytest

from ops.client import Client
from tests.e2e.shop import Shop, slug

pytestmark = pytest.mark.e2e

TEA = {"name": "Tea", "unit_price": 250, "currency": "EUR"}
EVERYTHING = TEA | {
    "brief": "Green.\n\tVery \U0001f375",
    "category_id": "12",
    "market_price": 300,
    "images": ["https://x.example/1.jpg", "http://[fe80::1:2]:8080/2.jpg?a=%20b#c"],
    "on_sale": False,
}


def add(client: Client, body: Any) -> Any:
    return client.ask("goods", "POST", "/goods", json_body=body)


def test_added_goods_tell_everything(shop: Shop) -> None:
    """POST /goods: 201, Location, and the goods as GET shows them to any user; their stock is 0."""
    answer = add(shop.admin, EVERYTHING)
    goods_id = answer.body["goods_id"]
    assert answer.status == 201
    assert answer.headers["location"] == f"/goods/{goods_id}"
    assert answer.body == EVERYTHING | {"goods_id": goods_id}
    assert shop.user().get("goods", f"/goods/{goods_id}") == answer.body
    assert shop.user().get("stock", f"/stock/{goods_id}")["total"] == 0


def test_what_is_left_out_has_a_default(shop: Shop) -> None:
    """POST /goods with what is needed only: on sale, no pictures, no category, the market price is the price."""
    added = add(shop.admin, TEA).body
    defaults: dict[str, Any] = {"brief": "", "category_id": None, "market_price": 250, "images": [], "on_sale": True}
    assert added == TEA | defaults | {"goods_id": added["goods_id"]}


@pytest.mark.parametrize(
    "change", [{name: value} for name, value in EVERYTHING.items() if name != "currency"] + [{}, {"category_id": None}]
)
def test_anything_but_the_currency_can_be_changed(shop: Shop, change: dict[str, Any]) -> None:
    """PATCH /goods/{id}: 200, what is named changes, the rest stays."""
    before = add(shop.admin, TEA | {"category_id": "7"}).body
    answer = shop.admin.ask("goods", "PATCH", f"/goods/{before['goods_id']}", json_body=change)
    assert answer.status == 200
    assert answer.body == before | change
    assert shop.user().get("goods", f"/goods/{before['goods_id']}") == before | change


def test_the_currency_can_not_be_changed(shop: Shop) -> None:
    """PATCH /goods/{id} with a currency: 422, also with the same one."""
    goods_id = shop.goods()
    answer = shop.admin.ask("goods", "PATCH", f"/goods/{goods_id}", json_body={"currency": "EUR"})
    assert (answer.status, slug(answer)) == (422, "invalid")
    assert answer.body["errors"][0]["pointer"] == "/currency"


_WRONG = [
    *(("name", v) for v in ("", "n" * 129, 1, None, "a\nb", "a\u0000b")),
    *(("unit_price", v) for v in (-1, 1.0, 1.5, "1", None, True, 10**11 + 1, 10**30)),
    *(("market_price", v) for v in (-1, 1.0, "1", None)),
    *(("brief", v) for v in ("b" * 1025, None, 1)),
    *(("category_id", v) for v in (1, "0", "x", "9223372036854775808")),
    *(
        ("images", v)
        for v in (
            None,
            "https://x/1.jpg",
            ["ftp://x/1.jpg"],
            ["javascript:alert(1)"],
            ["https://x/1.jpg"] * 11,
            ["https://x/" + "1" * 2048],
            ["https://x/a b"],
            ["https://[/1.jpg"],
            ["https://[1::2::3]/1.jpg"],
            ["https:///1.jpg"],
            ["https://x:port/1.jpg"],
            [1],
        )
    ),
    *(("on_sale", v) for v in (None, 1, "true")),
    ("goods_id", "1"),
    ("stock", 1),
]


@pytest.mark.parametrize(("name", "value"), _WRONG)
def test_goods_are_checked(shop: Shop, name: str, value: Any) -> None:
    """POST and PATCH refuse what breaks a rule with 422, point at it, and change nothing."""
    before = add(shop.admin, TEA).body
    for answer in (
        add(shop.admin, TEA | {name: value}),
        shop.admin.ask("goods", "PATCH", f"/goods/{before['goods_id']}", json_body={name: value}),
    ):
        assert (answer.status, slug(answer)) == (422, "invalid")
        assert answer.body["errors"][0]["pointer"].split("/")[1] == name
    assert shop.user().get("goods", f"/goods/{before['goods_id']}") == before


@pytest.mark.parametrize("currency", ["eur", "EURO", "E", "", "XXX", "ABC", None, 978])
def test_currencies_are_codes_of_iso_4217(shop: Shop, currency: Any) -> None:
    """POST /goods: nothing but an active code."""
    answer = add(shop.admin, TEA | {"currency": currency})
    assert (answer.status, slug(answer)) == (422, "invalid")


@pytest.mark.parametrize("missing", ["name", "unit_price", "currency"])
def test_what_is_needed_must_be_there(shop: Shop, missing: str) -> None:
    """POST /goods without a name, a price or a currency: 422, points at it."""
    answer = add(shop.admin, {name: value for name, value in TEA.items() if name != missing})
    assert (answer.status, slug(answer)) == (422, "invalid")
    assert [error["pointer"] for error in answer.body["errors"]] == [f"/{missing}"]


def test_goods_are_listed_newest_first_in_stable_pages(shop: Shop) -> None:
    """GET /goods: pages by cursor show each of the goods once, although others are added meanwhile."""
    user = shop.user()
    ids = [shop.goods(stock=0) for _ in range(5)][::-1]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while len(seen) < len(ids):
        page = user.get("goods", "/goods", **query)
        seen += [goods["goods_id"] for goods in page["items"]]
        query["cursor"] = page["next_cursor"]
        shop.goods(stock=0)
    assert seen[: len(ids)] == ids


def test_the_pages_end(shop: Shop) -> None:
    """Following next_cursor visits every one of the goods exactly once, and ends with null."""
    user, wanted = shop.user(), {shop.goods(stock=0) for _ in range(3)}
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 100}
    while query.get("cursor", "") is not None:
        page = user.get("goods", "/goods", **query)
        assert page["items"]
        seen += [goods["goods_id"] for goods in page["items"]]
        query["cursor"] = page["next_cursor"]
    assert len(seen) == len(set(seen))
    assert wanted <= set(seen)
    assert sorted(seen, key=int, reverse=True) == seen


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=x", "cursor=", "a=b", "limit=1&limit=1"])
def test_queries_are_checked(shop: Shop, query: str) -> None:
    """GET /goods with a parameter that is wrong, unknown or repeated: 422."""
    answer = shop.user().ask("goods", "GET", f"/goods?{query}")
    assert (answer.status, slug(answer)) == (422, "invalid")


@pytest.mark.parametrize("no_id", ["0", "01", "-1", "x", "9223372036854775808", "1.0", "%00"])
@pytest.mark.parametrize(("method", "path", "body"), [("GET", "/goods/{}", None), ("PATCH", "/goods/{}", {})])
def test_what_is_no_id_is_not_found(shop: Shop, method: str, path: str, body: Any, no_id: str) -> None:
    """404 for what can't be an id."""
    answer = shop.admin.ask("goods", method, path.format(no_id), json_body=body)
    assert (answer.status, slug(answer)) == (404, "not-found")


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("PATCH", {}), ("PATCH", {"name": "x"})])
def test_goods_that_never_were_are_not_found(shop: Shop, method: str, body: Any) -> None:
    """404 for an id that nothing has."""
    answer = shop.admin.ask("goods", method, f"/goods/{int(shop.goods(stock=0)) + 1}", json_body=body)
    assert (answer.status, slug(answer)) == (404, "not-found")


def test_a_room_shows_its_goods_in_the_hosts_order(shop: Shop) -> None:
    """PUT and GET /rooms/{id}/goods: the list as it was put, each with all it is; put again, it is replaced."""
    room, ids = shop.goods(stock=0), [shop.goods(stock=0) for _ in range(3)]
    wanted = [ids[2], ids[0], ids[1]]
    answer = shop.admin.ask(
        "goods", "PUT", f"/rooms/{room}/goods", json_body={"goods_ids": wanted, "current_goods_id": ids[0]}
    )
    shown = shop.user().get("goods", f"/rooms/{room}/goods")
    assert answer.status == 200
    assert answer.body == shown
    assert shown == {
        "room_id": room,
        "current_goods_id": ids[0],
        "items": [shop.user().get("goods", f"/goods/{goods_id}") for goods_id in wanted],
    }
    shop.admin.put("goods", f"/rooms/{room}/goods", {"goods_ids": ids[:1], "current_goods_id": None})
    shown = shop.user().get("goods", f"/rooms/{room}/goods")
    assert (shown["current_goods_id"], [g["goods_id"] for g in shown["items"]]) == (None, ids[:1])
    shop.admin.put("goods", f"/rooms/{room}/goods", {"goods_ids": []})
    assert shop.user().get("goods", f"/rooms/{room}/goods")["items"] == []


def test_a_room_that_was_never_put_is_not_found(shop: Shop) -> None:
    """GET /rooms/{id}/goods: 404, also for what is no id."""
    for room in (shop.goods(stock=0), "0", "x"):
        answer = shop.user().ask("goods", "GET", f"/rooms/{room}/goods")
        assert (answer.status, slug(answer)) == (404, "not-found")


def test_a_room_lists_only_goods_that_exist(shop: Shop) -> None:
    """PUT /rooms/{id}/goods with unknown goods: 422, points at them, the list stays as it was."""
    room, tea = shop.goods(stock=0), shop.goods(stock=0)
    shop.admin.put("goods", f"/rooms/{room}/goods", {"goods_ids": [tea]})
    answer = shop.admin.ask("goods", "PUT", f"/rooms/{room}/goods", json_body={"goods_ids": [tea, "1"]})
    assert (answer.status, slug(answer)) == (422, "unknown-goods")
    assert [error["pointer"] for error in answer.body["errors"]] == ["/goods_ids/1"]
    assert len(shop.user().get("goods", f"/rooms/{room}/goods")["items"]) == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/goods_ids"),
        ({"goods_ids": None}, "/goods_ids"),
        ({"goods_ids": [1]}, "/goods_ids/0"),
        ({"goods_ids": ["1", "1"]}, "/goods_ids"),
        ({"goods_ids": [str(i + 1) for i in range(501)]}, "/goods_ids"),
        ({"goods_ids": [], "current_goods_id": "1"}, "/current_goods_id"),
        ({"goods_ids": ["1"], "current_goods_id": 1}, "/current_goods_id"),
        ({"goods_ids": [], "host": "x"}, "/host"),
    ],
)
def test_rooms_are_checked(shop: Shop, body: Any, pointer: str) -> None:
    """PUT /rooms/{id}/goods refuses what breaks a rule with 422, and points at it."""
    answer = shop.admin.ask("goods", "PUT", "/rooms/1/goods", json_body=body)
    assert (answer.status, slug(answer)) == (422, "invalid")
    assert pointer in [error["pointer"] for error in answer.body["errors"]]


def test_goods_are_looked_up_together_for_services(shop: Shop) -> None:
    """POST /goods/lookup: those that exist, the others are left out."""
    ids = [shop.goods(stock=0) for _ in range(2)]
    found = shop.service.post("goods", "/goods/lookup", {"goods_ids": [*ids, "1"]})["items"]
    assert {goods["goods_id"] for goods in found} == set(ids)
