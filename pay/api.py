"""The pay service over REST."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from common.errors import Forbidden, OrdersError
from common.idempotency import key_of
from common.web import Api, Reply, current_identity, replayed
from halfmessage.errors import HalfMessageError, NotFound
from pay.model import NothingToRefund, UnknownProvider, Via
from pay.providers.port import BadSignature, Provider
from pay.schema import (
    LONGEST_LOOKUP,
    AttemptIn,
    AttemptOut,
    OrderIds,
    PaymentOut,
    PaymentsOut,
    PaymentsQuery,
    PaymentSummary,
    RefundIn,
    SentBackOut,
    StandingsOut,
)
from pay.service.asking import LastQuestion
from pay.service.attempts import Attempts
from pay.service.inbox import EventKey, Inbox
from pay.service.reading import PaymentReader
from pay.service.refunding import SendingBack

_VIEWERS = ("orders", "admin", "service")

Count = Callable[[str, str], object]
"""Told the name of a provider, and the verdict on a callback of its."""


@dataclass(frozen=True, slots=True)
class UseCases:
    """What the routes call; `soon` has a stored event handled."""

    providers: Mapping[str, Provider]
    reader: PaymentReader
    attempts: Attempts
    last_question: LastQuestion
    sending_back: SendingBack
    inbox: Inbox
    soon: Callable[[EventKey], object]


def install(api: Api, use_cases: UseCases, count: Count = lambda *_: None) -> None:
    """Declare the routes; `count` is told the verdict on each callback."""
    _declare_reading(api, use_cases.reader)
    _declare_refund(api, use_cases.sending_back)
    _declare_callbacks(api, use_cases, count)
    _declare_for_orders(api, use_cases)


def _viewer() -> str | None:
    """Return whose payments the caller may see; None: every user's. A user's token with `service`, too, is a user's."""
    identity = current_identity()
    is_service = "service" in identity.scopes and "orders" not in identity.scopes
    return None if is_service or "admin" in identity.scopes else identity.user_id


def _declare_reading(api: Api, reader: PaymentReader) -> None:
    @api.get("/payments/{payment_id}", scopes=_VIEWERS, returns={200: PaymentOut})
    def get_payment(payment_id: int) -> Reply:
        """Look at a payment of one's own, with all that its provider said; an admin sees any."""
        return Reply(PaymentOut.of_attributes(reader.get(payment_id, owner=_viewer())))

    @api.get("/payments", scopes=_VIEWERS, query=PaymentsQuery, returns={200: PaymentsOut})
    def list_payments(query: PaymentsQuery) -> Reply:
        """Find the payment of an order of one's own; an admin sees any, and lists all users', newest first."""
        if query.order_id is not None:
            return Reply(PaymentsOut(items=_of_order(query.order_id), next_cursor=None))
        if "admin" not in current_identity().scopes:
            raise Forbidden("Payments are listed for admins; ask for the payment of an order with order_id.")
        found = reader.page(query.status, below=query.before, limit=query.limit + 1)
        shown, more = query.page(found, lambda one: one.payment_id)
        return Reply(PaymentsOut(items=tuple(map(PaymentSummary.of_attributes, shown)), next_cursor=more))

    def _of_order(order_id: int) -> tuple[PaymentOut, ...]:
        try:
            return (PaymentOut.of_attributes(reader.get(order_id, owner=_viewer())),)
        except NotFound:
            return ()


def _declare_refund(api: Api, sending_back: SendingBack) -> None:
    @api.post(
        "/payments/{payment_id}/refund",
        scopes=("admin",),
        body=RefundIn,
        returns={202: SentBackOut},
        errors=[NothingToRefund],
        idempotent=True,
    )
    def refund_payment(payment_id: int, body: RefundIn, idempotency_key: str | None) -> Reply:
        """Send the money of a payment back, once; again: where it stands."""
        call = f"POST /payments/{payment_id}/refund"
        key = key_of(current_identity().user_id, idempotency_key, call, body)
        sent = sending_back.send_back(payment_id, body.reason, key)
        return Reply(SentBackOut.of(sent.answer), 202, replayed(sent.replayed))


def _declare_callbacks(api: Api, use_cases: UseCases, count: Count) -> None:
    @api.callback("/callbacks/{provider}", errors=[BadSignature, NotFound])
    def call_back(provider: str, headers: Mapping[str, str], read: Callable[[], bytes]) -> Reply:
        """Take what a provider says: its signature is checked, it is stored, and answered as the provider expects."""
        who = use_cases.providers.get(provider)
        if who is None:
            count("unknown", "unknown-provider")
            raise NotFound
        try:
            raw = read()
            event = who.read(headers, raw)
            is_new = use_cases.inbox.store(provider, event, Via.CALLBACK)
        except OrdersError as error:
            structlog.get_logger().warning("callback refused", provider=provider, reason=error.detail)
            count(provider, error.slug)
            raise
        except HalfMessageError:  # not stored, or not known to be: the provider calls again
            count(provider, "not-stored")
            raise
        count(provider, "new" if is_new else "known")
        if is_new:
            use_cases.soon((provider, event.event_id))
        body, media_type = who.thanks()
        return Reply(body, media_type=media_type)


def _declare_for_orders(api: Api, use_cases: UseCases) -> None:
    @api.post(
        "/payments/{payment_id}/attempts",
        scopes=("service",),
        body=AttemptIn,
        returns={200: AttemptOut},
        errors=[UnknownProvider],
    )
    def begin_attempt(payment_id: int, body: AttemptIn) -> Reply:
        """Begin to pay an order, or answer again; what the provider says at once is handled before the answer."""
        structlog.contextvars.bind_contextvars(order_id=str(payment_id))
        return Reply(AttemptOut.of(use_cases.attempts.begin(body.parsed(payment_id))))

    @api.post(
        "/payments/ask",
        scopes=("service",),
        body=OrderIds,
        returns={200: StandingsOut},
        body_at_least=LONGEST_LOOKUP,
    )
    def ask_providers(body: OrderIds) -> Reply:
        """Ask the providers once more about open tries of orders, for a while; tell where their payments stand then."""
        return Reply(StandingsOut.of(use_cases.last_question.ask(body.order_ids)))

    @api.post(
        "/payments/lookup",
        scopes=("service",),
        body=OrderIds,
        returns={200: StandingsOut},
        body_at_least=LONGEST_LOOKUP,
    )
    def lookup_payments(body: OrderIds) -> Reply:
        """Tell where the payments of orders stand; those that don't exist are left out."""
        return Reply(StandingsOut.of(use_cases.reader.lookup(body.order_ids)))
