"""The goods service: prices."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter

from order.clients.lookups import LookUps


@dataclass(frozen=True, slots=True)
class Goods:
    """Goods as they are now; prices in minor units of the currency."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    goods_id: int
    name: str
    brief: str
    image: str | None
    unit_price: int
    market_price: int | None
    currency: str
    on_sale: bool


class GoodsClient(LookUps[Goods]):
    """Goods, their prices among them."""

    service = items = "goods"
    id_name = "goods_id"
    shape = Goods
    shared_form = TypeAdapter(Goods | None)

    @staticmethod
    def read(item: Mapping[str, Any]) -> Goods:
        """See `LookUps`."""
        images = item["images"]
        return Goods(
            int(item["goods_id"]),
            item["name"],
            item["brief"] or "",
            images[0] if images else None,
            item["unit_price"],
            item["market_price"],
            item["currency"],
            item["on_sale"],
        )
