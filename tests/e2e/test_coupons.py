"""Orders with a coupon when something ends, is refused or is down; each ends in books that agree.

What an order with a coupon costs and shows is in test_order_coupon.py.
"""

import signal
from typing import Any

import pytest
from rich.console import Console

from ops.client import Answer
from ops.commands.reconcile import compare
from tests.e2e.shop import Shop, at_once, cancel, eventually_status, pay, place, placed, slug
from tests.support import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180), pytest.mark.P6]

OFF: dict[str, Any] = {"kind": "amount", "value": 100, "currency": "EUR", "uses": 3, "uses_per_user": 3}


def coupon(shop: Shop, **fields: Any) -> str:
    """Make a coupon of 1.00 off; return its id."""
    coupon_id: str = shop.admin.post("coupon", "/coupons", OFF | fields)["coupon_id"]
    return coupon_id


def counts(shop: Shop, coupon_id: str) -> tuple[int, int, int]:
    """Return free, held and used, which add up to all uses."""
    found = shop.admin.get("coupon", f"/coupons/{coupon_id}")
    assert found["uses"] == found["free"] + found["held"] + found["used"]
    return found["free"], found["held"], found["used"]


def test_a_coupon_is_free_again_when_its_order_is_closed(shop: Shop) -> None:
    """Cancelled, and out of time."""
    alice, coupon_id, goods_id = shop.user(), coupon(shop), shop.goods()
    order = placed(alice, {goods_id: 1}, coupon_id=coupon_id)
    assert cancel(alice, order["order_id"]).status == 200
    eventually(lambda: counts(shop, coupon_id) == (3, 0, 0), within=30)
    with shop.settings("order", pay_timeout=1.0):
        order = placed(alice, {goods_id: 1}, coupon_id=coupon_id)
        eventually_status(alice, order["order_id"], "closed")
    eventually(lambda: counts(shop, coupon_id) == (3, 0, 0), within=30)
    shop.assert_sound()
    found = compare(shop.deployment, grace=30.0, out=Console(quiet=True))
    assert found.checked["coupons"] > 0
    assert [finding.what for finding in found.findings if "coupon" in finding.what] == []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"minimum_amount": 251}, "below-minimum"),
        ({"currency": "USD"}, "other-currency"),
        ({"starts_at": "2099-01-01T00:00:00Z"}, "not-started"),
        ({"ends_at": "2026-01-01T00:00:00Z"}, "expired"),
    ],
)
def test_a_coupon_that_can_t_be_used(shop: Shop, fields: dict[str, Any], reason: str) -> None:
    """409 with the reason; nothing was created, and nothing stays held."""
    goods_id = shop.goods()
    refused(place(shop.user(), {goods_id: 1}, coupon_id=coupon(shop, **fields)), reason)
    eventually(lambda: shop.available(goods_id) == 10, within=30)


def test_a_coupon_that_is_used_up_or_withdrawn(shop: Shop) -> None:
    """By all, or by this user; what holds a withdrawn one keeps it, and can be paid."""
    goods_id, alice = shop.goods(), shop.user()
    last = coupon(shop, uses=2, uses_per_user=1)
    order = placed(alice, {goods_id: 1}, coupon_id=last)
    refused(place(alice, {goods_id: 1}, coupon_id=last), "used")
    placed(shop.user(), {goods_id: 1}, coupon_id=last)
    refused(place(shop.user(), {goods_id: 1}, coupon_id=last), "used")
    shop.admin.post("coupon", f"/coupons/{last}/withdraw")
    refused(place(shop.user(), {goods_id: 1}, coupon_id=last), "withdrawn")
    assert pay(alice, order["order_id"]).status == 200
    eventually(lambda: counts(shop, last) == (0, 1, 1), within=30)
    eventually(lambda: shop.available(goods_id) == 8, within=30)
    shop.assert_sound()


def refused(answer: Answer, reason: str) -> None:
    """Hold that a coupon can't be used, and why."""
    assert (answer.status, slug(answer), answer.body["reason"]) == (409, "coupon-not-usable", reason)


def test_a_coupon_that_there_is_not(shop: Shop) -> None:
    """422 with the place that is wrong; another user's too."""
    alice, goods_id = shop.user(), shop.goods()
    for coupon_id in ("1", coupon(shop, user_id="somebody-else")):
        answer = place(alice, {goods_id: 1}, coupon_id=coupon_id)
        assert (answer.status, slug(answer)) == (422, "unknown-coupon")
        assert [error["pointer"] for error in answer.body["errors"]] == ["/coupon_id"]
    assert shop.available(goods_id) == 10


def test_the_last_use_is_one_order_s(shop: Shop) -> None:
    """Of many clients at once; the stock of the others comes back."""
    goods_id, last = shop.goods(stock=50), coupon(shop, uses=1)
    answers = at_once([lambda: place(shop.user(), {goods_id: 1}, coupon_id=last)] * 12)
    assert sorted(answer.status for answer in answers) == [201, *[409] * 11]
    assert counts(shop, last) == (0, 1, 0)
    eventually(lambda: shop.available(goods_id) == 49, within=30)
    shop.assert_sound()


def test_orders_without_a_coupon_do_without_the_service(shop: Shop) -> None:
    """While it is down they are placed; one with a coupon gets 503. Order stays ready, and tells what is down."""
    supervisor, goods_id, alice = shop.deployment.supervisor, shop.goods(), shop.user()
    coupon_id = coupon(shop)
    supervisor.hold("coupon")
    try:
        supervisor.kill("coupon", signal.SIGTERM)
        eventually(lambda: supervisor.pid("coupon") is None, within=30)
        placed(alice, {goods_id: 1})
        assert slug(place(alice, {goods_id: 1}, coupon_id=coupon_id)) == "unavailable"
        ready = eventually(lambda: told(shop) if told(shop)["checks"]["coupon"] == "failed" else None, within=30)
        assert ready["status"] == "ready"
    finally:
        supervisor.release("coupon")
        supervisor.wait_ready("coupon")
    eventually(lambda: place(alice, {goods_id: 1}, coupon_id=coupon_id).status == 201, within=30)
    shop.assert_sound()


def told(shop: Shop) -> Any:
    return shop.raw("order", "GET", "/readyz").json
