"""Orders with a coupon, over REST: what they cost, what the coupon counts, and what is refused."""

from typing import Any

import pytest

from ops.client import Client
from tests.e2e.shop import Shop, cancel, pay, place, slug
from tests.support import eventually

pytestmark = pytest.mark.e2e


def coupon(shop: Shop, **changes: Any) -> str:
    body = {"kind": "amount", "value": 50, "currency": "EUR", "uses": 2, "uses_per_user": 2} | changes
    made = shop.admin.ask("coupon", "POST", "/coupons", json_body=body)
    assert made.status == 201, made.body
    return str(made.body["coupon_id"])


def counts(shop: Shop, coupon_id: str) -> tuple[int, int, int]:
    """Return how many uses are free, held and used."""
    told = shop.admin.get("coupon", f"/coupons/{coupon_id}")
    assert told["uses"] == told["free"] + told["held"] + told["used"]
    return told["free"], told["held"], told["used"]


def refused(user: Client, coupon_id: str, goods: dict[str, int]) -> tuple[str, str | None]:
    answer = place(user, goods, coupon_id=coupon_id)
    return slug(answer), answer.body.get("reason")


def test_held_by_an_open_order_used_by_a_paid_one(shop: Shop) -> None:
    """The order tells what came off; its use is held, and used as soon as it is paid; the timeline names it."""
    user, tea, of = shop.user(), shop.goods(unit_price=250), coupon(shop)
    order = place(user, {tea: 2}, coupon_id=of).body
    amounts = {name: order[name] for name in ("coupon_id", "goods_amount", "discount_amount", "total_amount")}
    assert amounts == {"coupon_id": of, "goods_amount": 500, "discount_amount": 50, "total_amount": 450}
    assert counts(shop, of) == (1, 1, 0)
    assert pay(user, order["order_id"]).body["status"] == "paid"
    eventually(lambda: counts(shop, of) == (1, 0, 1))
    timeline = user.get("order", f"/orders/{order['order_id']}/timeline")
    assert ("coupon", "coupon deducted") in {(entry["source"], entry["event"]) for entry in timeline["entries"]}


def test_free_again_after_a_cancel(shop: Shop) -> None:
    """A closed order gives its use back, like its stock."""
    user, tea, of = shop.user(), shop.goods(), coupon(shop)
    order = place(user, {tea: 1}, coupon_id=of).body
    cancel(user, order["order_id"])
    eventually(lambda: counts(shop, of) == (2, 0, 0) and shop.available(tea) == 10)


def test_what_is_refused_holds_nothing(shop: Shop) -> None:
    """Short of stock, or without a use left: whatever the other held comes back."""
    user, tea, of = shop.user(), shop.goods(), coupon(shop, uses=1, uses_per_user=1)
    assert refused(user, of, {tea: 11}) == ("insufficient-stock", None)
    eventually(lambda: counts(shop, of) == (1, 0, 0))
    assert place(user, {tea: 1}, coupon_id=of).status == 201
    assert refused(user, of, {tea: 1}) == ("coupon-not-usable", "used")
    eventually(lambda: shop.available(tea) == 9)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"minimum_amount": 10**6}, "below-minimum"),
        ({"currency": "USD"}, "other-currency"),
        ({"starts_at": "2099-01-01T00:00:00.000Z"}, "not-started"),
        ({"ends_at": "2020-01-01T00:00:00.000Z"}, "expired"),
    ],
)
def test_rules(shop: Shop, changes: dict[str, Any], reason: str) -> None:
    """409 with the reason; no stock was touched."""
    tea = shop.goods()
    assert refused(shop.user(), coupon(shop, **changes), {tea: 1}) == ("coupon-not-usable", reason)
    assert shop.available(tea) == 10


def test_withdrawn(shop: Shop) -> None:
    """At once, whatever is remembered; what is held stays."""
    user, tea, of = shop.user(), shop.goods(), coupon(shop)
    assert place(user, {tea: 1}, coupon_id=of).status == 201
    shop.admin.post("coupon", f"/coupons/{of}/withdraw")
    assert refused(user, of, {tea: 1}) == ("coupon-not-usable", "withdrawn")
    assert counts(shop, of) == (1, 1, 0)


def test_unknown(shop: Shop) -> None:
    """No such coupon, another user's, and none at all: 422 with its pointer, or an order without one."""
    user, tea = shop.user(), shop.goods()
    for of in ("404", coupon(shop, user_id="somebody-else")):
        answer = place(user, {tea: 1}, coupon_id=of)
        assert (answer.status, slug(answer)) == (422, "unknown-coupon")
        assert [error["pointer"] for error in answer.body["errors"]] == ["/coupon_id"]
    assert slug(place(user, {tea: 1}, coupon_id="x")) == "invalid"
    assert place(user, {tea: 1}, coupon_id=None).body["coupon_id"] is None


def test_all_of_it(shop: Shop) -> None:
    """A total of 0 is paid at once, also when it is asked for again; its use is used."""
    user, tea, of = shop.user(), shop.goods(), coupon(shop, kind="percent", value=100, currency=None)
    key = shop.name()
    first, again = (place(user, {tea: 1}, coupon_id=of, key=key) for _ in range(2))
    assert (first.status, first.body["status"], first.body["total_amount"]) == (201, "paid", 0)
    assert first.body["paid_at"] == first.body["created_at"]
    assert (again.body, again.headers["idempotency-replayed"]) == (first.body, "true")
    eventually(lambda: counts(shop, of) == (1, 0, 1))
