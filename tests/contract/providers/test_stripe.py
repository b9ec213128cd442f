"""The contract of providers on Stripe's adapter and a stand-in; what is Stripe's own: currencies, keys, refunds."""

import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import stripe

from common.currencies import CURRENCIES
from common.errors import Malformed
from halfmessage.errors import Misconfigured
from pay.providers.port import Asked, Begun, Kind, Provider, ProviderEvent, RefundState
from pay.providers.stripe import StripeProvider
from pay.providers.stripe_amounts import NotAtStripe, from_stripe, to_stripe
from tests.contract.provider import EXPIRES_AT, Callback, ProviderContract
from tests.contract.providers.settings import WITHIN, settings
from tests.contract.providers.standin import serving
from tests.contract.providers.stripe_standin import StripeServer

KEYS = {"stripe_secret_key": "sk_test_123", "stripe_webhook_secret": "whsec_456"}


class StripeStand:
    """Stripe's adapter before a stand-in."""

    currency = "EUR"

    def __init__(self, url: str, server: StripeServer) -> None:
        self.server = server
        self.provider = self.at(url)

    def at(self, url: str, *, within: float = WITHIN) -> Provider:
        return StripeProvider(settings(**KEYS, stripe_api=url, within=within))

    def pay(self, begun: Begun) -> None:
        self.server.pay(begun.reference)

    def refunds(self) -> int:
        return len(self.server.refunds)

    def callback(self, begun: Begun, *, at: float, foreign: bool = False) -> Callback:
        about = self.server.sessions[begun.reference]
        return self.event("checkout.session.completed", about, at=at, foreign=foreign)

    def garbage(self) -> Callback:
        return self._signed(b'["nonsense"]', time.time())

    def event(self, kind: str, about: dict[str, Any], *, at: float | None = None, foreign: bool = False) -> Callback:
        event = {"id": "evt_1", "object": "event", "type": kind, "data": {"object": about}}
        return self._signed(orjson.dumps(event), time.time() if at is None else at, foreign=foreign)

    def read(self, kind: str, about: dict[str, Any]) -> ProviderEvent:
        return self.provider.read(*self.event(kind, about))

    @staticmethod
    def _signed(raw: bytes, at: float, *, foreign: bool = False) -> Callback:
        secret = "whsec_other" if foreign else KEYS["stripe_webhook_secret"]
        header = stripe.WebhookSignature.generate_signature_header(raw.decode(), secret, int(at))
        return {"stripe-signature": header}, raw


@pytest.fixture
def stand() -> Iterator[StripeStand]:
    server = StripeServer()
    with serving(server.handle) as url:
        yield StripeStand(url, server)


class TestStripe(ProviderContract):
    """See `ProviderContract`."""

    @pytest.fixture
    def stand(self, stand: StripeStand) -> StripeStand:
        return stand


@pytest.mark.parametrize("joined_by", [",", ", "])
def test_a_signature_comes_once(stand: StripeStand, joined_by: str) -> None:
    """Two lines of one header are one line with commas: the library would take the time of the first for both."""
    headers, raw = stand.event("checkout.session.expired", {"id": "cs_1", "object": "checkout.session"})
    with pytest.raises(Malformed, match="once"):
        stand.provider.read({"stripe-signature": joined_by.join(2 * [headers["stripe-signature"]])}, raw)


def asked(amount: int, currency: str) -> Asked:
    return Asked(5_001, 7_001, amount, currency, EXPIRES_AT)


@pytest.mark.parametrize(
    ("amount", "currency", "at_stripe"),
    [
        (1250, "EUR", 1250),
        (500, "JPY", 500),
        (1230, "KWD", 1230),
        (5, "ISK", 500),
        (5, "UGX", 500),
        (500, "MGA", 5),
        (1999, "HUF", 1999),
        (1999, "TWD", 1999),
        (7, "KRW", 7),
    ],
)
def test_amounts_at_the_border(amount: int, currency: str, at_stripe: int) -> None:
    """Stripe's minor units are not always ISO 4217's; there and back is the same amount."""
    assert to_stripe(amount, currency) == at_stripe
    assert from_stripe(at_stripe, currency) == amount


@pytest.mark.parametrize(("amount", "currency"), [(1234, "KWD"), (501, "MGA"), (1000, "IQD"), (1000, "LYD")])
def test_amounts_that_stripe_does_not_have(amount: int, currency: str) -> None:
    """They are refused, and never rounded."""
    with pytest.raises(NotAtStripe):
        to_stripe(amount, currency)


@pytest.mark.parametrize(("amount", "currency"), [(550, "ISK"), (1, "XAU"), (1, "ABC"), (1000, "LYD")])
def test_amounts_that_are_not_ours(amount: int, currency: str) -> None:
    """A part of a króna, or no currency: they are said to be unreadable, and never rounded."""
    with pytest.raises(Malformed):
        from_stripe(amount, currency)


def test_every_currency_is_the_same_there_and_back() -> None:
    """Or Stripe has none such, which is said."""
    refused = set()
    for currency in CURRENCIES:
        try:
            assert from_stripe(to_stripe(1000, currency), currency) == 1000
        except NotAtStripe:
            refused.add(currency)
    assert refused == {"IQD", "LYD", "UYW"}


def test_an_amount_that_stripe_does_not_have_ends_the_try_at_once(stand: StripeStand) -> None:
    """Nothing is sent, the reason is told, and nothing is asked for later."""
    begun = stand.provider.begin(asked(1234, "KWD"))
    assert begun.event is not None
    assert (begun.event.kind, begun.event.reason) == (
        Kind.FAILED, "Stripe takes amounts of KWD whose last decimal is 0."
    )  # fmt: skip
    assert list(stand.provider.ask(begun.reference)) == []
    stand.provider.close(begun.reference)
    assert stand.server.sent == []


def test_what_stripe_refuses_ends_the_try_with_its_words(stand: StripeStand) -> None:
    """An amount below its least, for example."""
    event = stand.provider.begin(asked(49, "EUR")).event
    assert event is not None
    assert (event.kind, event.reason) == (Kind.FAILED, "The amount is too small.")


def test_amounts_of_other_units_go_out_and_come_back(stand: StripeStand) -> None:
    """Five krónur are 500 at Stripe, and five with us."""
    begun = stand.provider.begin(asked(5, "ISK"))
    stand.pay(begun)
    (event,) = stand.provider.ask(begun.reference)
    assert (event.amount, event.currency) == (5, "ISK")
    assert event.charge_id is not None
    stand.provider.refund(event.charge_id, 5, "ISK", "key-1")
    assert [refund["amount"] for refund in stand.server.refunds.values()] == [500]


def paid(stand: StripeStand) -> str:
    """Return the charge of a try that was paid."""
    begun = stand.provider.begin(asked(1250, "EUR"))
    stand.pay(begun)
    (event,) = stand.provider.ask(begun.reference)
    assert event.charge_id is not None
    return event.charge_id


def test_a_refund_that_came_to_nothing_later_is_told(stand: StripeStand) -> None:
    """The same key is answered as the first time, for a day: the refund itself says how it stands."""
    charge_id = paid(stand)
    stand.server.refund_status = "pending"
    first = stand.provider.refund(charge_id, 1250, "EUR", "key-1")
    assert first.state is RefundState.PENDING
    (refund,) = stand.server.refunds.values()
    refund |= {"status": "failed", "failure_reason": "lost_or_stolen_card"}
    again = stand.provider.refund(charge_id, 1250, "EUR", "key-1")
    assert (again.state, again.refund_id, again.reason) == (
        RefundState.REFUSED, first.refund_id, "lost_or_stolen_card"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("succeeded", RefundState.DONE),
        ("pending", RefundState.PENDING),
        ("requires_action", RefundState.PENDING),
    ],
)
def test_a_charge_that_was_refunded_otherwise(stand: StripeStand, status: str, state: RefundState) -> None:
    """By hand, or under a key that Stripe forgot: done only once it is."""
    charge_id = paid(stand)
    stand.server.refund_status = status
    stand.provider.refund(charge_id, 1250, "EUR", "by hand")
    assert stand.provider.refund(charge_id, 1250, "EUR", "key-1").state is state


SESSION = {"id": "cs_9", "status": "complete", "payment_status": "paid", "payment_intent": "pi_9", "amount_total": 100}


def test_sessions_of_others_mean_nothing(stand: StripeStand) -> None:
    """An account may serve other shops: their money must not be sent back as ours that came late."""
    for metadata in ({}, None, {"orders_payment_id": "x"}):
        about = SESSION | {"currency": "eur", "metadata": metadata}
        assert stand.read("checkout.session.completed", about).kind is Kind.OTHER


OURS: dict[str, Any] = {"currency": "eur", "metadata": {"orders_payment_id": "5001"}}
REFUND = {"id": "re_9", "payment_intent": "pi_9", "amount": 100, "currency": "eur", "failure_reason": None}


@pytest.mark.parametrize(
    ("kind", "about", "meaning"),
    [
        ("checkout.session.completed", SESSION | OURS, Kind.SUCCEEDED),
        ("checkout.session.completed", SESSION | OURS | {"payment_status": "unpaid"}, Kind.OTHER),
        ("checkout.session.async_payment_succeeded", SESSION | OURS, Kind.SUCCEEDED),
        ("checkout.session.async_payment_failed", SESSION | OURS | {"payment_status": "unpaid"}, Kind.FAILED),
        ("checkout.session.async_payment_failed", SESSION | {"payment_status": "unpaid", "metadata": {}}, Kind.OTHER),
        ("checkout.session.expired", SESSION | OURS | {"status": "expired", "payment_status": "unpaid"}, Kind.EXPIRED),
        ("refund.updated", REFUND | {"status": "succeeded", "metadata": {"orders_refund_key": "k"}}, Kind.REFUNDED),
        ("refund.updated", REFUND | {"status": "pending", "metadata": {"orders_refund_key": "k"}}, Kind.OTHER),
        ("refund.failed", REFUND | {"status": "failed", "metadata": {"orders_refund_key": "k"}}, Kind.REFUND_REFUSED),
        ("refund.created", REFUND | {"status": "succeeded", "metadata": {}}, Kind.REFUNDED),
        ("refund.created", REFUND | {"status": "succeeded", "metadata": None}, Kind.REFUNDED),
        ("refund.created", REFUND | {"status": "pending", "metadata": {}}, Kind.OTHER),
        ("refund.failed", REFUND | {"status": "failed", "metadata": {}}, Kind.REFUND_REFUSED),
        ("refund.updated", REFUND | {"status": "canceled", "metadata": None}, Kind.REFUND_REFUSED),
        ("refund.failed", REFUND | {"status": "failed", "metadata": {}, "currency": "iqd"}, Kind.OTHER),
        ("refund.created", REFUND | {"status": "succeeded", "metadata": {}, "payment_intent": None}, Kind.OTHER),
        ("refund.created", REFUND | {"status": "succeeded", "metadata": {}, "currency": "iqd"}, Kind.OTHER),
        ("invoice.paid", {"id": "in_1"}, Kind.OTHER),
    ],
)
def test_what_events_mean(stand: StripeStand, kind: str, about: dict[str, Any], meaning: Kind) -> None:
    """A session that is complete may still be unpaid. A refund that was made by hand sent money back, too, or failed.

    One of another shop of the account is no reason to refuse the webhook, whatever currency it is in.
    """
    assert stand.read(kind, about).kind is meaning


def test_a_refund_made_by_hand_says_how_much(stand: StripeStand) -> None:
    """It may be of a part, which is no refund of the charge: the ledger tells them apart."""
    event = stand.read("refund.created", REFUND | {"status": "succeeded", "metadata": {}})
    assert (event.charge_id, event.amount, event.currency) == ("pi_9", 100, "EUR")


def test_a_late_try_is_no_other_try(stand: StripeStand) -> None:
    """The parameters of a try are the same whenever it is repeated: Stripe refuses its key with others."""
    first = stand.provider.begin(asked(1250, "EUR"))
    assert stand.provider.begin(asked(1250, "EUR")) == first
    assert stand.server.sent[0] == stand.server.sent[1]


@pytest.mark.parametrize("name", KEYS)
def test_a_key_that_is_missing_is_named(name: str) -> None:
    """Before anything starts."""
    with pytest.raises(Misconfigured, match=f"ORDERS_{name.upper()}"):
        StripeProvider(settings(**{key: value for key, value in KEYS.items() if key != name}))


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that brings it."""
    monkeypatch.setitem(__import__("sys").modules, "pay.providers.stripe_client", None)
    with pytest.raises(Misconfigured, match=r"install the extra \[stripe\]"):
        StripeProvider(settings(**KEYS))


def test_secrets_are_in_no_text_of_the_settings() -> None:
    """They may be logged."""
    shown = repr(settings(**KEYS))
    assert not [value for value in KEYS.values() if value in shown]
