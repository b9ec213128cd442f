"""Bugs in the coupon service: each of its rules, and each of its counts."""

from lab.drill.mutants.mutant import edited

_USES = "tests/unit/test_coupon_uses.py::"
_RULES = "tests/unit/test_coupon_rules.py::"
_REFUSAL = "coupon.service.uses:Uses.refusal"
_LIMITED = "halfmessage.participant.limited:Limited"
_EACH_RULE = _USES + "test_each_rule"

MUTANTS = (
    edited(
        "coupon-below-its-minimum",
        "an order that costs less than a coupon asks for gets it",
        _EACH_RULE,
        (_REFUSAL, "want.goods_amount < thing.minimum_amount", "False"),
    ),
    edited(
        "coupon-of-another-currency",
        "an amount in one currency is taken off another",
        _EACH_RULE,
        (_REFUSAL, "thing.currency not in {None, want.currency}", "False"),
    ),
    edited(
        "coupon-before-its-time",
        "a coupon is used before it starts",
        _EACH_RULE,
        (_REFUSAL, "thing.starts_at is not None and thing.starts_at > now", "False"),
    ),
    edited(
        "coupon-after-its-time",
        "a coupon that expired since the order was priced is used",
        _USES + "test_a_coupon_that_expires_between_pricing_and_reservation",
        (_REFUSAL, "thing.ends_at is not None and thing.ends_at <= now", "False"),
    ),
    edited(
        "use-of-another-users-coupon",
        "a user's own coupon is used by another",
        _EACH_RULE,
        (_REFUSAL, "thing.user_id not in {None, want.user_id}", "False"),
    ),
    edited(
        "coupon-priced-by-old-rules",
        "an order keeps the discount of rules that have changed",
        _USES + "test_a_coupon_withdrawn_while_it_is_held_stays_held",
        (_REFUSAL, "thing.version != want.version", "False"),
    ),
    edited(
        "coupon-used-though-withdrawn",
        "a withdrawn coupon is used by an order that was priced after",
        _USES + "test_a_coupon_withdrawn_while_it_is_held_stays_held",
        (_REFUSAL, '"withdrawn": thing.withdrawn', '"withdrawn": False'),
    ),
    edited(
        "coupon-withdrawn-with-its-version",
        "orders that were priced before a withdrawal do not notice it",
        _RULES + "test_withdrawing_changes_the_rules_once",
        ("coupon.service.rules:Coupons.withdraw", '"version": coupons.c.version + 1', '"version": coupons.c.version'),
    ),
    edited(
        "coupon-used-by-one-user-for-ever",
        "a user gets more uses than one may have",
        _USES + "test_one_user_at_fifty_clients",
        (_REFUSAL, "taken >= thing.uses_per_user", "False"),
    ),
    edited(
        "coupon-users-counted-once-a-batch",
        "in one batch a user gets more uses than one may have",
        _USES + "test_uses_end_for_all_and_for_each",
        (_LIMITED + ".take_all", "taken[want.user] += 1", "pass"),
    ),
    edited(
        "coupon-use-not-given-back",
        "an order is closed, and its use stays held",
        _USES + "test_uses_end_for_all_and_for_each",
        (_LIMITED + ".give_back", "held=-1", "held=0"),
    ),
    edited(
        "coupon-user-not-given-back",
        "an order is closed, and its user has had the use all the same",
        _USES + "test_uses_end_for_all_and_for_each",
        (_LIMITED + ".give_back", "(-uses,)", "(0,)"),
    ),
    edited(
        "coupon-not-used-up",
        "a payment leaves the use held",
        _USES + "test_payment_uses_a_coupon_up_once",
        (_LIMITED + ".paid", "held=-1, used=1", "held=0, used=0"),
    ),
    edited(
        "coupon-used-up-twice",
        "a payment that is told again uses another use up",
        _USES + "test_payment_uses_a_coupon_up_once",
        (_LIMITED + ".paid", "{UseState.HELD}", "{UseState.HELD, UseState.USED}"),
    ),
    edited(
        "coupon-shown-to-others",
        "users see each other's coupons",
        _RULES + "test_who_sees_what",
        ("coupon.service.rules:Viewer.visible", "true() if self.sees_all else", "true() if True else"),
    ),
    edited(
        "coupon-usable-though-had",
        "a coupon is offered to a user who has had theirs",
        _RULES + "test_usable_is_what_an_order_could_use_now",
        ("coupon.service.rules:Viewer.usable", "< coupons.c.uses_per_user", ">= 0"),
    ),
)
