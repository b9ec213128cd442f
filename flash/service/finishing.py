"""What a sale owns at stock follows what it sold: a closed one gives back what was not bought, a void one all of it.

    end        the store of pieces sells nothing any more
    reckon     what is sold = what orders hold + what is free or still to be placed; the rest is given back
    tell       stock hears the sale's latest word

Reckoned again until nothing is still to be placed: then the sale is done.
"""

from functools import partial
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select, update

from common.db import Database
from flash.clients.stock import StockClient
from flash.model import PurchaseFate, SaleState, purchases, sales
from flash.pieces.paging import MOST_PAGES, pages_of_open
from flash.pieces.port import Pieces
from flash.service.reading import sale_of
from flash.service.turns import Turns
from halfmessage import failpoints
from halfmessage.chunks import VALUES
from halfmessage.clock import now_ms
from halfmessage.errors import Unavailable

_UNHEARD = sales.c.heard < sales.c.word
_PAGE = select(sales).order_by(sales.c.sale_id).limit(VALUES)
# Made once, for they run twice a second
_CLOSED_ONES = _PAGE.where(sales.c.state == SaleState.CLOSED.value)
_UNHEARD_ONES = _PAGE.where(_UNHEARD & (sales.c.state != SaleState.OPENING.value))


class Finishing:
    """Has stock know what sales own."""

    def __init__(self, database: Database, pieces: Pieces, stock: StockClient, *, drained_after: float) -> None:
        """Take the flash service's database, the store of pieces, and the stock service.

        `drained_after`: seconds after a sale's end from which nothing bought in it becomes an order any more.
        """
        self._database = database
        self._pieces = pieces
        self._stock = stock
        self._drained_ms = int(drained_after * 1000)

    def run(self) -> int:
        """Reckon what closed sales own, and have stock hear it; return how many sales' words were heard.

        Raise what the first sale raised that could not be: the others had their turn, and the next run goes on.
        """
        turns = Turns()
        turns.each(self._rows(_CLOSED_ONES), self._reckon)
        unheard = self._rows(_UNHEARD_ONES)
        turns.each(unheard, self._tell)
        turns.end()
        return len(unheard)

    def finish(self, sale_id: int) -> None:
        """Do that for one sale, now. Raise as `run` does."""
        one = sales.c.sale_id == sale_id
        for row in self._rows(_CLOSED_ONES.where(one)):
            self._reckon(row)
        for row in self._rows(_PAGE.where(one & _UNHEARD)):
            self._tell(row)

    def _rows(self, query: Select[Any]) -> list[Row[Any]]:
        with self._database.read() as connection:
            return list(connection.execute(query))

    def _reckon(self, row: Row[Any]) -> None:
        is_late = now_ms() - row.closed_at > self._drained_ms
        under_way = self._under_way(row, is_late=is_late)
        reckon = partial(_reckon, sale_id=row.sale_id, under_way=under_way, is_late=is_late)
        self._database.transact(reckon)

    def _under_way(self, row: Row[Any], *, is_late: bool) -> int:
        """Return the pieces of purchases that no row is known of yet, as the store says; none once it is too late."""
        try:
            self._pieces.put(sale_of(row._mapping).terms)  # noqa: SLF001 - its public name
            self._pieces.end(row.sale_id)
            pages = list(islice(pages_of_open(self._pieces, row.sale_id), MOST_PAGES + 1))
        except Unavailable:
            if not is_late:
                raise
            return 0
        if is_late:
            return 0
        if len(pages) > MOST_PAGES:  # nothing goes back before they are fewer
            return int(row.allotted - row.held)
        return sum(one.quantity for page in pages for one in page)

    def _tell(self, row: Row[Any]) -> None:
        self._stock.allot(row.sale_id, row.goods_id, row.allotted, row.word)
        failpoints.hit("sale.allotted")
        heard = update(sales).where((sales.c.sale_id == row.sale_id) & (sales.c.heard < row.word))
        self._database.transact(partial(Connection.execute, statement=heard.values(heard=row.word)))


def _reckon(connection: Connection, sale_id: int, under_way: int, *, is_late: bool) -> None:
    """Lower what a closed sale owns to what is sold; once nothing is under way, it is done."""
    is_closed = (sales.c.sale_id == sale_id) & (sales.c.state == SaleState.CLOSED.value)
    row = connection.execute(select(sales).where(is_closed).with_for_update()).first()
    if row is None:
        return
    is_free = (purchases.c.sale_id == sale_id) & (purchases.c.fate == PurchaseFate.FREE.value)
    free = int(connection.scalar(select(func.sum(purchases.c.quantity)).where(is_free)) or 0)
    allotted = min(row.allotted, row.held + free + under_way)
    changes: dict[str, Any] = {}
    if allotted < row.allotted:
        changes |= {"allotted": allotted, "word": sales.c.word + 1}
    if under_way == 0 and (free == 0 or is_late):
        changes |= {"state": SaleState.DONE.value}
    if changes:
        connection.execute(update(sales).where(is_closed).values(changes))
