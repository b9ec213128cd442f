"""What goes over the internal REST calls of a participant; it brings a `WantIn`, and what it tells beside."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, create_model

from common.schema import Id, Query, QueryInt, Schema, distinct_by
from halfmessage.chunks import LINES
from halfmessage.clock import rfc3339
from halfmessage.participant.deducting import Decision
from halfmessage.participant.model import Fate, ReservationState
from halfmessage.participant.reservations import Reservation, Unverified

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
MAX_ORDERS = 1000  # of one call
LONGEST_BODY = 512 * 1024  # bytes that as many orders and lines as one call takes have at most


class WantIn(Schema, ABC):
    """What one order wants; a participant's has its own fields beside the id, and says what they mean."""

    order_id: Id

    @abstractmethod
    def want(self) -> Any:
        """Return it as the participant's effect takes it."""

    def rows(self) -> int:
        """Return how many rows taking it writes; one call may have `halfmessage.chunks.LINES`."""
        return 1


class Deduct(Schema):
    """The orders of one transaction; a participant's has its `WantIn`: see `deduct_body`."""

    tx_id: Id
    orders: Sequence[WantIn]
    revive: bool = False

    def wants(self) -> dict[int, Any]:
        """Return the wants by order id."""
        return {order.order_id: order.want() for order in self.orders}


def _few_rows(orders: Sequence[WantIn]) -> Sequence[WantIn]:
    if sum(order.rows() for order in orders) > LINES:
        raise ValueError(f"List should have at most {LINES} items in all its orders together")
    return orders


def deduct_body(want: type[WantIn]) -> type[Deduct]:
    """Return the body of a participant's `POST /reservations`: at most `MAX_ORDERS` orders, `LINES` rows in all."""
    bounds = (Field(min_length=1, max_length=MAX_ORDERS), distinct_by("order_id"), AfterValidator(_few_rows))
    orders = Annotated[list[want], *bounds]  # type: ignore[valid-type]
    doc = f"The orders of one transaction, of at most {LINES:,} items together."
    return create_model("Deduct", __base__=Deduct, __doc__=doc, orders=(orders, ...))


class DecisionOut(Schema):
    """What one order got: a participant's names its words, and adds the members of its refusals (with defaults)."""

    order_id: Id
    verdict: str

    @classmethod
    def of(cls, decision: Decision) -> Self:
        """Show a decision."""
        return cls(order_id=decision.order_id, verdict=decision.verdict, **decision.members)


class Decisions(Schema):
    """What the orders got; a participant's has its `DecisionOut`: see `decisions_answer`."""

    orders: Sequence[DecisionOut]


def decisions_answer(decision: type[DecisionOut]) -> type[Decisions]:
    """Return the answer of a participant's `POST /reservations`."""
    orders = list[decision]  # type: ignore[valid-type]
    doc = "What the orders got, in the order asked."
    return create_model("Decisions", __base__=Decisions, __doc__=doc, orders=(orders, ...))


class ReservationOut(Schema):
    """A reservation or a tombstone: a participant's adds what is held (with defaults), see `Effect.describe`."""

    order_id: Id
    tx_id: Id
    state: ReservationState
    verified: bool
    created_at: Time
    released_at: Time | None

    @classmethod
    def of(cls, found: Reservation) -> Self:
        """Show a reservation."""
        return cls(
            order_id=found.order_id,
            tx_id=found.tx_id,
            state=found.state,
            verified=found.verified,
            created_at=rfc3339(found.created_at),
            released_at=None if found.released_at is None else rfc3339(found.released_at),
            **found.held,
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
    """A live reservation that is not confirmed."""

    order_id: Id
    tx_id: Id
    created_at: Time


class UnverifiedOut(Schema):
    """Live reservations that are not confirmed, lowest order id first."""

    items: list[UnverifiedItem]

    @classmethod
    def of(cls, found: list[Unverified]) -> Self:
        """Show unverified reservations."""
        return cls(
            items=[UnverifiedItem(order_id=r.order_id, tx_id=r.tx_id, created_at=rfc3339(r.created_at)) for r in found]
        )


class FateIn(Schema):
    """The order service's word on one order: it stands, it is void, or it is paid (and stands)."""

    order_id: Id
    tx_id: Id
    fate: Fate


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
    def of(cls, order_ids: Sequence[int], states: Mapping[int, ReservationState]) -> Self:
        """Show the state of each order's reservation."""
        return cls(orders=[StateOut(order_id=order_id, state=states.get(order_id)) for order_id in order_ids])
