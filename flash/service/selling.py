"""Sales are opened and closed.

    opening    the row, `opening`: whatever happens, a sweep finds it
    allot      stock has the sale own its pieces (word 1)
    open       the row, `open`, and the Idempotency-Key of the call: from here on the sale stands
    tell       the store of pieces knows it; where that fails, a sweep tells it

A sale that can't be opened is void: its second word to stock is that it owns nothing, which a late first one can't
undo.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Final

import structlog
from sqlalchemy import Connection, insert, update

from common.db import Database
from common.idempotency import Answered, IdempotencyKey, Keys
from flash.clients.goods import GoodsClient
from flash.clients.stock import StockClient
from flash.model import NewSale, Sale, SaleState, idempotency_keys, sales
from flash.pieces.port import Pieces
from flash.pieces.rebuilding import rebuild
from flash.service.reading import SaleReader, sale_of
from halfmessage import failpoints
from halfmessage.clock import now_ms
from halfmessage.errors import CommitOutcomeUnknown, HalfMessageError, OutcomeUnknown, Unavailable
from halfmessage.ids import IdSource

FIRST_WORD: Final = 1

log = structlog.get_logger()


class Selling:
    """Opens and closes sales."""

    def __init__(
        self,
        database: Database,
        reader: SaleReader,
        goods: GoodsClient,
        stock: StockClient,
        pieces: Pieces,
        ids: IdSource,
        finish: Callable[[int], object],
        forgotten: Callable[[int], object],
    ) -> None:
        """Take the flash service's database, what reads sales, its peers, the store of pieces, and what issues ids.

        `finish` does at once for a sale that was closed what a sweep would do for it; `forgotten` has a sweep tell the
        store one that could not be told.
        """
        self._database = database
        self._reader = reader
        self._goods = goods
        self._stock = stock
        self._pieces = pieces
        self._ids = ids
        self._finish = finish
        self._forgotten = forgotten
        self._opened = Keys(database, idempotency_keys, sale_of)

    def is_known(self, key: IdempotencyKey | None) -> bool:
        """Tell whether a sale was opened under this key. Raise `IdempotencyMismatch` or `Unavailable`."""
        return self._opened.find(key) is not None

    def open(self, new: NewSale, key: IdempotencyKey | None = None) -> Answered[Sale]:
        """Open a sale, once for each key.

        Raise `UnknownGoods`, `InsufficientStock`, `IdempotencyMismatch`, `Unavailable` (it will never sell anything) or
        `OutcomeUnknown`.
        """
        first = self._opened.find(key)
        if first is not None:
            return first
        sale = self._begin(new)
        try:
            self._stock.allot(sale.sale_id, sale.goods_id, sale.quantity, FIRST_WORD)
            failpoints.hit("sale.allotted")
            opened = self._opened.once(key, partial(_open, sale=sale))
        except (CommitOutcomeUnknown, OutcomeUnknown):
            raise  # it stands, or the sweep finds it
        except HalfMessageError:
            self._give_up(sale)
            raise
        if opened.replayed:  # the same key at once: the other one's sale stands
            self._give_up(sale)
            return opened
        failpoints.hit("sale.opened")
        self._tell(opened.answer)
        return opened

    def _begin(self, new: NewSale) -> Sale:
        goods = self._goods.get(new.goods_id)
        sale = Sale(
            sale_id=self._ids.next(),
            name=goods.name,
            brief=goods.brief,
            image=goods.image,
            market_price=goods.market_price,
            currency=goods.currency,
            state=SaleState.OPENING.value,
            created_at=now_ms(),
            **asdict(new),
        )
        row = asdict(sale) | {"allotted": sale.quantity, "word": FIRST_WORD}
        self._database.transact(lambda connection: connection.execute(insert(sales).values(row)))
        return sale

    def _give_up(self, sale: Sale) -> None:
        try:
            self._database.transact(partial(void, sale_id=sale.sale_id))
        except HalfMessageError as error:
            log.warning("a sale is left to the sweep", sale_id=str(sale.sale_id), reason=error.detail)

    def _tell(self, sale: Sale) -> None:
        try:
            rebuild(self._pieces, sale.terms, ())
        except HalfMessageError as error:
            self._forgotten(sale.sale_id)
            log.warning("the store of pieces does not know a sale yet", sale_id=str(sale.sale_id), reason=error.detail)

    def close(self, sale_id: int) -> Sale:
        """End a sale now; again: nothing. What it has not sold goes back to stock.

        Raise `NotFound`, `Unavailable` or `OutcomeUnknown`.
        """
        sale = self._reader.get(sale_id)
        if sale.state == SaleState.OPEN:
            self._database.transact(partial(mark_closed, sale_id=sale_id))
            failpoints.hit("sale.closed")
        try:
            self._finish(sale_id)
        except HalfMessageError as error:
            log.warning("a closed sale is left to the sweep", sale_id=str(sale_id), reason=error.detail)
        return self._reader.get(sale_id)


def _open(connection: Connection, sale: Sale) -> Sale:
    if not _move(connection, sale.sale_id, SaleState.OPENING, SaleState.OPEN, heard=FIRST_WORD):
        raise Unavailable("It took too long; the sale was not opened, try again.")
    return replace(sale, state=SaleState.OPEN.value)


def void(connection: Connection, sale_id: int) -> bool:
    """Give up a sale that is being opened; return whether it was."""
    return _move(connection, sale_id, SaleState.OPENING, SaleState.VOID, allotted=0, word=sales.c.word + 1)


def mark_closed(connection: Connection, sale_id: int) -> bool:
    """Let no user buy any more in a sale; return whether it was open."""
    return _move(connection, sale_id, SaleState.OPEN, SaleState.CLOSED, closed_at=now_ms())


def _move(connection: Connection, sale_id: int, before: SaleState, after: SaleState, **columns: Any) -> bool:
    is_before = (sales.c.sale_id == sale_id) & (sales.c.state == before.value)
    changed = update(sales).where(is_before).values(state=after.value, **columns)
    return connection.execute(changed).rowcount == 1
