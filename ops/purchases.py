"""Compares purchases of flash sales with what the store of pieces, and the order service, know of them."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Row, select

from common.db import Database
from flash.model import PurchaseFate, purchases
from flash.pieces.paging import MOST_PAGES, pages_of_open
from flash.pieces.port import MOST, Pieces, Purchase, PurchaseState
from halfmessage.ids import issued_at
from ops.findings import REPAIR, WAIT, Finding, Gravity, Limits, by_age, wrong
from ops.ledgers import Orders, pages

FLASH_DOES_IT: Final = "flash does it: where it stays so, orders status and the log of flash say what it meets"


def store_anew(sale_id: int) -> str:
    """Return how a store whose numbers of a sale are wrong gets them anew."""
    return f"orders flash rebuild {sale_id} --anew (docs/flash-sales.md)"


@dataclass(frozen=True, slots=True)
class UnderWay:
    """Purchases that took pieces and are no row yet; `is_all`: there are no more of them."""

    purchases: Sequence[Purchase]
    is_all: bool


def under_way(flash: Database, store: Pieces, sale_id: int) -> UnderWay:
    """Return the purchases of a sale that took pieces and are no row yet, of the `MOST_PAGES` oldest pages.

    Raise `Unavailable` where flash's database or the store of pieces does not answer.
    """
    found: list[Purchase] = []
    for number, page in enumerate(pages_of_open(store, sale_id)):
        if number == MOST_PAGES:
            return UnderWay(found, is_all=False)
        known = _rows(flash, [one.purchase_id for one in page])
        found += [one for one in page if one.purchase_id not in known]
    return UnderWay(found, is_all=True)


def _rows(flash: Database, purchase_ids: Collection[int]) -> dict[int, Row[Any]]:
    query = select(purchases).where(purchases.c.purchase_id.in_(purchase_ids))
    with flash.read() as connection:
        return {row.purchase_id: row for row in connection.execute(query)}


class Purchases:
    """The purchases of sales, in flash's database and in the store of pieces."""

    def __init__(self, flash: Database, store: Pieces, orders: Orders, limits: Limits) -> None:
        """Take flash's database, the store, and the orders."""
        self._flash, self._store, self._orders = flash, store, orders
        self._limits = limits

    def pages(self, sale_id: int) -> Iterator[Sequence[int]]:
        """Yield the ids of a sale's purchases: of those that are rows, then of those that are none yet."""
        rows = select(purchases.c.purchase_id).where(purchases.c.sale_id == sale_id)
        for page in pages(self._flash, rows, purchases.c.purchase_id):
            yield from (page[first : first + MOST] for first in range(0, len(page), MOST))
        under_way = [one.purchase_id for one in self.under_way(sale_id).purchases]
        yield from (under_way[first : first + MOST] for first in range(0, len(under_way), MOST))

    def under_way(self, sale_id: int) -> UnderWay:
        """Return the purchases that took pieces and are no row yet, of the `MOST_PAGES` oldest pages."""
        return under_way(self._flash, self._store, sale_id)

    def judge(self, sale_id: int, purchase_ids: Collection[int]) -> list[Finding]:
        """Return what is wrong with at most `MOST` purchases of a sale."""
        if not purchase_ids:
            return []
        stored = self._store.find(sale_id, list(purchase_ids))
        rows = _rows(self._flash, purchase_ids)
        alone = [one for one, found in stored.items() if one not in rows and found.state is PurchaseState.TAKEN]
        over = self._orders.requests(alone)
        found: list[Finding] = []
        for one in purchase_ids:
            if one in rows:
                found += self._judge_row(rows[one], stored.get(one))
            elif one in alone:
                found += self._judge_alone(one, over)
        return found

    def _judge_alone(self, purchase_id: int, requests: dict[int, int | None]) -> Iterator[Finding]:
        """Judge a purchase that took its pieces and that flash has never held for an order."""
        if purchase_id not in requests:
            what, since = "the purchase took its pieces, and there is no order request of it", issued_at(purchase_id)
            within = self._limits.grace
        elif (decided_at := requests[purchase_id]) is not None:
            what, since = "the purchase became no order, and its pieces are not given back", decided_at
            within = self._limits.confirm_within
        else:
            return  # its request waits, or its order stands, which is compared with what flash holds
        found = by_age(Gravity.UNRESOLVED, "purchase", str(purchase_id), what, since, within)
        yield found if found.gravity is Gravity.IN_PROGRESS else replace(found, remedy=FLASH_DOES_IT)

    def _judge_row(self, row: Row[Any], stored: Purchase | None) -> Iterator[Finding]:
        """Compare a purchase's row with what the store knows of it."""
        identity, state = str(row.purchase_id), None if stored is None else stored.state
        if stored is not None and (stored.user_id, stored.quantity) != (row.user_id, row.quantity):
            what = f"the store of pieces has {stored.quantity} of {stored.user_id}; the row has {row.quantity}"
            yield wrong("purchase", identity, what, store_anew(row.sale_id))
        elif row.fate == PurchaseFate.RETURNED:
            if state not in {None, PurchaseState.RETURNED}:
                yield wrong(
                    "purchase", identity, "its pieces are given back, and the store counts them as bought", REPAIR
                )
        elif state is PurchaseState.RETURNED:
            what = f"the purchase is {row.fate}, and the store has given its pieces back"
            yield wrong("purchase", identity, what, store_anew(row.sale_id))
        elif state is None:
            yield wrong("purchase", identity, f"the purchase is {row.fate}, and the store has forgotten it", REPAIR)
        elif state is PurchaseState.TAKEN:
            what = "the store has not heard that the purchase is held"
            yield by_age(
                Gravity.UNRESOLVED, "purchase", identity, what, issued_at(row.purchase_id), self._limits.confirm_within
            )
        elif row.fate == PurchaseFate.FREE:
            what = "no order holds the purchase now, and it is not known yet whether one will"
            yield Finding(Gravity.IN_PROGRESS, "purchase", identity, what, remedy=WAIT)
