"""The goods service: what a sale sells."""

from dataclasses import dataclass
from http import HTTPStatus

from common.answers import readable
from common.errors import Invalid, PeerUnavailable
from common.peer import Peer


class UnknownGoods(Invalid):
    """There are no such goods."""

    slug, title = "unknown-goods", "Unknown goods"


@dataclass(frozen=True, slots=True)
class Goods:
    """Goods as they are now; money in minor units."""

    name: str
    brief: str
    image: str | None
    market_price: int | None
    currency: str


class GoodsClient:
    """Goods by id."""

    def __init__(self, peer: Peer) -> None:
        """Take the goods service."""
        self._peer = peer

    def get(self, goods_id: int) -> Goods:
        """Return the goods, on sale otherwise or not. Raise `UnknownGoods` or `PeerUnavailable`."""
        status, answer = self._peer.call("GET", f"/goods/{goods_id}")
        if status == HTTPStatus.NOT_FOUND:
            raise UnknownGoods(errors=[{"pointer": "/goods_id", "message": "unknown"}])
        if status != HTTPStatus.OK:
            raise PeerUnavailable(f"The goods service refused a call ({status}); nothing was changed, try again.")
        with readable("goods"):
            images, market_price = answer["images"], answer["market_price"]
            return Goods(
                str(answer["name"]),
                str(answer["brief"] or ""),
                str(images[0]) if images else None,
                None if market_price is None else int(market_price),
                str(answer["currency"]),
            )
