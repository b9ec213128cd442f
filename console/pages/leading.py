"""Where the ids in the evidence of a story lead to: pages of this deployment, which are for admins."""

import re
from collections.abc import Mapping
from typing import Final

from common.schema import WORD_PATTERN

_PAGES: Final[Mapping[str, str]] = {
    "message_id": "/messages/",
    "tx_id": "/find?q=",
    "request_id": "/find?q=",
    "purchase_id": "/find?q=",
    "sale_id": "/sales/",
    "coupon_id": "/coupons/",
}
"""The address of what evidence of a name tells the id of, but for the id."""
_OF_PAYMENT: Final = frozenset({"payment_id", "attempt_id", "event_id", "charge_id"})
"""What the page of an order's payment tells of; a payment has its order's id."""


def page_of(name: str, value: object, order_id: str) -> str:
    """Return the address that a value of an order's evidence leads to, empty where there is no such page."""
    if not isinstance(value, str):
        return ""
    if name in _OF_PAYMENT:
        return f"/payments/{order_id}"
    page = _PAGES.get(name, "")
    return page + value if page and re.fullmatch(WORD_PATTERN, value) else ""
