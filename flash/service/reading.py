"""Sales as they are."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import fields
from threading import Lock
from typing import Any, Final

from sqlalchemy import Row, select

from common.db import Database
from common.rows import Rows
from flash.model import PurchaseFate, Sale, SaleState, purchases, sales
from flash.pieces.port import Purchase, PurchaseState
from halfmessage.errors import NotFound

_SHOWN: Final = (SaleState.OPEN.value, SaleState.CLOSED.value, SaleState.DONE.value)
_REMEMBERED: Final = 1000  # sales whose terms are kept at hand: they never change
COLUMNS: Final = tuple(field.name for field in fields(Sale))


def sale_of(row: Mapping[Any, Any]) -> Sale:
    """Return the sale that a row, or an answer that was kept, says; an earlier release's has no `queue_rate`."""
    return Sale(**{name: row[name] for name in COLUMNS if name in row})


def told_of(row: Row[Any]) -> Purchase:
    """Return what a row says of a purchase, as the store of pieces is told it."""
    state = PurchaseState.RETURNED if row.fate == PurchaseFate.RETURNED else PurchaseState.HELD
    return Purchase(row.purchase_id, row.user_id, row.quantity, state)


class SaleReader:
    """Reads sales. Those that never came to be are not shown."""

    def __init__(self, database: Database) -> None:
        """Take the flash service's database."""
        self._database = database
        self._rows: Rows[Sale] = Rows(database, sales.c.sale_id, Sale, sale_of)
        self._known: OrderedDict[int, Sale] = OrderedDict()
        self._guard = Lock()

    def get(self, sale_id: int) -> Sale:
        """Return a sale as it is now. Raise `NotFound` or `Unavailable`."""
        sale = self._rows.get(sale_id)
        if sale.state in {SaleState.OPENING, SaleState.VOID}:
            raise NotFound("There is no such sale.")
        return sale

    def newest(self, limit: int, before: int | None, *, is_open: bool | None) -> list[Sale]:
        """Return up to `limit` sales, newest first, opened before the sale `before`; open ones, others, or all."""
        states = _SHOWN if is_open is None else _SHOWN[:1] if is_open else _SHOWN[1:]
        return self._rows.newest(limit, before, sales.c.state.in_(states))

    def on_at(self, at: int, apart: int, limit: int) -> list[Sale]:
        """Return up to `limit` sales in which somebody could buy at a time, give or take `apart` ms, newest first.

        None that is done: nothing bought in it is still to become an order.
        """
        is_live = sales.c.state.in_(_SHOWN[:2])
        is_on = (sales.c.starts_at <= at + apart) & (sales.c.ends_at > at - apart)
        is_not_closed = sales.c.closed_at.is_(None) | (sales.c.closed_at >= at - apart)
        return self._rows.newest(limit, None, is_live & is_on & is_not_closed)

    def purchase(self, purchase_id: int) -> tuple[int, Purchase] | None:
        """Return a purchase that is a row, and its sale's id; None: it is none, or not yet."""
        with self._database.read() as connection:
            row = connection.execute(select(purchases).where(purchases.c.purchase_id == purchase_id)).one_or_none()
        return None if row is None else (row.sale_id, told_of(row))

    def known(self, sale_id: int) -> Sale:
        """Return a sale, perhaps as it was a while ago: all of it but its state is as ever. Raise as `get` does."""
        with self._guard:
            sale = self._known.get(sale_id)
        if sale is None:
            sale = self.get(sale_id)
            with self._guard:
                self._known[sale_id] = sale
                if len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
        return sale
