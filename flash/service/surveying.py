"""One sale as an operator sees it: what it owns, its purchases by fate, what is under way, and why it is not done."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from sqlalchemy import func, select

from common.db import Database
from flash.model import PurchaseFate, Sale, SaleState, purchases, sales
from flash.pieces.paging import MOST_PAGES, pages_of_open
from flash.pieces.port import Phase, Pieces, Totals
from flash.service.reading import sale_of
from flash.service.showing import Showing
from halfmessage.clock import now_ms
from halfmessage.errors import NotFound, Unavailable
from halfmessage.ids import first_of, issued_at

SECONDS: Final = 60
"""The last ones, of which purchases are told second by second."""
MOST_SOLD: Final = 10_000
"""Purchases of these seconds that are looked at, the newest."""


@dataclass(frozen=True, slots=True)
class Survey:
    """A sale. `held`, `owned`: pieces that orders hold, and that it owns at stock.

    `purchases`: rows by fate. `untold`: those that were returned, which the store has not heard. `under_way`: purchases
    that took pieces and that the store knows no row of; None, as `store`: it does not answer, or not of this sale.
    `sold`: purchases that are rows, by the second (ms since the epoch) in which they were made.
    """

    sale: Sale
    phase: Phase
    left: int | None
    owned: int
    held: int
    stock_has_heard: bool
    purchases: Mapping[str, int]
    untold: int
    under_way: int | None
    is_all_under_way: bool
    store: Totals | None
    sold: Sequence[tuple[int, int]]

    @property
    def waits_for(self) -> Sequence[str]:
        """Why it is not done, in words; nothing where it is."""
        return list(self._reasons())

    def _reasons(self) -> Iterator[str]:
        if self.sale.state == SaleState.OPENING:
            yield "it is being opened: given up after the grace unless its pieces have left stock by then"
        if self.sale.state == SaleState.OPEN:
            yield "it goes on until its end, or until it is closed"
        if self.sale.state == SaleState.CLOSED:
            yield from self._reasons_of_closed()
        if not self.stock_has_heard and self.sale.state != SaleState.OPENING:
            yield "stock has not heard how many pieces it owns"
        if self.untold:
            yield f"{self.untold} purchases came back, which the store of pieces has not heard"

    def _reasons_of_closed(self) -> Iterator[str]:
        if self.under_way is None:
            yield "the store of pieces does not tell what is under way"
        elif self.under_way:
            more = "" if self.is_all_under_way else "more than "
            yield f"{more}{self.under_way} purchases took their pieces and are no order yet"
        if free := self.purchases.get(PurchaseFate.FREE.value):
            yield f"{free} purchases are held by no order now, and it is not known whether one will"


class Surveying:
    """Looks at sales, those too that are being opened or never came to be."""

    def __init__(self, database: Database, pieces: Pieces) -> None:
        """Take the flash service's database, and the store of pieces."""
        self._database, self._pieces = database, pieces
        self._showing = Showing(pieces)

    def survey(self, sale_id: int) -> Survey:
        """Return all of one sale. Raise `NotFound`, or `Unavailable` where the database does not answer."""
        of_sale = purchases.c.sale_id == sale_id
        by_fate = select(purchases.c.fate, func.count().label("number")).where(of_sale).group_by(purchases.c.fate)
        is_untold = of_sale & (purchases.c.fate == PurchaseFate.RETURNED.value) & ~purchases.c.told
        with self._database.read() as connection:
            row = connection.execute(select(sales).where(sales.c.sale_id == sale_id)).mappings().one_or_none()
            if row is None:
                raise NotFound("There is no such sale.")
            fates = {one.fate: int(one.number) for one in connection.execute(by_fate)}
            untold = connection.scalar(select(func.count()).select_from(purchases).where(is_untold)) or 0
            recent = of_sale & (purchases.c.purchase_id >= first_of(now_ms() - SECONDS * 1000))
            newest = select(purchases.c.purchase_id).where(recent).order_by(purchases.c.purchase_id.desc())
            seconds = Counter(issued_at(one) // 1000 * 1000 for one in connection.scalars(newest.limit(MOST_SOLD)))
        sale = sale_of(row)
        phase, left = self._showing.glance(sale)
        return Survey(
            sale=sale,
            phase=phase,
            left=left,
            owned=row["allotted"],
            held=row["held"],
            stock_has_heard=row["heard"] == row["word"],
            purchases=fates,
            untold=untold,
            **self._counted(sale_id),
            sold=sorted(seconds.items()),
        )

    def _counted(self, sale_id: int) -> dict[str, Any]:
        try:
            store = self._pieces.totals(sale_id)
            pages = [len(page) for page in islice(pages_of_open(self._pieces, sale_id), MOST_PAGES + 1)]
        except Unavailable:
            return {"store": None, "under_way": None, "is_all_under_way": True}
        under_way = None if store is None else sum(pages[:MOST_PAGES])
        return {"store": store, "under_way": under_way, "is_all_under_way": len(pages) <= MOST_PAGES}
