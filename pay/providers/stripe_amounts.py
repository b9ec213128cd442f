"""Amounts as Stripe has them, which are not always those of ISO 4217: https://docs.stripe.com/currencies.

Everything of ours is in minor units of ISO 4217; only here they become Stripe's, and back.
"""

from typing import Final

from common.currencies import CURRENCIES, decimals
from common.errors import Malformed, OrdersError

_ZERO: Final = frozenset(
    {"BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"}
)
_TWO_THOUGH_ISO_HAS_NONE: Final = frozenset({"ISK", "UGX"})  # "backward compatibility", and always whole ones
_THREE: Final = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})  # whose last digit must be 0
_TENS: Final = 10
_USUAL: Final = 2


class NotAtStripe(OrdersError):
    """Stripe can't take this amount in this currency."""


def to_stripe(amount: int, currency: str) -> int:
    """Return an amount of ISO 4217's minor units in Stripe's. Raise `NotAtStripe` where Stripe has no such amount."""
    steps = _steps(currency)
    if steps is None:
        raise NotAtStripe(f"Stripe takes no {currency}.")
    if currency in _THREE and amount % _TENS:
        raise NotAtStripe(f"Stripe takes amounts of {currency} whose last decimal is 0.")
    if steps >= 0:
        return int(amount * 10**steps)
    whole, rest = divmod(amount, 10**-steps)
    if rest:
        raise NotAtStripe(f"Stripe takes whole {currency} only.")
    return int(whole)


def from_stripe(amount: int, currency: str) -> int:
    """Return an amount of Stripe's in ISO 4217's minor units; `currency` in capitals. Raise `Malformed`."""
    steps = _steps(currency)
    if steps is None:
        raise Malformed(f"Stripe tells of {currency}, which we do not know.")
    if steps < 0:
        return int(amount * 10**-steps)
    whole, rest = divmod(amount, 10**steps)
    if rest:
        raise Malformed(f"Stripe tells of a part of a minor unit of {currency}.")
    return int(whole)


def _steps(currency: str) -> int | None:
    """Return how many decimals more Stripe has than ISO 4217; None where Stripe has no such currency."""
    if currency not in CURRENCIES:
        return None
    iso = decimals(currency)
    if currency in _ZERO:
        return -iso
    if currency in _THREE:
        return 0
    return _USUAL - iso if iso == _USUAL or currency in _TWO_THOUGH_ISO_HAS_NONE else None
