"""What came of the money of one payment, summed by currency."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

MOST_CHARGES: Final = 200  # that pay tells of one payment
_OWED_WHILE: Final = frozenset({"open", "succeeded"})


@dataclass(frozen=True, slots=True)
class Sums:
    """Of one currency, in minor units: what the order owes, and what was taken: `kept + on_its_way + sent_back`."""

    currency: str
    owed: int
    kept: int
    on_its_way: int
    sent_back: int

    @property
    def taken(self) -> int:
        """All that providers took."""
        return self.kept + self.on_its_way + self.sent_back


def sums_of(payment: Mapping[str, Any]) -> list[Sums]:
    """Return the sums of a payment as pay tells it: its own currency first, then others that were taken.

    An order owes nothing any more once it was closed, or its money goes back.
    """
    own = payment["currency"]
    others = sorted({charge["currency"] for charge in payment["charges"]} - {own})
    owed = payment["amount"] if payment["status"] in _OWED_WHILE else 0
    return [_of(payment, currency, owed if currency == own else 0) for currency in (own, *others)]


def _of(payment: Mapping[str, Any], currency: str, owed: int) -> Sums:
    def sum_of(*states: str) -> int:
        charges = payment["charges"]
        return sum(one["amount"] for one in charges if one["currency"] == currency and one["status"] in states)

    # What a provider refuses to send back is asked for again, and so is on its way
    return Sums(currency, owed, sum_of("kept"), sum_of("refunding", "refused"), sum_of("refunded"))
