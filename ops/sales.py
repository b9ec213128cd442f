"""Compares flash sales with what stock keeps for them, and with the store that counts their pieces. It never writes.

Purchases of a sale, one by one: `ops.purchases`. What orders hold: `ops.holdings.flash`.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Row, func, select

from flash.model import PurchaseFate, SaleState, purchases, sales
from flash.model import pieces as tables
from flash.pieces.factory import store_of
from flash.pieces.port import Totals
from halfmessage.clock import now_ms
from halfmessage.errors import Unavailable
from ops.findings import BY_HAND, REPAIR, WAIT, Finding, Gravity, Limits, age_of, by_age, wrong
from ops.ledgers import Orders, opened, pages
from ops.purchases import FLASH_DOES_IT, Purchases, store_anew
from stock.model import allotments

LIVE: Final = (SaleState.OPEN.value, SaleState.CLOSED.value)
"""States in which the store of pieces counts a sale; of one that is done it may know nothing any more."""
STORE_DOWN: Final = Finding(
    Gravity.UNRESOLVED,
    "store",
    "pieces",
    "the store of pieces does not answer: what it counts was not compared",
    remedy="start what ORDERS_PIECES_URL names, and compare again",
)
_KNOWN: Final = (PurchaseFate.HELD.value, PurchaseFate.FREE.value)


def _pieces(*fates: str) -> Any:
    """Return the pieces of a sale's purchases with such a fate, as a column beside the sale's row."""
    of_sale = (purchases.c.sale_id == sales.c.sale_id) & purchases.c.fate.in_(fates)
    return select(func.coalesce(func.sum(purchases.c.quantity), 0)).where(of_sale).scalar_subquery()


class Sales:
    """The databases of flash and stock, and the store of pieces, of one deployment."""

    def __init__(self, flash_url: str, stock_url: str, pieces_url: str, orders: Orders, limits: Limits) -> None:
        """Open them for reading; `pieces_url`: as of `store_of`. Raise as that does, and `SchemaMismatch`."""
        self._flash, self._stock = opened("flash", flash_url), opened("stock", stock_url)
        self._store = store_of(pieces_url, self._flash, tables)
        self._grace = limits.grace
        self.purchases = Purchases(self._flash, self._store, orders, limits)

    def close(self) -> None:
        """Close all."""
        for each in (self._store, self._flash, self._stock):
            each.close()

    def answers(self) -> bool:
        """Whether the store of pieces does."""
        try:
            self._store.ping()
        except Unavailable:
            return False
        return True

    def ids(self) -> Iterator[Sequence[int]]:
        """Yield the ids of all sales, page by page."""
        return pages(self._flash, select(sales.c.sale_id), sales.c.sale_id)

    def counted(self) -> Iterator[Sequence[int]]:
        """Yield the ids of those that the store counts, page by page."""
        return pages(self._flash, select(sales.c.sale_id).where(sales.c.state.in_(LIVE)), sales.c.sale_id)

    def unknown(self) -> Iterator[Sequence[int]]:
        """Yield the ids for which stock keeps pieces and that are no sale's, page by page."""
        keeping = select(allotments.c.sale_id).where(allotments.c.quantity > 0)
        for page in pages(self._stock, keeping, allotments.c.sale_id):
            known = self._rows(page)
            yield [one for one in page if one not in known]

    def judge(self, sale_ids: Collection[int]) -> list[Finding]:
        """Return what is wrong with sales by themselves, and with what stock keeps for them."""
        if not sale_ids:
            return []
        rows = self._rows(sale_ids)
        query = select(allotments).where(allotments.c.sale_id.in_(sale_ids))
        with self._stock.read() as connection:
            kept = {row.sale_id: row for row in connection.execute(query)}
        found: list[Finding] = []
        for sale_id in sale_ids:
            row, allotment = rows.get(sale_id), kept.get(sale_id)
            if row is None:
                found += _without_sale(sale_id, allotment)
            else:
                found += self._judge_state(row)
                found += _judge_owned(row, allotment)
        return found

    def judge_count(self, sale_ids: Collection[int]) -> list[Finding]:
        """Return what is wrong with how many pieces of sales the store counts.

        Nothing of a sale that sells at that moment, or has more under way than are looked at: those are judged one by
        one.
        """
        return [finding for row in self._rows(sale_ids).values() for finding in self._judge_count(row)]

    def _judge_count(self, row: Row[Any]) -> Iterator[Finding]:
        sale_id = row.sale_id
        look, before = self._store.look(sale_id), self._store.totals(sale_id)
        if before is None or look is None or not look.is_ready:
            yield wrong("sale", str(sale_id), "the store of pieces does not know the sale, or not all of it", REPAIR)
            return
        if before.quantity != row.quantity:
            what = f"the store of pieces sells {before.quantity}; the sale has {row.quantity}"
            yield wrong("sale", str(sale_id), what, store_anew(sale_id))
        under_way = self.purchases.under_way(sale_id)
        now = self._rows([sale_id]).get(sale_id)
        is_moving = self.purchases.under_way(sale_id) != under_way or self._store.totals(sale_id) != before
        if now is None or is_moving or not under_way.is_all:
            return
        more = _more(before, now, sum(one.quantity for one in under_way.purchases))
        if more:
            what = f"the store of pieces counts {abs(more)} pieces {'more' if more > 0 else 'fewer'} than were bought"
            yield wrong("sale", str(sale_id), what, store_anew(sale_id))

    def _rows(self, sale_ids: Collection[int]) -> dict[int, Row[Any]]:
        """Return sales, and their pieces that are held or free, and those that are still to be given back."""
        untold = _pieces_untold()
        query = select(sales, _pieces(*_KNOWN).label("known"), untold.label("untold"))
        with self._flash.read() as connection:
            return {row.sale_id: row for row in connection.execute(query.where(sales.c.sale_id.in_(sale_ids)))}

    def _judge_state(self, row: Row[Any]) -> Iterator[Finding]:
        """Yield what flash should have done with a sale by now, and what it is at."""
        if row.state == SaleState.OPENING:
            yield self._late(row.sale_id, "the sale is being opened", row.created_at)
        elif row.state == SaleState.OPEN and row.ends_at <= now_ms():
            yield self._late(row.sale_id, "the sale's time is over, and it is not closed", row.ends_at)
        elif row.state == SaleState.CLOSED:
            what = "the sale is closed, and not all that was bought is decided"
            yield Finding(Gravity.IN_PROGRESS, "sale", str(row.sale_id), what, age_of(row.closed_at), WAIT)

    def _late(self, sale_id: int, what: str, since: int) -> Finding:
        found = by_age(Gravity.UNRESOLVED, "sale", str(sale_id), what, since, self._grace)
        return found if found.gravity is Gravity.IN_PROGRESS else replace(found, remedy=FLASH_DOES_IT)


def _pieces_untold() -> Any:
    is_untold = (purchases.c.fate == PurchaseFate.RETURNED.value) & ~purchases.c.told
    of_sale = (purchases.c.sale_id == sales.c.sale_id) & is_untold
    return select(func.coalesce(func.sum(purchases.c.quantity), 0)).where(of_sale).scalar_subquery()


def _more(totals: Totals, row: Row[Any], under_way: int) -> int:
    """Return how many pieces the store counts too many; what is just given back may be counted, or not any more."""
    least = int(row.known) + under_way
    most = least + int(row.untold)
    return max(0, totals.pieces - most) or min(0, totals.pieces - least)


def _without_sale(sale_id: int, allotment: Row[Any] | None) -> Iterator[Finding]:
    if allotment is None or not allotment.quantity:
        return
    what = f"stock keeps {allotment.quantity} pieces for a sale that does not exist"
    body = f'{{"goods_id": "{allotment.goods_id}", "quantity": 0, "version": {allotment.version + 1}}}'
    call = f"stock, with a token of scope service: PUT /internal/allotments/{sale_id} {body}"
    yield wrong("sale", str(sale_id), what, f"if flash will not be restored to a state that has it: {call}")


def _judge_owned(row: Row[Any], allotment: Row[Any] | None) -> Iterator[Finding]:
    """Yield what is wrong with what a sale owns: by its orders, and at stock."""
    if row.state == SaleState.OPENING:
        return
    kept, word = (allotment.quantity, allotment.version) if allotment is not None else (0, 0)
    sale_id = str(row.sale_id)
    if row.heard < row.word:
        what = "stock has not heard how many pieces the sale owns"
        yield Finding(Gravity.UNRESOLVED, "sale", sale_id, what, remedy=FLASH_DOES_IT)
    elif allotment is not None and allotment.goods_id != row.goods_id:
        yield wrong("sale", sale_id, f"stock keeps pieces of goods {allotment.goods_id} for the sale", BY_HAND)
    elif kept != row.allotted:
        what = f"the sale owns {row.allotted} pieces, and stock keeps {kept} for it"
        yield wrong("sale", sale_id, what, _say_again(row.sale_id, row.allotted, max(row.word, word) + 1))
    elif row.state == SaleState.DONE and row.allotted != row.known:
        what = f"the sale is done and owns {row.allotted} pieces, of which {row.known} are bought"
        yield wrong("sale", sale_id, what, _say_again(row.sale_id, int(row.known), row.word + 1))


def _say_again(sale_id: int, allotted: int, word: int) -> str:
    """Return how flash is made to tell stock what a sale owns."""
    sql = f"UPDATE sales SET allotted = {allotted}, word = {word} WHERE sale_id = {sale_id}"  # noqa: S608 # nosec B608 - shown, never executed
    return f"in flash's database: {sql}; flash tells stock then"
