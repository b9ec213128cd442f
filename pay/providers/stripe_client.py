"""Stripe's own client, on connections of ours that have a deadline. Imports `stripe`, which only who uses it needs."""

from collections.abc import Mapping
from typing import Any

import stripe

from common.config import Settings
from pay.providers.exchange import Exchange, NoAnswer


class BoundedClient(stripe.HTTPClient):
    """What the library sends requests with; it tries each once, as ours are repeated by who has stored what for."""

    name = "orders"

    def __init__(self, timeout: float) -> None:
        """Give up after `timeout` seconds."""
        super().__init__()
        self._exchange = Exchange(timeout, ca_certs=stripe.ca_bundle_path)

    def request(  # type: ignore[override]  # the library calls it so, whatever else its base class declares
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Send once. Raise `stripe.APIConnectionError`."""
        try:
            status, answered, body = self._exchange.send(method.upper(), url, headers or {}, post_data)
        except NoAnswer as error:
            told = f"Stripe did not answer: {error}"
            raise stripe.APIConnectionError(told) from error  # type: ignore[no-untyped-call]
        return body, status, answered

    def close(self) -> None:
        """Close the kept connections."""
        self._exchange.close()


def client_of(settings: Settings) -> stripe.StripeClient:
    """Return a client of Stripe's API."""
    return stripe.StripeClient(
        settings.stripe_secret_key.get_secret_value(),
        http_client=BoundedClient(settings.provider_timeout),
        base_addresses={"api": settings.stripe_api} if settings.stripe_api else {},
        max_network_retries=0,
    )
