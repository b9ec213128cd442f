"""What goes over the stock service's REST interface."""

from typing import Annotated, Literal

from pydantic import Field

from common.reservations.schema import DecisionOut, ReservationOut, WantIn
from common.schema import Id, Quantity, Schema, distinct_by
from stock.service.levels import MOST


class LevelOut(Schema):
    """The stock of one goods, in pieces."""

    goods_id: Id
    total: int
    available: int


class SetTotal(Schema):
    """The number of pieces there are, reserved ones included."""

    total: Annotated[int, Field(ge=0, le=MOST)]


class Restock(Schema):
    """The number of pieces that came in."""

    quantity: Annotated[int, Field(ge=1, le=MOST)]


class Withdraw(Schema):
    """The number of pieces that are gone: broken, lost, or sold elsewhere."""

    quantity: Annotated[int, Field(ge=1, le=MOST)]


class AllotmentIn(Schema):
    """The pieces that a sale is to own from now on; `version`: the number of this word, the latest counts."""

    goods_id: Id
    quantity: Annotated[int, Field(ge=0, le=MOST)]
    version: Annotated[int, Field(ge=1, lt=2**63)]


class AllotmentOut(AllotmentIn):
    """The pieces that a sale owns."""

    sale_id: Id


class ItemIn(Schema):
    """A quantity of one goods."""

    goods_id: Id
    quantity: Quantity


class OrderIn(WantIn):
    """What one order needs."""

    items: Annotated[list[ItemIn], Field(min_length=1, max_length=50), distinct_by("goods_id")]

    def want(self) -> dict[int, int]:
        """Return quantities by goods id."""
        return {item.goods_id: item.quantity for item in self.items}

    def rows(self) -> int:
        """Return the number of its lines."""
        return len(self.items)


class PiecesDecision(DecisionOut):
    """What one order got; `short`: the goods that were wanting."""

    verdict: Literal["deducted", "insufficient", "released"]
    short: tuple[Id, ...] = ()


class PiecesReservation(ReservationOut):
    """A reservation; without items it is a tombstone."""

    items: list[ItemIn]
