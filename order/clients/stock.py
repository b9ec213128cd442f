"""The stock service: every order needs pieces."""

from collections.abc import Mapping
from typing import Any

from halfmessage.errors import HalfMessageError
from order.clients.participant import ParticipantClient
from order.model import InsufficientStock, Order


class StockClient(ParticipantClient):
    """Reservations of pieces."""

    refusals = frozenset({"insufficient"})

    def want(self, order: Order) -> dict[str, Any]:
        """Return the order's pieces by goods."""
        return {"items": [{"goods_id": str(line.goods_id), "quantity": line.quantity} for line in order.lines]}

    def refusal(self, item: Mapping[str, Any]) -> HalfMessageError:
        """Return which goods are short."""
        return InsufficientStock(items=[{"goods_id": str(int(goods_id))} for goods_id in item["short"]])
