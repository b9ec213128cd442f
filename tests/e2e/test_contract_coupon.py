"""The coupon service's REST contract, call by call."""

from typing import Any

import pytest

from ops.client import Client
from tests.e2e.shop import Shop, slug

pytestmark = pytest.mark.e2e

OFF: dict[str, Any] = {"kind": "amount", "value": 500, "currency": "EUR", "uses": 3}
EVERYTHING = OFF | {
    "code": "SPRING-10",
    "minimum_amount": 1000,
    "user_id": "ann",
    "uses_per_user": 2,
    "starts_at": "2026-01-01T00:00:00.000Z",
    "ends_at": "2099-01-01T00:00:00.000Z",
}


def make(client: Client, body: Any, **headers: str) -> Any:
    return client.ask("coupon", "POST", "/coupons", json_body=body, headers=headers)


def test_a_coupon_tells_everything(shop: Shop) -> None:
    """POST /coupons: 201, Location, and the coupon as GET shows it; all its uses are free."""
    code = f"EVERYTHING-{shop.name()}"
    answer = make(shop.admin, EVERYTHING | {"code": code})
    coupon_id = answer.body["coupon_id"]
    assert (answer.status, answer.headers["location"]) == (201, f"/coupons/{coupon_id}")
    counts = {"free": 3, "held": 0, "used": 0, "withdrawn": False}
    assert answer.body == EVERYTHING | counts | {"coupon_id": coupon_id, "code": code}
    assert shop.user("ann").get("coupon", f"/coupons/{coupon_id}") == answer.body
    assert shop.user("ann").get("coupon", f"/coupons/by-code/{code}") == answer.body
    assert slug(shop.user("bob").ask("coupon", "GET", f"/coupons/{coupon_id}")) == "not-found"
    assert slug(shop.user("bob").ask("coupon", "GET", f"/coupons/by-code/{code}")) == "not-found"
    assert slug(make(shop.admin, OFF | {"code": code})) == "code-taken"


def test_what_is_left_out_has_a_default(shop: Shop) -> None:
    """For every user, at any time, once a user, whatever the order costs; with a code that is made up."""
    made = make(shop.admin, {"kind": "percent", "value": 10, "uses": 1}).body
    assert made["code"]
    defaults = {"currency": None, "minimum_amount": 0, "user_id": None, "uses_per_user": 1}
    assert made.items() >= (defaults | {"starts_at": None, "ends_at": None}).items()


def test_a_key_makes_one_coupon(shop: Shop) -> None:
    """Idempotency-Key: the first answer again; another body under it is refused."""
    key = {"Idempotency-Key": shop.name()}
    first, again = make(shop.admin, OFF, **key), make(shop.admin, OFF, **key)
    assert (again.status, again.body, again.headers["idempotency-replayed"]) == (201, first.body, "true")
    assert slug(make(shop.admin, OFF | {"value": 1}, **key)) == "idempotency-mismatch"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"kind": "percent", "value": 101}, "/value"),
        ({"value": 0}, "/value"),
        ({"currency": None}, "/currency"),
        ({"ends_at": "2026-01-01T00:00:00Z", "starts_at": "2026-01-01T00:00:00Z"}, "/ends_at"),
        ({"ends_at": "tomorrow"}, "/ends_at"),
        ({"code": "a b"}, "/code"),
        ({"free": 1}, "/free"),
    ],
)
def test_what_no_coupon_may_be(shop: Shop, change: dict[str, Any], pointer: str) -> None:
    """422, with the place that is wrong."""
    answer = make(shop.admin, OFF | change)
    assert (answer.status, slug(answer)) == (422, "invalid")
    assert [error["pointer"] for error in answer.body["errors"]] == [pointer]


def test_withdrawing(shop: Shop) -> None:
    """POST /coupons/{id}/withdraw: 200, again the same; it is found by its code no more, and is shown as withdrawn."""
    made = make(shop.admin, OFF).body
    path = f"/coupons/{made['coupon_id']}"
    for _ in range(2):
        answer = shop.admin.ask("coupon", "POST", f"{path}/withdraw")
        assert (answer.status, answer.body) == (200, made | {"withdrawn": True})
    assert shop.user().get("coupon", path)["withdrawn"]
    assert shop.user().ask("coupon", "GET", f"/coupons/by-code/{made['code']}").status == 404
    assert shop.admin.ask("coupon", "POST", "/coupons/1/withdraw").status == 404


def test_lists(shop: Shop) -> None:
    """GET /coupons: all users' and one's own, newest first, page by page; `usable` parts them."""
    me = shop.name()
    mine = make(shop.admin, OFF | {"user_id": me}).body["coupon_id"]
    other = make(shop.admin, OFF | {"user_id": shop.name()}).body["coupon_id"]
    early = make(shop.admin, OFF | {"user_id": me, "starts_at": "2099-01-01T00:00:00Z"}).body["coupon_id"]
    user = shop.user(me)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = user.get("coupon", "/coupons", limit=2, **cursor)
        seen += [coupon["coupon_id"] for coupon in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen[:2] == [early, mine]
    assert other not in seen
    assert seen == sorted(set(seen), key=int, reverse=True)
    usable = [coupon["coupon_id"] for coupon in user.get("coupon", "/coupons", usable="true", limit=100)["items"]]
    unusable = [coupon["coupon_id"] for coupon in user.get("coupon", "/coupons", usable="false", limit=100)["items"]]
    assert mine in usable
    assert early in unusable
    assert not set(usable) & set(unusable)
    assert user.ask("coupon", "GET", "/coupons?usable=maybe").status == 422


def test_other_services_look_up_many_at_once(shop: Shop) -> None:
    """POST /coupons/lookup: those that exist, with the version of their rules."""
    made = make(shop.admin, OFF | {"user_id": "somebody"}).body
    found = shop.service.post("coupon", "/coupons/lookup", {"coupon_ids": [made["coupon_id"], "1"]})["items"]
    assert found == [made | {"version": 1}]
