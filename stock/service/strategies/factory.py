"""A setting → a strategy."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from common.errors import OrdersError
from stock.service.strategies.in_database import Conditional, Naive, Optimistic, Pessimistic
from stock.service.strategies.port import Strategy

if TYPE_CHECKING:
    from common.redis_client import RedisClient

_IN_DATABASE: Mapping[str, type[Strategy]] = {
    "conditional": Conditional,
    "pessimistic": Pessimistic,
    "optimistic": Optimistic,
    "naive": Naive,
}
NAMES = (*_IN_DATABASE, "redis-lock")


def make_strategy(name: str, redis: "RedisClient | None", *, production: bool) -> Strategy:
    """Return the strategy of that name. Raise `OrdersError` where it can't be used."""
    if name == "naive" and production:
        raise OrdersError("ORDERS_STOCK_STRATEGY is naive, which oversells; ORDERS_ENVIRONMENT says production")
    if name in _IN_DATABASE:
        return _IN_DATABASE[name]()
    if name == "redis-lock":
        if redis is None:
            raise OrdersError("ORDERS_STOCK_STRATEGY is redis-lock, which needs ORDERS_REDIS_URL")
        from stock.service.strategies.redis_lock import RedisLock  # noqa: PLC0415 - loads the library of Redis

        return RedisLock(redis)
    raise OrdersError(f"ORDERS_STOCK_STRATEGY: {name!r} is none of {', '.join(NAMES)}")
