"""The currencies that goods may be priced in: the active codes of ISO 4217, list one, as the library iso4217 has them.

Left out is what an amount in minor units can't be in: codes without a minor unit (metals, XDR, XTS for testing, XXX for
none), and what the list itself marks as a fund (such as CHE or CLF), which is no money that a customer could pay with.
"""

from decimal import Decimal
from typing import Final

from iso4217 import raw_table, raw_xml

_NO_MINOR_UNIT: Final = "N.A."


def _funds() -> frozenset[str | None]:
    entries = ((entry.findtext("Ccy"), entry.find("CcyNm")) for entry in raw_xml.iterfind("CcyTbl/CcyNtry"))
    return frozenset(code for code, name in entries if name is not None and name.get("IsFund", "").lower() == "true")


def _currencies() -> tuple[str, ...]:
    funds = _funds()
    active = {code: entry["CcyMnrUnts"] for code, entry in raw_table.items() if code is not None}  # Antarctica has none
    return tuple(sorted(code for code, unit in active.items() if unit != _NO_MINOR_UNIT and code not in funds))


CURRENCIES: Final = _currencies()

_DECIMALS: Final = {code: int(str(raw_table[code]["CcyMnrUnts"])) for code in CURRENCIES}


def decimals(currency: str) -> int:
    """Return how many decimals a currency has: 2 for EUR, 0 for JPY, 3 for KWD. Raise `KeyError` for an unknown one."""
    return _DECIMALS[currency]


def written(amount: int, currency: str) -> str:
    """Write an amount in minor units as people do: 12.50 EUR, 500 JPY, 1.234 KWD.

    Of a currency that is none of `CURRENCIES` it is not known what a minor unit is, which is said: a provider may tell
    of one, and one that rows have may leave the list.
    """
    if currency not in _DECIMALS:
        return f"{amount:,} minor units of {currency}"
    return f"{Decimal(amount).scaleb(-decimals(currency)):,f} {currency}"
