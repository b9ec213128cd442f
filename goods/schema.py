"""What comes in and goes out over REST."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationInfo, field_validator

from common.paging import Page
from common.schema import Currency, Id, Line, Money, Schema, Text
from goods import service

Name = Annotated[Line, Field(min_length=1, max_length=128)]
Brief = Annotated[Text, Field(max_length=1024)]


def _ipv6() -> str:
    """Return a pattern of IPv6 addresses (RFC 4291): readers of a URL choke on brackets with anything else in them."""
    group = "[0-9A-Fa-f]{1,4}"
    halves = [
        (":".join([group] * left), f"(?:{group}(?::{group}){{0,{6 - left}}})?" if left < 7 else "")  # noqa: PLR2004
        for left in range(8)
    ]
    return f"(?:{':'.join([group] * 8)}|{'|'.join(f'{left}::{right}' for left, right in halves)})"


_IPV6 = _ipv6()
ImageUrl = Annotated[
    str,
    StringConstraints(
        max_length=2048, pattern=rf"^https?://(?:[A-Za-z0-9._-]+|\[{_IPV6}\])(?::[0-9]{{1,5}})?(?:[/?#][!-~]*)?$"
    ),
    Field(description="http or https; anything else in it percent-encoded, its host in ASCII"),
]
Images = Annotated[tuple[ImageUrl, ...], Field(max_length=10)]
MarketPrice = Annotated[Money, Field(description="what it costs elsewhere; the unit price unless told")]


class GoodsOut(Schema):
    """One thing that is sold."""

    goods_id: Id
    name: Name
    brief: Brief
    category_id: Id | None
    unit_price: Money
    market_price: Money
    currency: Currency
    images: Images
    on_sale: bool

    @classmethod
    def of(cls, goods: service.Goods) -> "GoodsOut":
        """Write goods; they were checked on their way in, and this is the most frequent call."""
        return cls.model_construct(**{name: getattr(goods, name) for name in cls.model_fields})


class NewGoods(Schema):
    """Goods to add."""

    name: Name
    unit_price: Money
    currency: Currency
    brief: Brief = ""
    category_id: Id | None = None
    market_price: MarketPrice = Field(default_factory=int)  # not read: see parsed
    images: Images = ()
    on_sale: bool = True

    def parsed(self) -> service.NewGoods:
        """Return it as the use case takes it: the market price is the unit price unless told."""
        is_given = "market_price" in self.model_fields_set
        return service.NewGoods(**{**dict(self), "market_price": self.market_price if is_given else self.unit_price})


class ChangedGoods(Schema):
    """What to change; what is left out stays, so an empty object changes nothing. The currency never changes."""

    # The defaults are never read: what is not in model_fields_set is left out.
    name: Name = Field(default_factory=str)
    unit_price: Money = Field(default_factory=int)
    brief: Brief = Field(default_factory=str)
    category_id: Id | None = None
    market_price: Money = Field(default_factory=int)
    images: Images = Field(default_factory=tuple)
    on_sale: bool = Field(default_factory=bool)

    def parsed(self) -> dict[str, Any]:
        """Return what is set, as the database takes it."""
        changes = {name: getattr(self, name) for name in self.model_fields_set}
        return changes | {"images": list(self.images)} if "images" in changes else changes


class GoodsPage(Page[GoodsOut]):
    """Goods, newest first."""


class RoomList(Schema):
    """The goods of a live room, in the host's order, and the one shown now."""

    goods_ids: tuple[Id, ...] = Field(max_length=500, json_schema_extra={"uniqueItems": True})
    current_goods_id: Id | None = Field(default=None, description="one of goods_ids")

    @field_validator("goods_ids")
    @classmethod
    def _once(cls, goods_ids: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(goods_ids)) < len(goods_ids):
            raise ValueError("The same goods should not be in it twice")
        return goods_ids

    @field_validator("current_goods_id")
    @classmethod
    def _in_the_list(cls, current: int | None, info: ValidationInfo) -> int | None:
        if current is not None and current not in info.data.get("goods_ids", (current,)):
            raise ValueError("Input should be one of goods_ids")
        return current


class RoomOut(Schema):
    """A live room's goods."""

    room_id: Id
    current_goods_id: Id | None
    items: tuple[GoodsOut, ...]

    @classmethod
    def of(cls, room: service.Room) -> "RoomOut":
        """Write a room."""
        items = tuple(GoodsOut.of(one) for one in room.items)
        return cls(room_id=room.room_id, current_goods_id=room.current_goods_id, items=items)
