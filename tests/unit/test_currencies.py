"""The list of currencies, held against another library's."""

import pycountry
import pytest

from common.currencies import CURRENCIES, decimals, written

NO_MINOR_UNIT = {"XAG", "XAU", "XBA", "XBB", "XBC", "XBD", "XDR", "XPD", "XPT", "XSU", "XTS", "XUA", "XXX"}
FUNDS = {"BOV", "CHE", "CHW", "CLF", "COU", "MXV", "USN", "UYI"}


def test_another_library_knows_the_same_currencies() -> None:
    """All of ISO 4217 that its other keeper lists, but what no price can be in."""
    assert set(CURRENCIES) == {currency.alpha_3 for currency in pycountry.currencies} - NO_MINOR_UNIT - FUNDS


@pytest.mark.parametrize("code", ["VED", "VES", "SLE", "XCG", "ZWG", "EUR", "JPY", "KWD"])
def test_active_codes_are_taken(code: str) -> None:
    """Those that came lately too."""
    assert code in CURRENCIES


@pytest.mark.parametrize("code", ["HRK", "ANG", "SLL", "ZWL", "BGN", "XXX", "XTS", "XAU", "CHE", "eur", ""])
def test_other_codes_are_not(code: str) -> None:
    """Withdrawn ones, those for tests, metals and funds."""
    assert code not in CURRENCIES


def test_decimals_are_those_of_iso_4217() -> None:
    """Of every currency there are as many as ISO 4217 says: none, two, three or four."""
    found = {code: decimals(code) for code in CURRENCIES}
    assert {code for code, number in found.items() if number != 2} == {
        "BHD", "BIF", "CLP", "DJF", "GNF", "IQD", "ISK", "JOD", "JPY", "KMF", "KRW", "KWD", "LYD", "OMR", "PYG", "RWF",
        "TND", "UGX", "UYW", "VND", "VUV", "XAF", "XOF", "XPF",
    }  # fmt: skip
    assert {found[code] for code in ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")} == {3}


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1250, "EUR", "12.50 EUR"),
        (5, "EUR", "0.05 EUR"),
        (0, "EUR", "0.00 EUR"),
        (500, "JPY", "500 JPY"),
        (1234, "KWD", "1.234 KWD"),
        (2**53 + 1, "USD", "90,071,992,547,409.93 USD"),
    ],
)
def test_amounts_as_people_write_them(amount: int, currency: str, text: str) -> None:
    """With the decimals of their currency, and exact however large."""
    assert written(amount, currency) == text


def test_an_amount_in_a_currency_that_is_not_known() -> None:
    """It is told as it is: a provider's event may name any three letters."""
    assert written(12345, "XTS") == "12,345 minor units of XTS"
