"""The stock service: every order needs pieces."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import true

from common.peer import Peer
from halfmessage.errors import HalfMessageError
from order.clients.participant import ParticipantClient
from order.model import InsufficientStock, Order

NAME: Final = "stock"


class StockClient(ParticipantClient):
    """Reservations of pieces."""

    refusals = frozenset({"insufficient"})
    needed = true()

    def __init__(self, peer: Peer) -> None:
        """Take the stock service."""
        super().__init__(peer, NAME)

    def needs(self, order: Order) -> bool:  # noqa: ARG002 - every order
        """See `Participant`."""
        return True

    def want(self, order: Order) -> dict[str, Any]:
        """Return the order's pieces by goods."""
        return {"items": [{"goods_id": str(line.goods_id), "quantity": line.quantity} for line in order.lines]}

    def refusal(self, item: Mapping[str, Any]) -> HalfMessageError:
        """Return which goods are short."""
        return InsufficientStock(items=[{"goods_id": str(int(goods_id))} for goods_id in item["short"]])
