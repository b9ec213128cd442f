"""The coupons of a run, and what each order that has one must be like."""

from dataclasses import dataclass
from typing import Final

from lab.simulate.scheduler import BEGIN

OFF: Final = 11
FREE: Final = 12
"""Coupons for everybody, at any time: one that takes something off, and one that leaves nothing to pay."""
_BEGIN: Final = BEGIN // 1_000_000  # ms since the epoch


@dataclass(frozen=True, slots=True)
class Coupon:
    """One coupon; times in ms since the epoch, amounts in minor units."""

    coupon_id: int
    kind: str = "percent"
    value: int = 10
    uses: int = 100
    uses_per_user: int = 100
    currency: str | None = None
    minimum_amount: int = 0
    user_id: str | None = None
    starts_at: int | None = None
    ends_at: int | None = None

    def discount(self, amount: int) -> int:
        """Return what it takes off."""
        return min(amount, amount * self.value // 100 if self.kind == "percent" else self.value)

    def breaks(self, user: str, amount: int, taken_off: int, held_at: int, withdrawn_at: int | None) -> str | None:
        """Return which rule an order breaks that costs so much without it, and whose use was taken at a time (ms).

        `withdrawn_at`: when an operator had been told that this coupon is withdrawn.
        """
        rules = {
            "is another user's": self.user_id not in {None, user},
            "asks for more": amount < self.minimum_amount,
            "has not started": self.starts_at is not None and held_at < self.starts_at,
            "is over": self.ends_at is not None and held_at >= self.ends_at,
            "is withdrawn": withdrawn_at is not None and held_at > withdrawn_at,
            "is of another currency": self.currency not in {None, "EUR"},
            "takes something else off": taken_off != self.discount(amount),
        }
        return next((rule for rule, is_broken in rules.items() if is_broken), None)


COUPONS: Final = {
    one.coupon_id: one
    for one in (
        Coupon(OFF, value=15, uses=3, uses_per_user=2),
        Coupon(FREE, value=100, uses_per_user=2),
        Coupon(13, user_id="user-0"),
        Coupon(14, minimum_amount=1200),
        Coupon(15, ends_at=_BEGIN + 6_000),
        Coupon(16, starts_at=_BEGIN + 4_000),
        Coupon(17, kind="amount", value=1100, currency="EUR"),
        Coupon(18, kind="amount", value=100, currency="USD"),
        Coupon(19, uses=1, uses_per_user=1),
        Coupon(20, value=33),
    )
}
RULED: Final = tuple(one for one in COUPONS if one not in {OFF, FREE})
"""Those that not every order may have."""
WITHDRAWN: Final = 20
WITHDRAWN_AFTER: Final = 5.0
"""The one that an operator withdraws, and when: in seconds from the beginning."""
