"""What participants hold, compared with the orders that stand."""

from collections.abc import Mapping
from types import MappingProxyType

from ops.findings import Limits
from ops.holdings.coupon import CouponHoldings
from ops.holdings.flash import FlashHoldings
from ops.holdings.holdings import Holdings
from ops.holdings.stock import StockHoldings
from ops.ledgers import Orders
from order.clients.participant import client_of

__all__ = ["Holdings", "holdings_of"]

_THAT_COUNT: Mapping[str, type[Holdings]] = MappingProxyType(
    {"stock": StockHoldings, "coupon": CouponHoldings, "flash": FlashHoldings}
)
"""The participants with numbers of their own that must add up; of the others, what is held is all there is."""


def holdings_of(name: str, url: str, orders: Orders, limits: Limits) -> Holdings:
    """Open the database of a participant for reading. Raise `SchemaMismatch` where it is another release's."""
    return _THAT_COUNT.get(name, Holdings)(name, url, orders, limits, client_of(name))
