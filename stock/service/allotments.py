"""Pieces that flash sales own: moved between what is available and a sale's allotment, each way once.

The sale says how many it is to own, and numbers its words: what comes late, or again, changes nothing.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, insert, select, update

from common.db import Database
from common.errors import Invalid
from halfmessage.errors import DuplicateRow, NotFound, Unavailable
from stock.model import InsufficientStock, allotments, stock

_TRIES: Final = 5  # while others move the same allotment

_ROW = allotments.c


@dataclass(frozen=True, slots=True)
class Allotment:
    """What a sale owns: pieces of one goods. `version`: the number of the word that says so."""

    sale_id: int
    goods_id: int
    quantity: int
    version: int


class _Raced(DuplicateRow):
    """Another call has moved the allotment since it was read."""


class Allotments:
    """The allotments of one database."""

    def __init__(self, database: Database) -> None:
        """Take the stock service's database."""
        self._database = database

    def get(self, sale_id: int) -> Allotment:
        """Return what a sale owns. Raise `NotFound` where it never owned anything."""
        with self._database.read() as connection:
            found = _find(connection, sale_id)
        if found is None:
            raise NotFound("This sale never owned any pieces.")
        return found

    def put(self, wanted: Allotment) -> Allotment:
        """Have a sale own so many pieces, unless a later word was heard; return what it owns now.

        Raise `InsufficientStock` where more are wanted than are available, `Invalid` for other goods than before,
        `Unavailable` (nothing was moved) or `OutcomeUnknown`.
        """
        for _ in range(_TRIES):
            try:
                return self._database.transact(lambda connection: _put(connection, wanted))
            except DuplicateRow:
                continue
        raise Unavailable("This allotment is moved by others all the time; nothing was changed, try again.")


def _put(connection: Connection, wanted: Allotment) -> Allotment:
    found = _find(connection, wanted.sale_id)
    if found is None:
        connection.execute(insert(allotments).values(_row(wanted)))
        _move(connection, wanted.goods_id, wanted.quantity)
        return wanted
    if found.goods_id != wanted.goods_id:
        raise Invalid(errors=[{"pointer": "/goods_id", "message": "the sale owns other goods"}])
    if found.version >= wanted.version:
        return found
    is_as_read = (_ROW.sale_id == wanted.sale_id) & (_ROW.version == found.version)
    if connection.execute(update(allotments).where(is_as_read).values(_row(wanted))).rowcount == 0:
        raise _Raced
    _move(connection, wanted.goods_id, wanted.quantity - found.quantity)  # after it is known to be the difference
    return wanted


def _move(connection: Connection, goods_id: int, pieces: int) -> None:
    """Take pieces from what is available, or give back where that is below 0. Raise `InsufficientStock`."""
    if pieces == 0:
        return
    change = (
        update(stock)
        .where((stock.c.goods_id == goods_id) & (stock.c.available >= pieces))
        .values(available=stock.c.available - pieces, version=stock.c.version + 1)
    )
    if connection.execute(change).rowcount == 0:
        raise InsufficientStock


def _find(connection: Connection, sale_id: int) -> Allotment | None:
    row = connection.execute(select(allotments).where(_ROW.sale_id == sale_id)).one_or_none()
    return None if row is None else Allotment(row.sale_id, row.goods_id, row.quantity, row.version)


def _row(allotment: Allotment) -> dict[str, int]:
    return {
        "sale_id": allotment.sale_id,
        "goods_id": allotment.goods_id,
        "quantity": allotment.quantity,
        "version": allotment.version,
    }
