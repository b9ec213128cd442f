"""The store of pieces told a sale anew, from the rows that are there."""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Row, select

from common.db import Database
from flash.model import Sale, purchases
from flash.pieces.port import Pieces
from flash.pieces.rebuilding import rebuild
from flash.service.reading import told_of

_PAGE: Final = 500  # purchases read together


def rebuild_sale(database: Database, pieces: Pieces, sale: Sale) -> int:
    """Tell the store one sale anew; return how many purchases it had wrong. At any time, see `rebuild`.

    Raise `Unavailable` or `OutcomeUnknown`: begin anew.
    """
    return rebuild(pieces, sale.terms, map(told_of, _purchases(database, sale.sale_id)))


def _purchases(database: Database, sale_id: int) -> Iterator[Row[Any]]:
    """Yield all rows of a sale's purchases, page by page."""
    after = 0
    while True:
        later = (purchases.c.sale_id == sale_id) & (purchases.c.purchase_id > after)
        query = select(purchases).where(later).order_by(purchases.c.purchase_id).limit(_PAGE)
        with database.read() as connection:
            page = connection.execute(query).all()
        if not page:
            return
        yield from page
        after = page[-1].purchase_id
