"""What the reservations of coupons hold: a use of one coupon each."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row

from common.db import Database
from coupon.model import coupon_users, coupon_uses, coupons, reservations
from halfmessage.participant.effect import Refusal
from halfmessage.participant.limited import Limited, Use
from halfmessage.participant.reservations import Reservations

REFUSED: Final = "refused"
CHANGED: Final = "changed"


@dataclass(frozen=True, slots=True)
class Want(Use):
    """The coupon that an order is to use; `version`: of its rules, when the order was priced."""

    goods_amount: int
    currency: str
    version: int


class Uses(Limited[Want]):
    """Takes a use of a coupon, as its rules have it."""

    def refusal(self, thing: Row[Any] | None, want: Want, now: int, more: int, taken: int) -> Refusal | None:
        """See `Limited`; `changed` where an order was priced by another rule than is in force now."""
        if thing is None or thing.user_id not in {None, want.user_id} or thing.version != want.version:
            return Refusal(CHANGED)
        if thing.ends_at is not None and thing.ends_at <= now:
            return Refusal(CHANGED, {"reason": "expired"})
        reasons = {
            "withdrawn": thing.withdrawn,
            "not-started": thing.starts_at is not None and thing.starts_at > now,
            "other-currency": thing.currency not in {None, want.currency},
            "below-minimum": want.goods_amount < thing.minimum_amount,
            "used": thing.held + thing.used + more >= thing.uses or taken >= thing.uses_per_user,
        }
        reason = next((reason for reason, breaks in reasons.items() if breaks), None)
        return None if reason is None else Refusal(REFUSED, {"reason": reason})

    def unfit(self, want: Want) -> Refusal:  # noqa: ARG002 - whatever it wants
        """Return that no use is left: the counts are wrong already."""
        return Refusal(REFUSED, {"reason": "used"})


def coupon_reservations(database: Database) -> Reservations[Want]:
    """Return the coupon service's reservations."""
    return Reservations("coupon", database, reservations, Uses(coupons.c.coupon_id, coupon_uses, coupon_users))
