"""The sums of a payment, by currency: what is taken is kept, on its way back, or was sent back."""

from typing import Any

import pytest

from console.service.money import Sums, sums_of


def charge(amount: int, status: str, currency: str = "EUR") -> dict[str, Any]:
    return {"amount": amount, "currency": currency, "status": status}


def test_each_currency_is_summed_by_itself() -> None:
    """The payment's own first, also where nothing was taken in it; what is refused is on its way still."""
    charges = [
        charge(250, "kept"), charge(250, "refunded"), charge(7, "refunding"), charge(3, "refused"),
        charge(500, "refunded", "JPY"), charge(1, "refunding", "CHF"),
    ]  # fmt: skip
    eur, chf, jpy = sums_of({"amount": 250, "currency": "EUR", "status": "succeeded", "charges": charges})
    assert eur == Sums("EUR", owed=250, kept=250, on_its_way=10, sent_back=250)
    assert eur.taken == 510
    assert chf == Sums("CHF", owed=0, kept=0, on_its_way=1, sent_back=0)
    assert jpy == Sums("JPY", owed=0, kept=0, on_its_way=0, sent_back=500)


@pytest.mark.parametrize(
    ("status", "owed"), [("open", 250), ("succeeded", 250), ("closed", 0), ("refunding", 0), ("refunded", 0)]
)
def test_what_is_owed_hangs_on_where_it_stands(status: str, owed: int) -> None:
    """A closed order owes nothing, nor one whose money goes back."""
    (own,) = sums_of({"amount": 250, "currency": "EUR", "status": status, "charges": []})
    assert (own.owed, own.taken) == (owed, 0)
