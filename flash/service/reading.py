"""Sales as they are."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import fields
from threading import Lock
from typing import Any, Final

from common.db import Database
from common.rows import Rows
from flash.model import Sale, SaleState, sales
from halfmessage.errors import NotFound

_SHOWN: Final = (SaleState.OPEN.value, SaleState.CLOSED.value, SaleState.DONE.value)
_REMEMBERED: Final = 1000  # sales whose terms are kept at hand: they never change
COLUMNS: Final = tuple(field.name for field in fields(Sale))


def sale_of(row: Mapping[Any, Any]) -> Sale:
    """Return the sale that a row, or an answer that was kept, says."""
    return Sale(**{name: row[name] for name in COLUMNS})


class SaleReader:
    """Reads sales. Those that never came to be are nobody's business."""

    def __init__(self, database: Database) -> None:
        """Take the flash service's database."""
        self._rows: Rows[Sale] = Rows(database, sales.c.sale_id, COLUMNS, sale_of)
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
