"""What the order service calls: the services of its deployment, and what it looks up and reserves there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from common.aside import Aside
from common.auth import ServiceToken
from common.cache import SharedCache
from common.config import Settings
from common.errors import OrdersError
from common.peer import Peer, Watch
from common.redis_client import RedisClient
from order.clients import coupon, stock
from order.clients.coupon import CouponClient, CouponRules
from order.clients.goods import GoodsClient
from order.clients.lookups import LookUps
from order.clients.stock import StockClient
from order.service.participants import Participant


@dataclass(slots=True)
class Outside:
    """Other services, by name, and their clients; `coupons` where the deployment has them."""

    peers: Mapping[str, Peer]
    goods: GoodsClient
    coupons: CouponRules | None
    participants: list[Participant] = field(default_factory=list)


def outside(settings: Settings, redis: RedisClient | None, watch: Watch, aside: Aside) -> Outside:
    """Return the services that the settings name; prices and rules are shared through `redis` where there is one.

    `aside` starts what is looked up ahead: prices and rules, one of each at a time.

    Raise `OrdersError` for a participant without a client.
    """
    token = ServiceToken(settings.jwt_secret.get_secret_value(), "order")
    names = settings.participant_names
    if unknown := sorted(set(names) - {coupon.NAME, stock.NAME}):
        raise OrdersError(f"ORDERS_PARTICIPANTS names {unknown[0]}, of which order/clients has no client.")
    urls = {"stock": settings.stock_url, "goods": settings.goods_url, "coupon": settings.coupon_url}
    peers = {
        name: Peer(name, urls[name], token, timeout=settings.peer_timeout, connections=settings.threads, watch=watch)
        for name in ("goods", *names)
    }

    def looking_up(kind: type[LookUps[Any]]) -> dict[str, Any]:
        shared = redis and SharedCache(redis, kind.cache(), usable=kind.usable, max_age=settings.goods_cache)
        return {"max_age": settings.goods_cache, "timeout": settings.peer_timeout, "shared": shared, "aside": aside}

    found = Outside(peers, GoodsClient(peers["goods"], **looking_up(GoodsClient)), None)
    for name in names:
        if name == coupon.NAME:
            found.coupons = CouponRules(peers[name], **looking_up(CouponRules))
            found.participants.append(CouponClient(peers[name], found.coupons))
        else:
            found.participants.append(StockClient(peers[name]))
    return found
