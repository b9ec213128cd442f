"""What order asks the coupon service, and what it makes of its answers."""

from dataclasses import replace
from typing import Any

import pytest

from common.errors import PeerUnavailable
from halfmessage.errors import Unavailable
from order.clients.coupon import Coupon, CouponClient, CouponRules
from order.model import REASONS, CouponChanged, CouponNotUsable, Order, Status
from tests.unit.test_order_clients import Peer

RULES = {
    "coupon_id": "5",
    "code": "TEN",
    "kind": "percent",
    "value": 10,
    "currency": None,
    "minimum_amount": 100,
    "user_id": "ann",
    "uses": 3,
    "uses_per_user": 1,
    "free": 1,
    "held": 1,
    "used": 1,
    "starts_at": "2026-01-01T00:00:00.000Z",
    "ends_at": None,
    "withdrawn": False,
    "version": 4,
}
KNOWN = Coupon(5, "percent", 10, None, 100, "ann", 1_767_225_600_000, None, withdrawn=False, version=4)


def _rules(*answers: Any) -> CouponRules:
    return CouponRules(Peer(*answers), max_age=60.0, timeout=5.0)  # type: ignore[arg-type]


def _client(*answers: Any, rules: CouponRules | None = None) -> CouponClient:
    return CouponClient(Peer(*answers), "coupon", rules or _rules())  # type: ignore[arg-type]


def _order(order_id: int, *, version: int | None = 4) -> Order:
    order = Order(order_id, 1, "ann", Status.CREATED, None, (), None, 250, "EUR", 0, 1, coupon_id=5)
    return replace(order, coupon_version=version)


def _decided(*items: dict[str, Any]) -> tuple[int, Any]:
    return 200, {"orders": list(items)}


def test_rules() -> None:
    """Rules are looked up by id, remembered, and looked up anew where that is asked for."""
    withdrawn = {**RULES, "withdrawn": True}
    rules = _rules((200, {"items": [RULES]}), (200, {"items": [withdrawn]}))
    assert rules.find([5]) == {5: KNOWN}
    assert rules.find([5]) == {5: KNOWN}
    assert rules.find([5], anew=True) == {5: replace(KNOWN, withdrawn=True)}
    assert rules.find([5]) == {5: replace(KNOWN, withdrawn=True)}


@pytest.mark.parametrize("changes", [{"kind": "gift"}, {"value": None}, {"ends_at": "soon"}, {"coupon_id": "6"}])
def test_rules_that_can_not_be_read(changes: dict[str, Any]) -> None:
    """Rules that are none of what was agreed on are no answer."""
    with pytest.raises(PeerUnavailable, match="coupon"):
        _rules((200, {"items": [RULES | changes]})).find([5])


def test_shared_rules_have_a_name_of_their_own() -> None:
    """What instances share is not taken for prices, nor rules of another form for these."""
    assert CouponRules.cache().startswith("coupons-")
    assert CouponRules.usable("5", b"null")
    assert not CouponRules.usable("5", b"{}")


def test_deduct() -> None:
    """A use is asked for with what was priced, by which version; verdicts come back as errors of their own."""
    answers = [
        {"order_id": "1", "verdict": "deducted", "reason": None},
        {"order_id": "2", "verdict": "refused", "reason": "used"},
        {"order_id": "3", "verdict": "changed", "reason": None},
        {"order_id": "4", "verdict": "released", "reason": None},
        {"order_id": "5", "verdict": "changed", "reason": "expired"},
    ]
    client = _client(_decided(*answers))
    told = client.deduct(9, [_order(number) for number in range(1, 6)])
    assert [told[number].is_held for number in range(1, 6)] == [True, *[False] * 4]
    refusals = [told[number].refusal for number in range(1, 6)]
    assert [type(refusal) for refusal in refusals] == [
        type(None),
        CouponNotUsable,
        CouponChanged,
        Unavailable,
        CouponChanged,
    ]
    assert refusals[1] is not None
    assert refusals[1].members == {"reason": "used"}
    assert client._peer.calls[0][2]["orders"][0] == {  # type: ignore[attr-defined]
        "order_id": "1",
        "coupon_id": "5",
        "user_id": "ann",
        "goods_amount": 250,
        "currency": "EUR",
        "version": 4,
    }


@pytest.mark.parametrize(
    "item", [{"verdict": "refused", "reason": None}, {"verdict": "refused"}, {"verdict": "changed", "reason": "bored"}]
)
def test_verdicts_that_can_not_be_read(item: dict[str, Any]) -> None:
    """A reason that was not agreed on is no answer: maybe held."""
    with pytest.raises(PeerUnavailable, match="coupon"):
        _client(_decided({"order_id": "1", **item})).deduct(9, [_order(1)])


def test_reserved_anew_by_the_rules_as_they_are() -> None:
    """The audit does not know what orders were priced by: the present rules are looked up; where none are, any do."""
    rules = _rules((200, {"items": [RULES | {"version": 6}]}))
    answers = [{"order_id": str(n), "verdict": "deducted", "reason": None} for n in (1, 2)]
    client = _client(_decided(*answers), rules=rules)
    client.deduct(9, [_order(1, version=None), replace(_order(2, version=None), coupon_id=8)], revive=True)
    body = client._peer.calls[0][2]  # type: ignore[attr-defined]
    assert [order["version"] for order in body["orders"]] == [6, 1]
    assert body["revive"] is True


def test_all_reasons_are_words_of_the_contract() -> None:
    """The reasons are those of the REST contract."""
    assert set(REASONS) == {"used", "expired", "not-started", "withdrawn", "below-minimum", "other-currency"}
