"""What the order service calls: the services of its deployment, and what it looks up and reserves there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from common.aside import Aside
from common.cache import SharedCache
from common.config import Settings
from common.our_tokens import tokens_of
from common.peer import Peer, Watch
from order.clients.coupon import CouponClient, CouponRules
from order.clients.flash import FlashClient
from order.clients.goods import GoodsClient
from order.clients.lookups import LookUps
from order.clients.participant import ParticipantClient, client_of
from order.clients.pay import PayClient

if TYPE_CHECKING:
    from common.redis_client import RedisClient

L = TypeVar("L", bound=LookUps[Any])


@dataclass(frozen=True, slots=True)
class Outside:
    """Other services, by name, and their clients."""

    peers: Mapping[str, Peer]
    goods: GoodsClient
    participants: Sequence[ParticipantClient]

    @property
    def coupons(self) -> CouponRules | None:
        """The rules of coupons, where the deployment has them."""
        return next((one.rules for one in self.participants if isinstance(one, CouponClient)), None)

    @property
    def payments(self) -> PayClient | None:
        """The pay service, where the deployment has it."""
        return next((one for one in self.participants if isinstance(one, PayClient)), None)

    @property
    def flash(self) -> FlashClient | None:
        """The flash service, where the deployment has it."""
        return next((one for one in self.participants if isinstance(one, FlashClient)), None)

    @property
    def optional(self) -> tuple[str, ...]:
        """The participants that are down without harm to an order that does not need them."""
        return tuple(one.name for one in self.participants if one.seldom_needed)

    @property
    def needed(self) -> list[Callable[[], object]]:
        """What raises `PeerUnavailable` while a service is down that every order needs."""
        return [peer.ready for name, peer in self.peers.items() if name not in self.optional]


def outside(settings: Settings, redis: "RedisClient | None", watch: Watch, aside: Aside) -> Outside:
    """Return the services that the settings name; prices and rules are shared through `redis` where there is one.

    `aside` starts what is looked up ahead: prices and rules, one of each at a time.

    Raise `OrdersError` for a participant without a client, or where there is no key to call others with.
    """
    token = tokens_of(settings, "order")
    kinds = {name: client_of(name) for name in settings.participant_names}
    peers = {
        name: Peer(
            name,
            settings.url(name),
            token(name),
            timeout=settings.peer_timeout,
            connections=settings.threads,
            watch=watch,
        )
        for name in ("goods", *kinds)
    }

    def look_up_at(kind: type[L], peer: Peer) -> L:
        max_age = settings.goods_cache
        shared = SharedCache(redis, kind.cache(), usable=kind.usable, max_age=max_age) if redis else None
        return kind(peer, max_age=max_age, timeout=settings.peer_timeout, shared=shared, aside=aside)

    participants = [kind.connect(peers[name], name, look_up_at) for name, kind in kinds.items()]
    return Outside(peers, look_up_at(GoodsClient, peers["goods"]), participants)
