"""What a coupon takes off, when it may not be used, and what happens when it changes while an order is placed."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import PeerUnavailable
from halfmessage.clock import now_ms
from order.clients.coupon import Coupon
from order.model import CouponChanged, CouponNotUsable, InsufficientStock, Status, UnknownCoupon
from order.service.ordering import Ordering, Request
from order.service.placing import Draft, IdempotencyKey
from order.service.pricing import Pricing, discount, why_not
from tests.fakes import PRICE, Shop

COUPON = 5
NOW = 1_000_000


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with closing(Shop(tmp_path, coupons=True)) as shop:
        shop.sell(1, 3)
        yield shop


def _coupon(**rules: Any) -> Coupon:
    known = {"coupon_id": COUPON, "kind": "amount", "value": 50, "currency": "EUR", "minimum_amount": 0, "version": 1}
    return Coupon(**{**known, "user_id": None, "starts_at": None, "ends_at": None, "withdrawn": False, **rules})


@pytest.mark.parametrize(
    ("rules", "amount", "off"),
    [
        ({"value": 50}, 200, 50),
        ({"value": 250}, 200, 200),
        ({"kind": "percent", "value": 10}, 199, 19),
        ({"kind": "percent", "value": 1}, 99, 0),
        ({"kind": "percent", "value": 100}, 199, 199),
        ({"value": 50}, 0, 0),
    ],
)
def test_discount(rules: dict[str, Any], amount: int, off: int) -> None:
    """An amount takes off at most all of it; a percentage is rounded down."""
    assert discount(_coupon(**rules), amount) == off


@given(st.sampled_from(["amount", "percent"]), st.integers(1, 2**53), st.integers(0, 2**53))
def test_a_total_is_never_below_zero(kind: str, value: int, amount: int) -> None:
    """Whatever the coupon service tells."""
    assert 0 <= discount(_coupon(kind=kind, value=value), amount) <= amount


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({}, None),
        ({"withdrawn": True}, "withdrawn"),
        ({"ends_at": NOW}, "expired"),
        ({"ends_at": NOW + 1}, None),
        ({"starts_at": NOW + 1}, "not-started"),
        ({"starts_at": NOW}, None),
        ({"currency": "USD"}, "other-currency"),
        ({"kind": "percent", "currency": None}, None),
        ({"minimum_amount": 200}, None),
        ({"minimum_amount": 201}, "below-minimum"),
    ],
)
def test_why_not(rules: dict[str, Any], reason: str | None) -> None:
    """The borders of each rule."""
    assert why_not(_coupon(**rules), 200, "EUR", NOW) == reason


def test_an_order_with_a_coupon(shop: Shop) -> None:
    """Its discount is in the order, and the coupon service is told what it was priced by."""
    shop.rules.add(COUPON, value=30, version=7)
    order = shop.order({1: 2}, coupon=COUPON)
    assert (order.coupon_id, order.goods_amount, order.discount_amount) == (COUPON, 2 * PRICE, 30)
    assert (order.total_amount, order.status, order.coupon_version) == (2 * PRICE - 30, Status.CREATED, 7)
    assert order == shop.reader.get(order.order_id, owner="ann")
    assert shop.coupon.state(order.order_id) == "deducted"


def test_a_coupon_that_pays_all(shop: Shop) -> None:
    """Such an order is paid at once; asked for again with its key, it is told so again."""
    shop.rules.add(COUPON, kind="percent", value=100, currency=None)
    first = shop.order({1: 1}, coupon=COUPON, key="k")
    again = shop.order({1: 1}, coupon=COUPON, key="k")
    assert (first.status, first.paid_at, first.total_amount) == (Status.PAID, first.created_at, 0)
    assert again == first
    assert shop.coupon.headers[first.order_id].used


@pytest.mark.parametrize("rules", [None, {"user_id": "bob"}], ids=["none", "another's"])
def test_unknown(shop: Shop, rules: dict[str, Any] | None) -> None:
    """No such coupon, and another user's: the same answer, and nothing was begun."""
    if rules is not None:
        shop.rules.add(COUPON, **rules)
    with pytest.raises(UnknownCoupon) as caught:
        shop.order({1: 1}, coupon=COUPON)
    assert caught.value.members == {"errors": [{"pointer": "/coupon_id", "message": "unknown"}]}
    assert not shop.console.find()


def test_no_coupons_here(shop: Shop) -> None:
    """A deployment without a coupon service knows no coupon."""
    shop.rules.add(COUPON)
    with pytest.raises(UnknownCoupon):
        Pricing(shop.goods, None).price("ann", {1: 1}, COUPON)


def test_own(shop: Shop) -> None:
    """One's own coupon may be used."""
    shop.rules.add(COUPON, user_id="ann")
    assert shop.order({1: 1}, coupon=COUPON).discount_amount == 50


def test_refused_before_anything_is_begun(shop: Shop) -> None:
    """What the rules refuse costs no message and no stock."""
    shop.rules.add(COUPON, minimum_amount=10**6)
    with pytest.raises(CouponNotUsable) as caught:
        shop.order({1: 1}, coupon=COUPON)
    assert caught.value.members == {"reason": "below-minimum"}
    assert not shop.console.find()


def test_used(shop: Shop) -> None:
    """The last use is counted where it is held; the stock of the order comes back."""
    shop.rules.add(COUPON)
    shop.coupon.uses = 0
    with pytest.raises(CouponNotUsable) as caught:
        shop.order({1: 1}, coupon=COUPON)
    assert caught.value.members == {"reason": "used"}
    shop.quiet()
    assert shop.available(1) == 3


def test_changed_meanwhile_is_priced_again(shop: Shop) -> None:
    """Rules that were remembered and are others now: priced by what they are, once."""
    shop.rules.add(COUPON, value=10)
    shop.rules.remembered = dict(shop.rules.known)
    shop.rules.add(COUPON, value=70, version=2)
    order = shop.order({1: 1}, coupon=COUPON)
    assert (order.discount_amount, order.coupon_version) == (70, 2)
    assert shop.rules.asked == [False, True]
    shop.quiet()
    assert (shop.available(1), shop.coupon.uses) == (2, 9)


def test_changed_to_refused(shop: Shop) -> None:
    """What was withdrawn meanwhile is refused with its reason, and gone is unknown."""
    shop.rules.add(COUPON)
    shop.rules.remembered = dict(shop.rules.known)
    shop.rules.add(COUPON, withdrawn=True, version=2)
    with pytest.raises(CouponNotUsable) as caught:
        shop.order({1: 1}, coupon=COUPON)
    assert caught.value.members == {"reason": "withdrawn"}


def test_changed_again_is_refused(shop: Shop) -> None:
    """A coupon that changes faster than it can be used is given up after the second time."""
    shop.rules.add(COUPON)
    placed: list[Draft] = []

    def changed(draft: Draft) -> Any:
        placed.append(draft)
        raise CouponChanged(reason="expired")

    ordering = Ordering(shop.reader, shop.pricing, shop.ids, changed, pay_timeout=900.0)
    with pytest.raises(CouponNotUsable) as caught:
        ordering.order(Request("ann", {1: 1}, None, None, COUPON))
    assert (len(placed), caught.value.slug) == (2, "coupon-not-usable")
    assert placed[0].order.order_id != placed[1].order.order_id


def test_without_a_coupon_nothing_is_looked_up(shop: Shop) -> None:
    """An order without a coupon costs the coupon service nothing."""
    shop.order({1: 1})
    assert (shop.rules.asked, shop.coupon.asked) == ([], [])


def test_rules_are_not_to_be_had(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the coupon service is down, orders with a coupon are not placed; others are."""

    def down(*_: Any, **__: Any) -> Any:
        raise PeerUnavailable

    monkeypatch.setattr(shop.rules, "find", down)
    with pytest.raises(PeerUnavailable):
        shop.order({1: 1}, coupon=COUPON)
    assert shop.order({1: 1}).status is Status.CREATED


@pytest.mark.parametrize("lost", [CouponNotUsable(reason="used"), InsufficientStock()])
def test_same_key_in_another_process(shop: Shop, lost: Exception) -> None:
    """One process loses the last use, or the last piece, to another that served the same key: the first answer."""
    shop.rules.add(COUPON)
    key = IdempotencyKey("ann", "k", repr(sorted({1: 1}.items())))

    def taken(_: Draft) -> Any:
        shop.order({1: 1}, coupon=COUPON, key="k")
        raise lost

    ordering = Ordering(shop.reader, shop.pricing, shop.ids, taken, pay_timeout=900.0)
    assert ordering.order(Request("ann", {1: 1}, None, key, COUPON)).replayed


def test_a_price_of_nothing(shop: Shop) -> None:
    """Goods that cost nothing make an order that is paid at once; no participant has to hear of it."""
    shop.goods.add(1, price=0)
    before = now_ms()
    order = shop.order({1: 1})
    assert (order.status, order.total_amount) == (Status.PAID, 0)
    assert (order.paid_at or 0) >= before
    assert shop.settled() == set()
