"""Purchases whose orders are over come back: to their sale while it lasts, else to stock. Each once.

An order that lets a purchase go may be a try that is made again. So the order service is asked what became of the
purchase, and only then it is returned for good, which is a row; the store of pieces is told after that, until it knows.
"""

from collections.abc import Collection, Sequence
from functools import partial
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, bindparam, false, insert, select, update

from common.db import Database
from flash.clients.orders import Fate, OrdersClient
from flash.model import PurchaseFate, SaleState, purchases, sales
from flash.pieces.port import MOST, Buyer, Pieces, Purchase
from flash.service.turns import Turns
from halfmessage import failpoints
from halfmessage.chunks import VALUES, chunks, rows_in
from halfmessage.errors import DuplicateRow
from halfmessage.participant.counts import Counts

_TRIES: Final = 3  # of returning what another process enters meanwhile: it is found then

_SALES = Counts(sales.c.sale_id, "allotted")
_ROW = purchases.c
_OF_IDS = _ROW.purchase_id.in_(bindparam("purchase_ids", expanding=True))
_BY_IDS = select(purchases).where(_OF_IDS)
_FREE = _ROW.fate == PurchaseFate.FREE.value
_UNTOLD = (_ROW.fate == PurchaseFate.RETURNED.value) & (_ROW.told == false())
_PAGE = select(purchases).order_by(_ROW.purchase_id).limit(VALUES)
_FREE_ONES, _UNTOLD_ONES = _PAGE.where(_FREE), _PAGE.where(_UNTOLD)  # made once, for they run twice a second


class Returning:
    """Brings purchases back."""

    def __init__(self, database: Database, pieces: Pieces, orders: OrdersClient) -> None:
        """Take the flash service's database, the store of pieces, and the order service."""
        self._database = database
        self._pieces = pieces
        self._orders = orders

    def run(self) -> int:
        """Return what is over, and tell the store what was returned; return how many purchases that were.

        At most `VALUES` of each. Raise `Unavailable` or `OutcomeUnknown`: the next run goes on.
        """
        free = self._page(_FREE_ONES)
        fates = self._orders.fates([row.purchase_id for row in free]) if free else {}
        # One that has a row has come to the order service: where that knows it no more, it was decided long ago
        over = [row for row in free if fates[row.purchase_id] in {Fate.OVER, Fate.UNKNOWN}]
        if over:
            self._database.transact(partial(_return, purchase_ids=[row.purchase_id for row in over]))
            failpoints.hit("sale.returned")
        return len(over) + self._tell()

    def refuse(self, sale_id: int, refused: Sequence[Purchase]) -> None:
        """Return purchases that no order ever held, nor will: their requests were refused. Raises as `run` does."""
        for _ in range(_TRIES):
            try:
                self._database.transact(partial(_refuse, sale_id=sale_id, refused=refused))
                break
            except DuplicateRow:
                continue
        self._tell()

    def _tell(self) -> int:
        """Tell the store what was returned; return how many purchases, at most `VALUES` beside those that fail.

        What fails is left out of the next page, or there might be so much of it that nothing else is on any.
        """
        turns, told, without, query = Turns(), 0, set[int](), _UNTOLD_ONES
        while True:
            rows = sorted(self._page(query), key=lambda row: (row.sale_id, row.purchase_id))
            of_sales = [(sale_id, list(of_sale)) for sale_id, of_sale in groupby(rows, lambda row: row.sale_id)]
            failed = turns.each(of_sales, lambda one: self._tell_of(*one))
            told += len(rows) - sum(len(of_sale) for _, of_sale in failed)
            without |= {sale_id for sale_id, _ in failed}
            if not failed or len(without) >= VALUES:
                turns.end()
                return told
            query = _UNTOLD_ONES.where(_ROW.sale_id.not_in(sorted(without)))

    def _tell_of(self, sale_id: int, rows: Sequence[Row[Any]]) -> None:
        for part in chunks(rows, MOST):
            self._pieces.give_back(sale_id, [Buyer(row.purchase_id, row.user_id, row.quantity) for row in part])
            failpoints.hit("sale.given_back")
            told = update(purchases).where(_ROW.purchase_id.in_([row.purchase_id for row in part]))
            self._database.transact(partial(Connection.execute, statement=told.values(told=True)))

    def _page(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with self._database.read() as connection:
            return connection.execute(query).all()


def _return(connection: Connection, purchase_ids: Collection[int]) -> None:
    """Have free purchases be returned for good, those of a sale that is over and done with to stock."""
    named = {"purchase_ids": purchase_ids}
    # Their sales first, as everybody locks them: one that is reckoned meanwhile would count as free what is not, and be
    # done with it after it was not lowered here
    _SALES.lock(connection, set(connection.scalars(select(_ROW.sale_id).where(_OF_IDS), named)))
    rows = connection.execute(select(purchases).where(_OF_IDS & _FREE).with_for_update(), named).all()
    for row in rows:
        one = update(purchases).where((_ROW.purchase_id == row.purchase_id) & _FREE)
        connection.execute(one.values(fate=PurchaseFate.RETURNED.value))
        lower_done(connection, row.sale_id, row.quantity)


def lower_done(connection: Connection, sale_id: int, pieces: int) -> None:
    """Have a sale that is done with own so many pieces less; of any other that is reckoned otherwise."""
    is_done = (sales.c.sale_id == sale_id) & (sales.c.state == SaleState.DONE.value)
    less = {"allotted": sales.c.allotted - pieces, "word": sales.c.word + 1}
    connection.execute(update(sales).where(is_done).values(less))


def _refuse(connection: Connection, sale_id: int, refused: Sequence[Purchase]) -> None:
    known = {
        row.purchase_id for row in rows_in(connection, _BY_IDS, "purchase_ids", [one.purchase_id for one in refused])
    }
    rows = [
        {
            "purchase_id": one.purchase_id,
            "sale_id": sale_id,
            "user_id": one.user_id,
            "quantity": one.quantity,
            "holders": 0,
            "fate": PurchaseFate.RETURNED.value,
        }
        for one in refused
        if one.purchase_id not in known
    ]
    if rows:
        connection.execute(insert(purchases), rows)
