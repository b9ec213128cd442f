"""What goes over the stock service's REST interface."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from common.chunks import LINES
from common.clock import rfc3339
from common.schema import Id, Quantity, Query, QueryInt, Schema, distinct_by
from stock.model import ReservationState, Verdict
from stock.service.levels import MOST, Level
from stock.service.reservations import Decision, Reservation, Unverified

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
MAX_ORDERS = 1000  # of one call
LONGEST_BODY = 512 * 1024  # bytes that as many orders and lines as one call takes have at most


class LevelOut(Schema):
    """The stock of one goods, in pieces."""

    goods_id: Id
    total: int
    available: int

    @classmethod
    def of(cls, level: Level) -> "LevelOut":
        """Show a level."""
        return cls(goods_id=level.goods_id, total=level.total, available=level.available)


class SetTotal(Schema):
    """The number of pieces there are, reserved ones included."""

    total: Annotated[int, Field(ge=0, le=MOST)]


class Restock(Schema):
    """The number of pieces that came in."""

    quantity: Annotated[int, Field(ge=1, le=MOST)]


class ItemIn(Schema):
    """A quantity of one goods."""

    goods_id: Id
    quantity: Quantity


class OrderIn(Schema):
    """What one order needs."""

    order_id: Id
    items: Annotated[list[ItemIn], Field(min_length=1, max_length=50), distinct_by("goods_id")]


def _few_lines(orders: list[OrderIn]) -> list[OrderIn]:
    if sum(len(order.items) for order in orders) > LINES:
        raise ValueError(f"List should have at most {LINES} items in all its orders together")
    return orders


class Deduct(Schema):
    """The orders of one transaction, of at most 5,000 items together."""

    tx_id: Id
    orders: Annotated[
        list[OrderIn],
        Field(min_length=1, max_length=MAX_ORDERS),
        distinct_by("order_id"),
        AfterValidator(_few_lines),
    ]
    revive: bool = False


class DecisionOut(Schema):
    """What one order got."""

    order_id: Id
    verdict: Verdict
    short: list[Id]


class Decisions(Schema):
    """What the orders got, in the order asked."""

    orders: list[DecisionOut]

    @classmethod
    def of(cls, decisions: list[Decision]) -> "Decisions":
        """Show decisions."""
        return cls(orders=[DecisionOut(order_id=d.order_id, verdict=d.verdict, short=list(d.short)) for d in decisions])


class ReservationOut(Schema):
    """A reservation; without items it is a tombstone."""

    order_id: Id
    tx_id: Id
    state: ReservationState
    verified: bool
    items: list[ItemIn]
    created_at: Time
    released_at: Time | None

    @classmethod
    def of(cls, found: Reservation) -> "ReservationOut":
        """Show a reservation."""
        return cls(
            order_id=found.order_id,
            tx_id=found.tx_id,
            state=found.state,
            verified=found.verified,
            items=[ItemIn(goods_id=goods_id, quantity=quantity) for goods_id, quantity in found.lines.items()],
            created_at=rfc3339(found.created_at),
            released_at=None if found.released_at is None else rfc3339(found.released_at),
        )


class UnverifiedQuery(Query):
    """Which live reservations to list: made before `older_than` (ms since the epoch), ids above `after`.

    `verified=any`: those too that the order service has confirmed.
    """

    older_than: Annotated[QueryInt, Field(ge=0, le=2**53)]
    after: Annotated[QueryInt, Field(ge=0, lt=2**63)] = 0
    limit: Annotated[QueryInt, Field(ge=1, le=MAX_ORDERS)] = 500
    verified: Literal["no", "any"] = "no"


class StatesQuery(Schema):
    """The orders whose reservations' states are asked for."""

    order_ids: Annotated[list[Id], Field(min_length=1, max_length=MAX_ORDERS)]


class UnverifiedItem(Schema):
    """A live reservation that nobody has confirmed."""

    order_id: Id
    tx_id: Id
    created_at: Time


class UnverifiedOut(Schema):
    """Live reservations that nobody has confirmed, lowest order id first."""

    items: list[UnverifiedItem]

    @classmethod
    def of(cls, found: list[Unverified]) -> "UnverifiedOut":
        """Show unverified reservations."""
        return cls(
            items=[UnverifiedItem(order_id=r.order_id, tx_id=r.tx_id, created_at=rfc3339(r.created_at)) for r in found]
        )


class FateIn(Schema):
    """The order service's word on one order: it stands, or it is void."""

    order_id: Id
    tx_id: Id
    fate: Literal["stands", "void"]


class Settle(Schema):
    """The order service's word on orders."""

    orders: Annotated[list[FateIn], Field(min_length=1, max_length=MAX_ORDERS), distinct_by("order_id")]


class StateOut(Schema):
    """The state of one order's reservation; null: there is none."""

    order_id: Id
    state: ReservationState | None


class Settled(Schema):
    """The states, after settling if that was asked for, in the order asked."""

    orders: list[StateOut]

    @classmethod
    def of(cls, order_ids: Sequence[int], states: Mapping[int, ReservationState]) -> "Settled":
        """Show the state of each order's reservation."""
        return cls(orders=[StateOut(order_id=order_id, state=states.get(order_id)) for order_id in order_ids])
