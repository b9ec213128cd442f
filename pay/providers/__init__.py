"""Providers: who takes the money. Each is a `Provider`; adding one is a class, and `tests/contract/provider.py`."""

import re
from importlib import import_module
from typing import Final

from common.config import Settings
from common.errors import OrdersError
from pay.providers.port import Provider

OURS: Final = {
    "sandbox": "pay.providers.sandbox:SandboxProvider",
    "stripe": "pay.providers.stripe:StripeProvider",
    "wechat": "pay.providers.wechat:WechatProvider",
}
"""By the word that ORDERS_PROVIDERS has for it: where its class is."""

_PLACE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def load(settings: Settings) -> dict[str, Provider]:
    """Return the providers that ORDERS_PROVIDERS names, by their names. Raise `OrdersError` where it is wrong."""
    made = [_made(word, settings) for word in settings.provider_names]
    found = {provider.name: provider for provider in made}
    if len(found) < len(made):
        raise OrdersError("ORDERS_PROVIDERS names a provider twice.")
    return found


def _made(word: str, settings: Settings) -> Provider:
    place = OURS.get(word, word)
    if _PLACE.fullmatch(place) is None:
        raise OrdersError(f"ORDERS_PROVIDERS: {word!r} is none of {', '.join(OURS)}, nor a package.module:Class.")
    module, _, name = place.partition(":")
    try:
        provider: Provider = getattr(import_module(module), name)(settings)
    except (ImportError, AttributeError) as error:
        raise OrdersError(f"ORDERS_PROVIDERS: {word!r} can't be loaded: {error}.") from error
    if _NAME.fullmatch(provider.name) is None:
        raise OrdersError(f"ORDERS_PROVIDERS: the name of {word!r} is not 1 to 64 letters, digits, '-' and '_'.")
    return provider
