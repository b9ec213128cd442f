"""Bugs in what a coupon takes off, and in placing orders with one."""

from lab.drill.mutants.mutant import edited

_TESTS = "tests/unit/test_order_pricing.py::"
_CLIENT = "tests/unit/test_order_coupon_client.py::"
_COUPON = "order.service.pricing:Pricing._coupon"
_DISCOUNT = "order.service.pricing:discount"
_WHY_NOT = "order.service.pricing:why_not"
_DRAFT = "order.service.ordering:Ordering._draft"

MUTANTS = (
    edited(
        "discount-below-zero",
        "a coupon of more than an order costs pays money out",
        _TESTS + "test_discount",
        (_DISCOUNT, "return min(coupon.value, goods_amount)", "return coupon.value"),
    ),
    edited(
        "percentage-rounded-up",
        "a percentage takes off a minor unit more than it should",
        _TESTS + "test_discount",
        (_DISCOUNT, "goods_amount * coupon.value // _WHOLE", "-(-goods_amount * coupon.value // _WHOLE)"),
    ),
    edited(
        "coupon-of-another-user",
        "any user may use a coupon that is another's",
        _TESTS + "test_unknown",
        (_COUPON, " or coupon.user_id not in {None, user_id}", ""),
    ),
    edited(
        "coupon-in-its-last-moment",
        "a coupon is good for one moment after its end",
        _TESTS + "test_why_not",
        (_WHY_NOT, "coupon.ends_at <= now", "coupon.ends_at < now"),
    ),
    edited(
        "minimum-not-reached",
        "a coupon with a minimum is used for less",
        _TESTS + "test_why_not",
        (_WHY_NOT, "goods_amount < coupon.minimum_amount", "False"),
    ),
    edited(
        "changed-coupon-priced-as-remembered",
        "an order whose coupon changed is priced again by the rules that are remembered",
        _TESTS + "test_changed_meanwhile_is_priced_again",
        ("order.service.ordering:Ordering._order", "anew=True", "anew=False"),
    ),
    edited(
        "free-order-left-unpaid",
        "an order that costs nothing waits for a payment, and is closed",
        _TESTS + "test_a_coupon_that_pays_all",
        (_DRAFT, "is_free = price.goods_amount == price.discount_amount", "is_free = False"),
    ),
    edited(
        "free-order-replayed-as-unpaid",
        "who repeats the request for an order that cost nothing is told to pay",
        _TESTS + "test_a_coupon_that_pays_all",
        ("order.model:Order.as_created", "if self.total_amount == 0:", "if False:"),
    ),
    edited(
        "lost-last-use",
        "a request that lost a coupon's last use to its own repetition is refused",
        _TESTS + "test_same_key_in_another_process",
        ("order.service.ordering:Ordering.order", "(KeyTaken, Refused)", "KeyTaken"),
    ),
    edited(
        "refused-use-let-through",
        "an order whose coupon was refused is placed with its discount",
        _CLIENT + "test_deduct",
        ("order.clients.coupon:CouponClient.refusal", 'if item["verdict"] == "changed":', "return None\n    if False:"),
    ),
    edited(
        "version-not-told",
        "the coupon service is told no version, and can't say that an order was priced by another",
        _CLIENT + "test_deduct",
        ("order.clients.coupon:CouponClient.want", "order.coupon_version or 1", "1"),
    ),
)
