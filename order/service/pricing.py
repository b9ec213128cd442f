"""What an order costs: its goods as they are now, less what its coupon takes off."""

from collections.abc import Mapping
from dataclasses import dataclass

from common.errors import Invalid
from halfmessage.clock import now_ms
from order.clients.coupon import Coupon, CouponRules
from order.clients.goods import Goods, GoodsClient
from order.model import CouponNotUsable, Line, Reason, Sale, UnknownCoupon, UnknownGoods

_WHOLE = 100  # per cent


@dataclass(frozen=True, slots=True)
class Price:
    """Lines, and amounts in minor units; `coupon_version`: of the rules that the discount relies on."""

    lines: tuple[Line, ...]
    currency: str
    goods_amount: int
    discount_amount: int = 0
    coupon_version: int | None = None


class Pricing:
    """Prices orders."""

    def __init__(self, goods: GoodsClient, coupons: CouponRules | None) -> None:
        """Take what knows goods, and coupons where the deployment has them."""
        self._goods = goods
        self._coupons = coupons

    def price(self, user_id: str, quantities: Mapping[int, int], coupon_id: int | None, *, anew: bool = False) -> Price:
        """Price goods (id → quantity) for a user; `anew`: not by rules of the coupon that are remembered.

        Raise `UnknownGoods`, `Invalid`, `UnknownCoupon`, `CouponNotUsable` or `PeerUnavailable`.
        """
        goods = self._goods.find(quantities)
        lines = _lines(quantities, goods)
        currency = goods[lines[0].goods_id].currency
        amount = sum(line.unit_price * line.quantity for line in lines)
        if coupon_id is None:
            return Price(lines, currency, amount)
        coupon = self._coupon(coupon_id, user_id, anew=anew)
        reason = why_not(coupon, amount, currency, now_ms())
        if reason is not None:
            raise CouponNotUsable(reason=reason)
        return Price(lines, currency, amount, discount(coupon, amount), coupon.version)

    def _coupon(self, coupon_id: int, user_id: str, *, anew: bool) -> Coupon:
        found = self._coupons.find([coupon_id], anew=anew) if self._coupons is not None else {}
        coupon = found.get(coupon_id)
        if coupon is None or coupon.user_id not in {None, user_id}:
            raise UnknownCoupon(errors=[{"pointer": "/coupon_id", "message": "unknown"}])
        return coupon


def price_of(sale: Sale, quantities: Mapping[int, int]) -> Price:
    """Return what goods cost that were bought in a flash sale: what it told then, with no coupon."""
    lines = tuple(
        Line(goods_id, sale.name, sale.brief, sale.image, quantity, sale.unit_price, sale.market_price)
        for goods_id, quantity in quantities.items()
    )
    return Price(lines, sale.currency, sum(line.unit_price * line.quantity for line in lines))


def discount(coupon: Coupon, goods_amount: int) -> int:
    """Return what a coupon takes off, in minor units: never more than the goods cost; a percentage is rounded down."""
    if coupon.kind == "percent":
        return min(goods_amount, goods_amount * coupon.value // _WHOLE)
    return min(coupon.value, goods_amount)


def why_not(coupon: Coupon, goods_amount: int, currency: str, now: int) -> Reason | None:
    """Return why the rules refuse an order at a time (ms), None where they do not; uses are counted elsewhere."""
    reasons: dict[Reason, bool] = {
        "withdrawn": coupon.withdrawn,
        "expired": coupon.ends_at is not None and coupon.ends_at <= now,
        "not-started": coupon.starts_at is not None and coupon.starts_at > now,
        "other-currency": coupon.currency not in {None, currency},
        "below-minimum": goods_amount < coupon.minimum_amount,
    }
    return next((reason for reason, is_so in reasons.items() if is_so), None)


def _lines(quantities: Mapping[int, int], goods: Mapping[int, Goods]) -> tuple[Line, ...]:
    unknown = [
        {"pointer": f"/items/{position}/goods_id", "message": "unknown, or not on sale"}
        for position, goods_id in enumerate(quantities)
        if goods_id not in goods or not goods[goods_id].on_sale
    ]
    if unknown:
        raise UnknownGoods(errors=unknown)
    if len({goods[goods_id].currency for goods_id in quantities}) > 1:
        raise Invalid(errors=[{"pointer": "/items", "message": "goods of several currencies"}])
    return tuple(_line(goods[goods_id], quantity) for goods_id, quantity in quantities.items())


def _line(goods: Goods, quantity: int) -> Line:
    return Line(goods.goods_id, goods.name, goods.brief, goods.image, quantity, goods.unit_price, goods.market_price)
