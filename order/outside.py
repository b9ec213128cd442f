"""What the order service calls: the services of its deployment, and what it looks up and reserves there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from common.auth import ServiceToken
from common.cache import SharedCache
from common.config import Settings
from common.errors import OrdersError
from common.peer import Peer, Watch
from common.redis_client import RedisClient
from order.clients import coupon, pay, stock
from order.clients.coupon import CouponClient, CouponRules
from order.clients.goods import GoodsClient
from order.clients.lookups import LookUps
from order.clients.pay import PayClient
from order.clients.stock import StockClient
from order.service.participants import Participant

_PROVIDERS_WITHIN: Final = 32.0  # seconds for calls that wait for a provider; more than any of them may ask for


@dataclass(slots=True)
class Outside:
    """Other services, and their clients; `coupons` and `payments` where the deployment has them.

    `peers`: by the names of the services, for who asks whether they are ready; `links`: all that is to be closed.
    """

    peers: Mapping[str, Peer]
    links: list[Peer]
    goods: GoodsClient
    coupons: CouponRules | None = None
    payments: PayClient | None = None
    participants: list[Participant] = field(default_factory=list)


def outside(settings: Settings, redis: RedisClient | None, watch: Watch) -> Outside:
    """Return the services that the settings name; prices and rules are shared through `redis` where there is one.

    Raise `OrdersError` for a participant without a client.
    """
    token = ServiceToken(settings.jwt_secret.get_secret_value(), "order")
    names = settings.participant_names
    if unknown := sorted(set(names) - {coupon.NAME, pay.NAME, stock.NAME}):
        raise OrdersError(f"ORDERS_PARTICIPANTS names {unknown[0]}, of which order/clients has no client.")
    peers = {name: _peer(settings, name, token, watch) for name in ("goods", *names)}

    def looking_up(kind: type[LookUps[Any]]) -> dict[str, Any]:
        shared = redis and SharedCache(redis, kind.cache(), usable=kind.usable, max_age=settings.goods_cache)
        return {"max_age": settings.goods_cache, "timeout": settings.peer_timeout, "shared": shared}

    found = Outside(peers, list(peers.values()), GoodsClient(peers["goods"], **looking_up(GoodsClient)))
    for name in names:
        if name == coupon.NAME:
            found.coupons = CouponRules(peers[name], **looking_up(CouponRules))
            found.participants.append(CouponClient(peers[name], found.coupons))
        elif name == pay.NAME:
            found.links.append(providers := _peer(settings, name, token, watch, patience=_PROVIDERS_WITHIN))
            found.payments = PayClient(peers[name], providers, last_question=settings.last_question)
            found.participants.append(found.payments)
        else:
            found.participants.append(StockClient(peers[name]))
    return found


def _peer(settings: Settings, name: str, token: ServiceToken, watch: Watch, *, patience: float = 0) -> Peer:
    """Return a service; its calls end within the time that is set for peers, or `patience` seconds if that is longer.

    One with `patience` is beside the other of its name, and tells of itself under a name of its own.
    """
    told: Watch = (lambda peer, *rest: watch(f"{peer} (providers)", *rest)) if patience else watch
    timeout = max(settings.peer_timeout, patience)
    return Peer(
        name, getattr(settings, f"{name}_url"), token, timeout=timeout, connections=settings.threads, watch=told
    )
