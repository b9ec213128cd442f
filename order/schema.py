"""What goes over the order service's REST interface."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from common.paging import Cursor, PageLimit, PageQuery, decode_cursor
from common.registry import SANDBOX
from common.reservations.schema import MAX_ORDERS
from common.schema import Id, Line, Money, Quantity, Query, Schema, Text, UserId, Word, distinct_by
from halfmessage.clock import rfc3339
from order.clients.pay import Payment, PaymentStatus
from order.model import CloseReason, Order, Reason, RequestState, Status
from order.service.entries import Entry
from order.service.paying import Elsewhere
from order.service.requests import OrderRequest, Standing
from order.service.sweeping import Findings

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Amount = Annotated[int, Field(ge=0, lt=2**53)]


class ItemIn(Schema):
    """A quantity of one goods."""

    goods_id: Id
    quantity: Quantity


class Receiver(Schema):
    """Who gets it; shown to the owner and to admins only."""

    name: Annotated[Line, Field(min_length=1, max_length=64)]
    phone: Annotated[Line, Field(min_length=1, max_length=32)]
    address: Annotated[Text, Field(min_length=1, max_length=255)]


_FIELDS_OF_0_1: Final = {"items", "receiver"}


class Pay(Schema):
    """Through whom an order is paid; `scenario`: how the sandbox is to behave, which others ignore."""

    provider: Word = SANDBOX
    scenario: Annotated[Line, Field(min_length=1, max_length=64)] | None = None


class Forget(Schema):
    """Whose orders' receivers are to be erased."""

    user_id: Annotated[Line, Field(min_length=1, max_length=64)]


class ForgottenOut(Schema):
    """How many orders, and order requests that wait, had a receiver and have none now."""

    orders: Annotated[int, Field(ge=0)]
    order_requests: Annotated[int, Field(ge=0)]


class PlaceOrder(Schema):
    """What is wanted. Who wants it and what it costs is known to the server."""

    items: Annotated[list[ItemIn], Field(min_length=1, max_length=50), distinct_by("goods_id")]
    receiver: Receiver | None = None
    coupon_id: Id | None = None

    def older_hashes(self) -> tuple[str, ...]:
        """Return what releases up to 0.1 stored with an Idempotency-Key.

        They hashed all fields, of which they had two. Delete it two releases later, when no key of theirs is kept.
        """
        if not self.model_fields_set <= _FIELDS_OF_0_1:
            return ()
        dumped = self.model_dump_json(include=_FIELDS_OF_0_1)
        return (hashlib.sha256(dumped.encode()).hexdigest(),)


class ItemOut(Schema):
    """A line of an order: the goods as they were when it was placed, prices in minor units."""

    goods_id: Id
    name: str
    brief: str
    image: str | None
    quantity: Quantity
    unit_price: Money
    market_price: Money | None


class PaymentOut(Schema):
    """The payment of an order; `provider`: who was last asked to take the money, or took it."""

    payment_id: Id
    status: PaymentStatus
    provider: str | None


class OrderOut(Schema):
    """An order; amounts in minor units of its currency.

    `sale_id`, `purchase_id`: where and by what it was bought in a flash sale, both null where it was not.
    """

    order_id: Id
    user_id: str
    status: Status
    close_reason: CloseReason | None
    items: list[ItemOut]
    receiver: Receiver | None
    coupon_id: Id | None
    sale_id: Id | None
    purchase_id: Id | None
    goods_amount: Amount
    discount_amount: Amount
    total_amount: Amount
    currency: str
    payment: PaymentOut | None
    created_at: Time
    expires_at: Time
    paid_at: Time | None
    closed_at: Time | None


def order_document(order: Order, payments: Mapping[int, Payment]) -> dict[str, Any]:
    """Return what `OrderOut` declares, its payment from those by order id.

    It comes from our own tables, so it is not validated again.
    """
    payment = payments.get(order.order_id)
    return {
        "order_id": str(order.order_id),
        "user_id": order.user_id,
        "status": order.status,
        "close_reason": order.close_reason,
        "items": [
            {
                "goods_id": str(line.goods_id),
                "name": line.name,
                "brief": line.brief,
                "image": line.image,
                "quantity": line.quantity,
                "unit_price": line.unit_price,
                "market_price": line.market_price,
            }
            for line in order.lines
        ],
        "receiver": order.receiver and asdict(order.receiver),
        "coupon_id": _id(order.coupon_id),
        "sale_id": _id(order.sale_id),
        "purchase_id": _id(order.purchase_id),
        "goods_amount": order.goods_amount,
        "discount_amount": order.discount_amount,
        "total_amount": order.total_amount,
        "currency": order.currency,
        "payment": payment
        and {"payment_id": str(order.order_id), "status": payment.status, "provider": payment.provider},
        "created_at": rfc3339(order.created_at),
        "expires_at": rfc3339(order.expires_at),
        "paid_at": _time(order.paid_at),
        "closed_at": _time(order.closed_at),
    }


def _id(number: int | None) -> str | None:
    return None if number is None else str(number)


def _time(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)


class OrdersQuery(PageQuery):
    """Which of one's orders to list."""

    status: Status | None = None


class OrdersOut(Schema):
    """A page of orders, newest first."""

    items: list[OrderOut]
    next_cursor: str | None


def page_document(shown: Sequence[Order], payments: Mapping[int, Payment], next_cursor: str | None) -> dict[str, Any]:
    """Return what `OrdersOut` declares."""
    return {"items": [order_document(order, payments) for order in shown], "next_cursor": next_cursor}


class OrderRequestOut(Schema):
    """An order that was submitted to be placed soon; `ahead`: requests before it, null if not known.

    `problem`: what placing it at once would have been answered with, which is why there is no order.
    """

    request_id: Id
    state: RequestState
    order_id: Id | None
    ahead: Annotated[int, Field(ge=0)] | None
    problem: dict[str, Any] | None
    submitted_at: Time
    decided_at: Time | None


def request_document(request: OrderRequest) -> dict[str, Any]:
    """Return what `OrderRequestOut` declares."""
    return {
        "request_id": str(request.request_id),
        "state": request.state,
        "order_id": _id(request.order_id),
        "ahead": request.ahead,
        "problem": request.problem,
        "submitted_at": rfc3339(request.submitted_at),
        "decided_at": _time(request.decided_at),
    }


class StandingsQuery(Schema):
    """The order requests that are asked about."""

    request_ids: Annotated[list[Id], Field(min_length=1, max_length=MAX_ORDERS)]


class StandingOut(Schema):
    """What became of an order request, and how its order stands; null where there is none."""

    request_id: Id
    state: RequestState
    order_id: Id | None
    status: Status | None


class StandingsOut(Schema):
    """Those of the order requests asked about that are known."""

    requests: list[StandingOut]

    @classmethod
    def of(cls, found: Mapping[int, Standing]) -> "StandingsOut":
        """Show them."""
        return cls(
            requests=[
                StandingOut(request_id=one, state=its.state, order_id=its.order_id, status=its.status)
                for one, its in sorted(found.items())
            ]
        )


class AnybodysQuery(Query):
    """Which of all users' orders to list, or of one user's."""

    limit: PageLimit = 20
    cursor: Cursor | None = None
    status: Status | None = None
    user_id: UserId | None = None

    @property
    def before(self) -> tuple[int, ...] | None:
        """Where the page before ended. Raise `Invalid`."""
        length = 2 if self.user_id is None and self.status is not None else 1
        return None if self.cursor is None else decode_cursor(self.cursor, length)


MOST_FOUND: Final = 20
"""Orders that are told of each way in which what was looked for may be meant."""


class FindQuery(Query):
    """What to look for: an order's id, a transaction's id, an Idempotency-Key, an X-Request-Id or a user."""

    q: Annotated[str, Field(pattern="^[!-~]{1,255}$")]


class FoundOut(Schema):
    """Orders that what was looked for may mean, newest first; `more`: there are others, which are not told."""

    way: Literal["order", "transaction", "idempotency-key", "x-request-id", "user"]
    items: list[OrderOut]
    more: bool


class FindOut(Schema):
    """What was found, one for each way in which it was; empty: nothing."""

    found: list[FoundOut]


def found_document(found: Mapping[str, Sequence[Order]], payments: Mapping[int, Payment]) -> dict[str, Any]:
    """Return what `FindOut` declares; one more than `MOST_FOUND` was looked for."""
    return {
        "found": [
            {
                "way": way,
                "items": [order_document(order, payments) for order in those[:MOST_FOUND]],
                "more": len(those) > MOST_FOUND,
            }
            for way, those in found.items()
            if those
        ]
    }


class PayAtOut(Schema):
    """Where the customer pays: the order is paid once the provider says that the money came."""

    order_id: Id
    payment_id: Id
    pay_url: str

    @classmethod
    def of(cls, elsewhere: Elsewhere) -> "PayAtOut":
        """Show it. A payment has its order's id."""
        return cls(order_id=elsewhere.order_id, payment_id=elsewhere.order_id, pay_url=elsewhere.pay_url)


class EntryOut(Schema):
    """Something that happened, and the evidence of it; what is not `known` says why in its evidence."""

    at: Time | None
    event: str
    source: str
    known: bool
    evidence: dict[str, Any]


class TimelineOut(Schema):
    """What happened to one order, in time order; unknown times last."""

    order_id: Id
    entries: list[EntryOut]

    @classmethod
    def of(cls, order_id: int, entries: list[Entry]) -> "TimelineOut":
        """Show a timeline."""
        return cls(
            order_id=order_id,
            entries=[
                EntryOut(at=_time(e.at), event=e.event, source=e.source, known=e.known, evidence=e.evidence)
                for e in entries
            ],
        )


class ShortItem(Schema):
    """Goods of which there is not enough."""

    goods_id: Id


class ShortMembers(Schema):
    """What `insufficient-stock` tells beside its detail."""

    items: list[ShortItem]


class ReasonMembers(Schema):
    """What `coupon-not-usable` tells beside its detail."""

    reason: Reason


class RefusedMembers(Schema):
    """What `payment-refused` tells beside its detail: the provider's words."""

    reason: str


class UnknownMembers(Schema):
    """What `outcome-unknown` tells beside its detail: the order to ask for later, null where none was placed yet."""

    order_id: Id | None


class SweepOut(Schema):
    """What one sweep did, in orders."""

    verified: int
    released: int
    confirmed: int
    closed: int
    reserved: int
    undecided: int
    violations: list[Id]

    @classmethod
    def of(cls, findings: Findings) -> "SweepOut":
        """Show findings."""
        return cls(
            verified=findings.verified,
            released=findings.released,
            confirmed=findings.confirmed,
            closed=findings.closed,
            reserved=findings.reserved,
            undecided=findings.undecided,
            violations=findings.violations,
        )
