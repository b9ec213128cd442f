"""What the message `flash_purchase` says: who bought how much in a flash sale, and what it sells at which price."""

from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, model_validator

from halfmessage.participant.event import OrderEvent

MOST_OF_ONE: Final = 999
"""Pieces of one purchase: as many as one line of an order may have."""
APART_MS: Final = 60_000
"""That clocks may be where a purchase is looked for by the time of its id; and as long as one may take from then on."""

_Id = Annotated[int, Field(gt=0, lt=2**63), PlainSerializer(str, return_type=str)]


class Sold(BaseModel):
    """What a sale sells, as its goods were when it was opened; prices in minor units."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sale_id: _Id
    goods_id: _Id
    name: str
    brief: str
    image: str | None
    unit_price: Annotated[int, Field(ge=0)]
    market_price: int | None
    currency: str


class PurchaseEvent(OrderEvent):
    """Purchases (`order_ids` are their ids) that one transaction of the sale (`tx_id`) was to take pieces for.

    `users` and `quantities`: of each. Which of them got their pieces, the flash service knows: it is asked as a
    participant when their orders are placed.
    """

    sold: Sold
    users: tuple[str, ...]
    quantities: tuple[Annotated[int, Field(ge=1, le=MOST_OF_ONE)], ...]

    @model_validator(mode="after")
    def _is_one_of_each(self) -> Self:
        if not len(self.order_ids) == len(self.users) == len(self.quantities):
            raise ValueError("as many users and quantities as purchases")
        return self

    def part(self, which: slice) -> Self:
        """See `OrderEvent`."""
        members = {"order_ids": self.order_ids, "users": self.users, "quantities": self.quantities}
        return self.model_copy(update={name: of_each[which] for name, of_each in members.items()})
