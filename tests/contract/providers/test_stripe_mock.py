"""Stripe's adapter on stripe-mock, which checks parameters against Stripe's OpenAPI document and keeps nothing.

Needs Go, which builds it: skipped on a laptop without, never in CI.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pay.providers.port import Asked, Kind, ProviderUnavailable, RefundState
from pay.providers.stripe import StripeProvider
from tests.contract.provider import EXPIRES_AT
from tests.contract.providers.settings import settings
from tests.contract.providers.test_stripe import KEYS

SCRIPT = Path(__file__).parents[3] / "scripts" / "stripe-mock"
GO = shutil.which("go") or shutil.which("/usr/local/go/bin/go")

pytestmark = [
    pytest.mark.skipif(GO is None and os.environ.get("CI") != "true", reason="Go, which builds it, is not here"),
    pytest.mark.embedded("stripe-mock knows neither broker nor database"),
    pytest.mark.timeout(600),  # building it, the first time
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Start it on a free port, which it prints."""
    with subprocess.Popen([SCRIPT], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = next(line for line in process.stdout if line.startswith("Listening for HTTP at"))
            yield f"http://{line.rsplit(' ', 1)[1].strip()}"
        finally:
            process.terminate()


@pytest.fixture
def provider(url: str) -> StripeProvider:
    return StripeProvider(settings(**KEYS, stripe_api=url))


@pytest.mark.parametrize(("amount", "currency"), [(1250, "EUR"), (500, "JPY"), (1230, "KWD"), (5, "ISK")])
def test_stripe_takes_what_a_try_sends(provider: StripeProvider, amount: int, currency: str) -> None:
    """Each parameter is one of Checkout Sessions, and the key is sent as theirs."""
    begun = provider.begin(Asked(5_001, 7_001, amount, currency, EXPIRES_AT))
    assert begun.event is None, begun.event
    assert begun.reference.startswith("cs_")


def test_stripe_refuses_what_it_does_not_know(provider: StripeProvider) -> None:
    """So the tests beside this one say something: a parameter that is none ends the try."""
    params = provider._params
    provider._params = lambda asked, amount: {**params(asked, amount), "adaptive_prising": "no"}  # type: ignore[method-assign]
    event = provider.begin(Asked(5_001, 7_001, 1250, "EUR", EXPIRES_AT)).event
    assert event is not None
    assert event.kind is Kind.FAILED
    assert "additional properties are not allowed" in str(event.reason)


def test_asking_and_closing(provider: StripeProvider) -> None:
    """Its example is a session of another merchant's, which means nothing."""
    assert list(provider.ask("cs_123")) == []
    provider.close("cs_123")


def test_a_refund(provider: StripeProvider) -> None:
    """It is made, and then looked at."""
    refund = provider.refund("pi_123", 1250, "EUR", "key-1")
    assert refund.state in {RefundState.DONE, RefundState.PENDING}
    assert str(refund.refund_id).startswith("re_")


def test_a_key_that_is_no_key_is_no_payment(url: str) -> None:
    """What says nothing of the money is told as that."""
    bad = StripeProvider(settings(**KEYS | {"stripe_secret_key": "no-key"}, stripe_api=url))
    with pytest.raises(ProviderUnavailable):
        bad.ask("cs_123")
