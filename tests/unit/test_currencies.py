"""The list of currencies, held against another library's."""

import pycountry
import pytest

from common.currencies import CURRENCIES

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
