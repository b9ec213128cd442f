"""A second participant for the order service's tests: uses of one coupon, kept in memory by the protocol's rules."""

from collections.abc import Collection
from typing import Any

from order.clients.coupon import Coupon, CouponRules
from order.clients.participant import Deduction
from order.model import CouponChanged, CouponNotUsable, Order, orders
from tests.faults import Faults
from tests.participants import InMemoryParticipant


class InMemoryRules(CouponRules):
    """`order.clients.coupon.CouponRules` without the network: as remembered, and as they are."""

    def __init__(self) -> None:
        self.known: dict[int, Coupon] = {}
        self.remembered: dict[int, Coupon] = {}
        self.asked: list[bool] = []
        """Whether each look-up was anew."""

    def add(self, coupon_id: int, **rules: Any) -> None:
        self.known[coupon_id] = Coupon(**(_RULES | {"coupon_id": coupon_id} | rules))

    def find(self, ids: Collection[int], *, anew: bool = False) -> dict[int, Coupon]:
        self.asked.append(anew)
        known = self.known if anew else self.known | self.remembered
        return {one: known[one] for one in ids if one in known}


_RULES: dict[str, Any] = {
    "kind": "amount", "value": 50, "currency": "EUR", "minimum_amount": 0, "user_id": None, "starts_at": None,
    "ends_at": None, "withdrawn": False, "version": 1,
}  # fmt: skip


class InMemoryCoupon(InMemoryParticipant):
    """Holds a use for each order with a coupon."""

    name = "coupon"
    needed = orders.c.coupon_id.is_not(None)
    hears_of_payment = True
    made_when_paid = False

    def __init__(self, faults: Faults, rules: InMemoryRules) -> None:
        super().__init__(faults)
        self.rules = rules
        self.uses = 10

    def needs(self, order: Order) -> bool:
        return order.coupon_id is not None

    def take(self, order: Order) -> Deduction | None:
        rules = self.rules.known.get(order.coupon_id or 0)
        if rules is not None and order.coupon_version not in {None, rules.version}:
            return Deduction("changed", CouponChanged(reason="expired"))
        if not self.uses:
            return Deduction("refused", CouponNotUsable(reason="used"))
        self.uses -= 1
        return None

    def give_back(self, order_id: int) -> None:
        del order_id
        self.uses += 1

    def held(self, order_id: int) -> dict[str, Any]:
        del order_id
        return {"coupon_id": "5"}
