"""The coupon service: rules to price by, and a use of a coupon for each order that has one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import ConfigDict, TypeAdapter

from common.answers import one_of
from common.peer import Peer
from halfmessage.chunks import chunks
from halfmessage.clock import from_rfc3339
from halfmessage.errors import HalfMessageError
from order.clients.lookups import LookUps
from order.clients.participant import Deduction, LookUpAt, ParticipantClient
from order.model import REASONS, CouponChanged, CouponNotUsable, Order, orders

_TOGETHER = 200  # coupons in one look-up
_KINDS: Final[tuple[Literal["amount", "percent"], ...]] = ("amount", "percent")


@dataclass(frozen=True, slots=True)
class Coupon:
    """The rules of a coupon as they are now; amounts in minor units, times in ms since the epoch.

    `value`: minor units of its currency, or a percentage. Without a currency it is good for any, without a `user_id`
    for everybody.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    coupon_id: int
    kind: Literal["amount", "percent"]
    value: int
    currency: str | None
    minimum_amount: int
    user_id: str | None
    starts_at: int | None
    ends_at: int | None
    withdrawn: bool
    version: int


class CouponRules(LookUps[Coupon]):
    """The rules of coupons."""

    service = "coupon"
    items = "coupons"
    id_name = "coupon_id"
    shape = Coupon
    shared_form = TypeAdapter(Coupon | None)

    @staticmethod
    def read(item: Mapping[str, Any]) -> Coupon:
        """See `LookUps`."""
        return Coupon(
            int(item["coupon_id"]),
            one_of(_KINDS, item["kind"]),
            int(item["value"]),
            item["currency"],
            int(item["minimum_amount"]),
            item["user_id"],
            _time(item["starts_at"]),
            _time(item["ends_at"]),
            bool(item["withdrawn"]),
            int(item["version"]),
        )


def _time(text: str | None) -> int | None:
    return None if text is None else from_rfc3339(text)


class CouponClient(ParticipantClient):
    """Reservations of uses."""

    refusals = frozenset({"refused", "changed"})
    needed = orders.c.coupon_id.is_not(None)
    hears_of_payment = True
    seldom_needed = True

    def __init__(self, peer: Peer, name: str, rules: CouponRules) -> None:
        """Take the coupon service, its name, and what looks up the rules of coupons."""
        super().__init__(peer, name)
        self.rules = rules

    @classmethod
    def connect(cls, peer: Peer, name: str, look_up_at: LookUpAt) -> Self:
        """See `ParticipantClient`."""
        return cls(peer, name, look_up_at(CouponRules, peer))

    def needs(self, order: Order) -> bool:
        """See `Participant`."""
        return order.coupon_id is not None

    def deduct(self, tx_id: int, orders: Sequence[Order], *, revive: bool = False) -> dict[int, Deduction]:
        """See `Participant`. An order that was not priced just now relies on the rules as they are."""
        if any(order.coupon_version is None for order in orders):
            orders = self._by_present_rules(orders)
        return super().deduct(tx_id, orders, revive=revive)

    def _by_present_rules(self, orders: Sequence[Order]) -> list[Order]:
        coupon_ids = {order.coupon_id or 0 for order in orders}
        versions: dict[int | None, int] = {}
        for part in chunks(coupon_ids, _TOGETHER):
            versions |= {one: rules.version for one, rules in self.rules.find(part, anew=True).items()}
        return [replace(order, coupon_version=versions.get(order.coupon_id)) for order in orders]

    def want(self, order: Order) -> dict[str, Any]:
        """Return the coupon, whose it is to be, and what was priced by which version of it."""
        return {
            "coupon_id": str(order.coupon_id),
            "user_id": order.user_id,
            "goods_amount": order.goods_amount,
            "currency": order.currency,
            "version": order.coupon_version or 1,
        }

    def refusal(self, item: Mapping[str, Any]) -> HalfMessageError:
        """Return why the coupon can't be used, or that it is not what the order was priced by."""
        if item["verdict"] == "changed":
            return CouponChanged(reason=one_of((*REASONS, None), item["reason"]) or "expired")
        return CouponNotUsable(reason=one_of(REASONS, item["reason"]))
