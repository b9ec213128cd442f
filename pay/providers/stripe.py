"""Stripe, by Checkout Sessions; see docs/stripe.md.

A try is a session, its `reference` the session's id; money is a PaymentIntent, of which a session has one, and which
gives a charge its name. What is not of ours (other sessions of the same account) means nothing: its metadata tells.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from common.config import Settings
from common.errors import Malformed
from common.schema import parse_id
from halfmessage.errors import Misconfigured
from pay.providers.port import (
    Asked,
    BadSignature,
    Begun,
    Kind,
    ProviderEvent,
    ProviderUnavailable,
    Refund,
    RefundState,
)
from pay.providers.stripe_amounts import NotAtStripe, from_stripe, to_stripe

if TYPE_CHECKING:
    import stripe

log = structlog.get_logger()

_PAYMENT, _ATTEMPT, _REFUND_KEY = "orders_payment_id", "orders_attempt_id", "orders_refund_key"  # in metadata
_REFUSED: Final = "refused-"  # begins the reference of a try that Stripe never had
_ALREADY: Final = "charge_already_refunded"  # https://docs.stripe.com/error-codes
_STATES: Final = {
    "succeeded": RefundState.DONE,
    "pending": RefundState.PENDING,
    "requires_action": RefundState.PENDING,
    "failed": RefundState.REFUSED,
    "canceled": RefundState.REFUSED,
}


class StripeProvider:
    """Implements `Provider`."""

    name = "stripe"

    def __init__(self, settings: Settings) -> None:
        """Take keys from the settings. Raise `Misconfigured` where one is missing, or the library is."""
        missing = [name for name in ("stripe_secret_key", "stripe_webhook_secret") if not getattr(settings, name)]
        if missing:
            told = " and ".join(f"ORDERS_{name.upper()}" for name in missing)
            raise Misconfigured(f"ORDERS_PROVIDERS names stripe, which needs {told}; see docs/stripe.md.")
        try:
            import stripe  # noqa: PLC0415 - not everybody has the library

            from pay.providers.stripe_client import client_of  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise Misconfigured(
                "ORDERS_PROVIDERS names stripe, whose library is not installed: install the extra [stripe]."
            ) from error
        self._stripe = stripe
        self._client = client_of(settings)
        self._secret = settings.stripe_webhook_secret.get_secret_value()
        self._tolerance = settings.callback_tolerance
        self._return_to = settings.return_to or settings.callbacks_to

    def begin(self, asked: Asked) -> Begun:
        """See `Provider`. The same parameters each time: Stripe refuses an idempotency key with others."""
        try:
            amount = to_stripe(asked.amount, asked.currency)
            with self._translated():
                session = self._client.v1.checkout.sessions.create(
                    self._params(asked, amount), {"idempotency_key": f"attempt-{asked.attempt_id}"}
                )
        except (NotAtStripe, self._stripe.InvalidRequestError) as error:
            return _refused(asked, error.detail if isinstance(error, NotAtStripe) else str(error.user_message))
        event = _asked(session.to_dict(for_json=True))
        return Begun(session.id, None if event else session.url, event)

    def ask(self, reference: str) -> Sequence[ProviderEvent]:
        """See `Provider`."""
        if reference.startswith(_REFUSED):
            return []
        with self._translated():
            session = self._client.v1.checkout.sessions.retrieve(reference)
        event = _asked(session.to_dict(for_json=True))
        return [] if event is None else [event]

    def close(self, reference: str) -> None:
        """See `Provider`."""
        if reference.startswith(_REFUSED):
            return
        try:
            with self._translated():
                self._client.v1.checkout.sessions.expire(reference)
        except self._stripe.InvalidRequestError as error:  # only an open session can be
            log.info("stripe session not expired", reference=reference, reason=error.user_message)

    def refund(self, charge_id: str, amount: int, currency: str, key: str) -> Refund:
        """See `Provider`."""
        try:
            with self._translated():
                refund = self._client.v1.refunds.create(
                    {
                        "payment_intent": charge_id,
                        "amount": to_stripe(amount, currency),
                        "metadata": {_REFUND_KEY: key},
                    },
                    {"idempotency_key": f"refund-{key}"},
                )
                # The same key is answered as the first time, whatever became of the refund since.
                refund = self._client.v1.refunds.retrieve(refund.id)
        except NotAtStripe as error:
            return Refund(RefundState.REFUSED, reason=error.detail)
        except self._stripe.InvalidRequestError as error:
            if error.code == _ALREADY:
                return self._refunded_already(charge_id, error.user_message)
            return Refund(RefundState.REFUSED, reason=error.user_message)
        told = refund.to_dict()  # a refund that has not failed may say nothing about it
        return Refund(_STATES.get(told["status"], RefundState.PENDING), refund.id, told.get("failure_reason"))

    def read(self, headers: Mapping[str, str], raw: bytes) -> ProviderEvent:
        """See `Provider`. The library checks the signature, and its age; but not that it is not of the future."""
        header = headers.get("stripe-signature", "")
        # Two lines of one header are one line with a comma between (RFC 9110, 5.3)
        if sum(part.strip().startswith("t=") for part in header.split(",")) > 1:
            raise Malformed("Send the header Stripe-Signature once.")
        try:
            self._stripe.WebhookSignature.verify_header(raw, header, self._secret, self._tolerance)
        # What no signature can be, or no text, the library answers with any of these.
        except (self._stripe.SignatureVerificationError, ValueError, TypeError) as error:
            raise BadSignature from error
        if _signed_at(header) > time.time() + self._tolerance:
            raise BadSignature("The webhook's signature is from the future.")
        try:
            return _of_event(orjson.loads(raw), raw)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise Malformed("The event can't be read.") from error

    def thanks(self) -> tuple[bytes, str]:
        """See `Provider`."""
        return b"{}", "application/json"

    def _refunded_already(self, charge_id: str, reason: str | None) -> Refund:
        """Return where refunds stand that leave nothing to refund: made by hand, or before Stripe forgot our key."""
        with self._translated():
            refunds = self._client.v1.refunds.list({"payment_intent": charge_id})
        waits = any(_STATES.get(one.status or "", RefundState.PENDING) is RefundState.PENDING for one in refunds.data)
        return Refund(RefundState.PENDING if waits else RefundState.DONE, refunds.data[0].id, reason)

    def _params(self, asked: Asked, amount: int) -> "stripe.params.checkout.SessionCreateParams":
        metadata = {_PAYMENT: str(asked.payment_id), _ATTEMPT: str(asked.attempt_id)}
        return {
            "mode": "payment",
            "client_reference_id": str(asked.payment_id),
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": asked.currency.lower(),
                        "unit_amount": amount,
                        "product_data": {"name": f"Order {asked.payment_id}"},
                    },
                }
            ],
            "metadata": metadata,
            "payment_intent_data": {"metadata": metadata},
            "adaptive_pricing": {"enabled": False},  # or customers may pay another amount in another currency
            "success_url": self._return_to,
            "cancel_url": self._return_to,
        }

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise `ProviderUnavailable` for what says nothing of the payment; let `InvalidRequestError` through."""
        try:
            yield
        except self._stripe.InvalidRequestError:
            raise
        except self._stripe.StripeError as error:
            log.warning("stripe failed", kind=type(error).__name__, status=error.http_status, request=error.request_id)
            raise ProviderUnavailable("Stripe did not answer as it should; try again.") from error


def _signed_at(header: str) -> int:
    """Return when a webhook was signed, in seconds since the epoch; of a header that the library has read."""
    return next(int(part.partition("=")[2]) for part in header.split(",") if part.startswith("t="))


def _refused(asked: Asked, reason: str) -> Begun:
    """Return that Stripe refused to begin a try: nothing was taken, and nothing will be."""
    reference, raw = f"{_REFUSED}{asked.attempt_id}", orjson.dumps({"refused": reason})
    event = ProviderEvent(reference, Kind.FAILED, asked.payment_id, raw, reason=reason, reference=reference)
    return Begun(reference, event=event)


def _asked(session: Mapping[str, Any]) -> ProviderEvent | None:
    """Return what a session that was asked for says. Raise `ProviderUnavailable` for one that can't be."""
    try:
        return _of_session(session, f"{session['id']}:{session['payment_status']}", orjson.dumps(session))
    except Malformed as error:
        raise ProviderUnavailable(error.detail) from error


def _of_session(session: Mapping[str, Any], event_id: str, raw: bytes) -> ProviderEvent | None:
    """Return what a session says; None while it is open, or what was paid is still under way, or it is none of ours."""
    payment_id = parse_id((session.get("metadata") or {}).get(_PAYMENT, ""))
    if payment_id is None:
        return None
    if session["payment_status"] == "paid":
        currency = session["currency"].upper()
        amount = from_stripe(session["amount_total"], currency)
        money = {"charge_id": session["payment_intent"], "amount": amount, "currency": currency}
        return ProviderEvent(event_id, Kind.SUCCEEDED, payment_id, raw, reference=session["id"], **money)
    if session["status"] == "expired":
        return ProviderEvent(event_id, Kind.EXPIRED, payment_id, raw, reference=session["id"])
    return None


def _of_event(event: Mapping[str, Any], raw: bytes) -> ProviderEvent:
    event_id, kind, about = event["id"], event["type"], event["data"]["object"]
    found: ProviderEvent | None = None
    if kind.startswith("checkout.session."):
        found = _of_session(about, event_id, raw)
        if kind == "checkout.session.async_payment_failed" and found is None:
            found = _failed(about, event_id, raw)
    elif kind.startswith("refund.") or kind == "charge.refund.updated":
        found = _of_refund(about, event_id, raw)
    return found or ProviderEvent(event_id, Kind.OTHER, None, raw)


def _failed(session: Mapping[str, Any], event_id: str, raw: bytes) -> ProviderEvent | None:
    payment_id = parse_id((session.get("metadata") or {}).get(_PAYMENT, ""))
    if payment_id is None:
        return None
    return ProviderEvent(event_id, Kind.FAILED, payment_id, raw, reference=session["id"])


def _of_refund(refund: Mapping[str, Any], event_id: str, raw: bytes) -> ProviderEvent | None:
    """Return what became of a refund; one that was made by hand may be of a part, or of no charge of ours."""
    state = _STATES.get(refund["status"] or "", RefundState.PENDING)
    is_ours = _REFUND_KEY in (refund.get("metadata") or {})
    if state is RefundState.PENDING or refund["payment_intent"] is None:
        return None
    currency = refund["currency"].upper()
    try:
        amount = from_stripe(refund["amount"], currency)
    except Malformed:
        if is_ours:
            raise
        return None  # another shop's, in what we take no money in
    return ProviderEvent(
        event_id,
        Kind.REFUNDED if state is RefundState.DONE else Kind.REFUND_REFUSED,
        None,
        raw,
        charge_id=refund["payment_intent"],
        amount=amount,
        currency=currency,
        reason=refund.get("failure_reason"),
    )
