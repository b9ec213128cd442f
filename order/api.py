"""The order service over REST."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from common.errors import TooManyRequests
from common.idempotency import key_of
from common.paging import encode_cursor
from common.reservations.schema import LONGEST_BODY
from common.web import Api, ProblemWith, Reply, current_identity, current_request_id, replayed
from common.web.gate import Gate
from common.web.problems import kind_of
from common.web.requests import EVENTS, current_request, wants_events
from common.web.streams import Streams
from halfmessage.errors import HalfMessageError, NotFound, OutcomeUnknown
from order.model import (
    CouponNotUsable,
    InsufficientStock,
    OrderClosed,
    OrderPaid,
    PaymentRefused,
    Receiver,
    RequestState,
    UnknownCoupon,
    UnknownGoods,
    UnknownProvider,
)
from order.schema import (
    MOST_FOUND,
    AnybodysQuery,
    FindOut,
    FindQuery,
    Forget,
    ForgottenOut,
    OrderOut,
    OrderRequestOut,
    OrdersOut,
    OrdersQuery,
    Pay,
    PayAtOut,
    PlaceOrder,
    ReasonMembers,
    RefusedMembers,
    ShortMembers,
    StandingsOut,
    StandingsQuery,
    SweepOut,
    TimelineOut,
    UnknownMembers,
    found_document,
    order_document,
    page_document,
    request_document,
)
from order.service.closing import Closing
from order.service.erasing import Erased
from order.service.ordering import Ordering, Placed, Request
from order.service.paying import Elsewhere, Paying
from order.service.payments import Payments
from order.service.purchases import PurchaseReader
from order.service.reading import OrderReader, place_of
from order.service.requests import RequestReader
from order.service.submitting import Submitted
from order.service.sweeping import Findings
from order.service.timeline import Timeline

OWNER = ("orders", "admin")
_OUTCOME_UNKNOWN = ProblemWith(OutcomeUnknown, UnknownMembers)


@dataclass(frozen=True, slots=True)
class UseCases:
    """What the routes call."""

    ordering: Ordering
    submit: Callable[[Request], Submitted]
    requests: RequestReader | PurchaseReader
    reader: OrderReader
    payments: Payments
    paying: Paying
    closing: Closing
    timeline: Timeline
    sweep: Callable[[bool], Findings]
    erase: Callable[[str], Erased]


def install(
    api: Api,
    use_cases: UseCases,
    *,
    rate_limit: str,
    most_at_once: int,
    most_of_one_user: int,
    timelines: int,
    streams: Streams,
    count: Callable[[str], None] = lambda _: None,
) -> None:
    """Declare the routes; `count` is told the outcome of every order that somebody tried to place.

    Placing is limited to `rate_limit` per user, and to `most_at_once` of all users, of which `most_of_one_user`.
    At most so many `timelines` are told at once, and a quarter of them to one user: they ask the broker and the
    participants, and while those are slow there must be threads to read, pay and cancel. `streams` has the bounds of
    those that tell order requests as they change.
    """
    limits = {"gate": Gate(most_at_once, share=most_of_one_user)}
    _install_placing(api, use_cases, rate_limit, limits, count)
    _install_requests(api, use_cases.requests, streams)
    _install_reading(api, use_cases)
    _install_timeline(api, use_cases.timeline, timelines)
    _install_changing(api, use_cases)

    @api.post("/sweep", scopes=("admin",), returns={200: SweepOut})
    def sweep() -> Reply:
        """Sweep now: finish what no message will finish any more."""
        return Reply(SweepOut.of(use_cases.sweep(False)))

    @api.post("/admin/forget", scopes=("admin",), body=Forget, returns={200: ForgottenOut})
    def forget(body: Forget) -> Reply:
        """Erase the receivers of one user's orders; the orders stay, and tell none. Again: nothing is left to erase."""
        return Reply(ForgottenOut.of_attributes(use_cases.erase(body.user_id)))

    @api.post("/sweep/full", scopes=("admin",), returns={200: SweepOut})
    def sweep_all() -> Reply:
        """Look at all orders and reservations, confirmed ones too, and repair what is safe: after a restore.

        It takes as long as there are many.
        """
        return Reply(SweepOut.of(use_cases.sweep(True)))


def owner_of(order_id: int) -> str | None:
    """Note the order in the log lines to come, and return whose orders the caller may see; None: every user's."""
    structlog.contextvars.bind_contextvars(order_id=str(order_id))
    identity = current_identity()
    return None if "admin" in identity.scopes else identity.user_id


def _install_placing(
    api: Api, use_cases: UseCases, rate_limit: str, limits: Mapping[str, Any], count: Callable[[str], None]
) -> None:
    ordering, payments = use_cases.ordering, use_cases.payments

    def answer(placed: Placed) -> Reply:
        count("replayed" if placed.replayed else "created")
        headers = {"Location": f"/orders/{placed.order.order_id}"}
        document = order_document(placed.order, payments.known([placed.order]))
        return Reply(document, 201, headers | replayed(placed.replayed))

    def submit(request: Request) -> Reply:
        first = None if request.idempotency is None else ordering.first_answer(request.idempotency)
        if first is not None:
            return answer(Placed(first, replayed=True))
        submitted = use_cases.submit(request)
        count("replayed" if submitted.replayed else "submitted")
        headers = {"Location": f"/order-requests/{submitted.request.request_id}", "Preference-Applied": "respond-async"}
        return Reply(request_document(submitted.request), 202, headers | replayed(submitted.replayed))

    @api.post(
        "/orders",
        scopes=("orders",),
        body=PlaceOrder,
        returns={201: OrderOut, 202: OrderRequestOut},
        errors=[
            ProblemWith(InsufficientStock, ShortMembers),
            ProblemWith(CouponNotUsable, ReasonMembers),
            UnknownGoods,
            UnknownCoupon,
            TooManyRequests,
            _OUTCOME_UNKNOWN,
        ],
        rate_limit=rate_limit,
        idempotent=True,
        respond_async=True,
        **limits,
    )
    def place(body: PlaceOrder, idempotency_key: str | None, respond_async: bool) -> Reply:
        """Place an order, or with `Prefer: respond-async` take it in to be placed soon."""
        request = _request(body, idempotency_key)
        try:
            return submit(request) if respond_async else answer(ordering.order(request))
        except HalfMessageError as error:
            count(kind_of(type(error)).slug)
            raise


def _request(body: PlaceOrder, idempotency_key: str | None) -> Request:
    user_id = current_identity().user_id
    asked = body.receiver
    receiver = Receiver(asked.name, asked.phone, asked.address) if asked is not None else None
    key = key_of(user_id, idempotency_key, "POST /orders", body, body.older_hashes)
    quantities = {item.goods_id: item.quantity for item in body.items}
    return Request(user_id, quantities, receiver, key, body.coupon_id, asked_as=current_request_id())


def _install_requests(api: Api, reader: RequestReader | PurchaseReader, streams: Streams) -> None:
    @api.post(
        "/internal/order-requests/states",
        scopes=("service",),
        body=StandingsQuery,
        returns={200: StandingsOut},
        body_at_least=LONGEST_BODY,
    )
    def show_standings(body: StandingsQuery) -> Reply:
        """Tell what became of order requests, and how their orders stand; unknown ones are left out."""
        return Reply(StandingsOut.of(reader.states(body.request_ids)))

    @api.get(
        "/order-requests/{request_id}",
        scopes=OWNER,
        returns={200: OrderRequestOut},
        errors=[NotFound, TooManyRequests],
        streams=True,
    )
    def show_request(request_id: int) -> Reply:
        """Tell what became of an order that was to be placed soon; to those who accept events, as it changes."""
        identity = current_identity()
        owner = None if "admin" in identity.scopes else identity.user_id
        found = reader.get(request_id, owner=owner)
        if not wants_events(current_request()):
            return Reply(request_document(found))

        def look() -> tuple[dict[str, Any], bool]:
            now = reader.get(request_id, owner=owner)
            return request_document(now), now.state is not RequestState.QUEUED

        return Reply(streams.open(identity.user_id, look), headers={"Cache-Control": "no-store"}, media_type=EVENTS)


def _install_reading(api: Api, use_cases: UseCases) -> None:
    reader, payments = use_cases.reader, use_cases.payments

    @api.get("/orders", scopes=OWNER, query=OrdersQuery, returns={200: OrdersOut})
    def list_orders(query: OrdersQuery) -> Reply:
        """List one's own orders, newest first."""
        user_id = current_identity().user_id
        found = reader.page(user_id, status=query.status, below=query.before, limit=query.limit + 1)
        shown, next_cursor = query.page(found, lambda order: order.order_id)
        return Reply(page_document(shown, payments.of(shown), next_cursor))

    @api.get("/admin/orders", scopes=("admin",), query=AnybodysQuery, returns={200: OrdersOut})
    def list_anybodys(query: AnybodysQuery) -> Reply:
        """List the orders of all users, or of one, newest first; of one status, by when they expire."""
        limit, before = query.limit + 1, query.before
        if query.user_id is not None:
            below = None if before is None else before[0]
            found = reader.page(query.user_id, status=query.status, below=below, limit=limit)
        else:
            found = reader.newest(status=query.status, before=before, limit=limit)
        shown = found[: query.limit]
        by = query.status if query.user_id is None else None
        next_cursor = encode_cursor(*place_of(shown[-1], by)) if len(found) > query.limit else None
        return Reply(page_document(shown, payments.of(shown), next_cursor))

    @api.get("/admin/find", scopes=("admin",), query=FindQuery, returns={200: FindOut})
    def find(query: FindQuery) -> Reply:
        """Find orders by an id, a transaction's id, an Idempotency-Key, the X-Request-Id of their call, or a user."""
        found = reader.found(query.q, limit=MOST_FOUND + 1)
        return Reply(found_document(found, payments.of([order for those in found.values() for order in those])))

    @api.get("/orders/{order_id}", scopes=OWNER, returns={200: OrderOut}, errors=[NotFound])
    def show_order(order_id: int) -> Reply:
        """Show an order."""
        order = reader.get(order_id, owner=owner_of(order_id))
        return Reply(order_document(order, payments.of([order])))


def _install_timeline(api: Api, timeline: Timeline, most_at_once: int) -> None:
    @api.get(
        "/orders/{order_id}/timeline",
        scopes=OWNER,
        returns={200: TimelineOut},
        errors=[NotFound],
        gate=Gate(most_at_once, share=max(1, most_at_once // 4)),
    )
    def show_timeline(order_id: int) -> Reply:
        """Show what happened to an order, and the evidence of it; to admins also of one that never came to be."""
        return Reply(TimelineOut.of(order_id, timeline.of(order_id, owner=owner_of(order_id))))


def _install_changing(api: Api, use_cases: UseCases) -> None:
    paying, closing, payments = use_cases.paying, use_cases.closing, use_cases.payments

    @api.post(
        "/orders/{order_id}/pay",
        scopes=OWNER,
        body=Pay,
        body_optional=True,
        returns={200: OrderOut, 202: PayAtOut},
        errors=[
            NotFound,
            OrderClosed,
            UnknownProvider,
            ProblemWith(PaymentRefused, RefusedMembers),
            _OUTCOME_UNKNOWN,
        ],
    )
    def pay(order_id: int, body: Pay) -> Reply:
        """Pay an order: at once, or where the answer says; again: the same."""
        paid = paying.pay(order_id, body.provider, body.scenario, owner=owner_of(order_id))
        if isinstance(paid, Elsewhere):
            return Reply(PayAtOut.of(paid), 202)
        return Reply(order_document(paid, payments.of([paid])))

    @api.post(
        "/orders/{order_id}/cancel",
        scopes=OWNER,
        returns={200: OrderOut},
        errors=[NotFound, OrderPaid, _OUTCOME_UNKNOWN],
    )
    def cancel(order_id: int) -> Reply:
        """Cancel an unpaid order; again: the same."""
        cancelled = closing.cancel(order_id, owner=owner_of(order_id))
        return Reply(order_document(cancelled, payments.of([cancelled])))
