"""The stock service: every order needs pieces, but for those of a flash sale, which owns its own."""

from collections.abc import Mapping
from typing import Any

from halfmessage.errors import HalfMessageError
from order.clients.participant import ParticipantClient
from order.model import InsufficientStock, Order, orders


class StockClient(ParticipantClient):
    """Reservations of pieces."""

    refusals = frozenset({"insufficient"})
    needed = orders.c.sale_id.is_(None)

    def needs(self, order: Order) -> bool:
        """See `Participant`."""
        return order.sale_id is None

    def want(self, order: Order) -> dict[str, Any]:
        """Return the order's pieces by goods."""
        return {"items": [{"goods_id": str(line.goods_id), "quantity": line.quantity} for line in order.lines]}

    def refusal(self, item: Mapping[str, Any]) -> HalfMessageError:
        """Return which goods are short."""
        return InsufficientStock(items=[{"goods_id": str(int(goods_id))} for goods_id in item["short"]])
