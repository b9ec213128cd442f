"""What every strategy is to the reservations."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from halfmessage.errors import Unavailable

T = TypeVar("T")


class StockContended(Unavailable):
    """Too many orders want the same goods at once; nothing was changed, try again."""


Lines = Mapping[int, int]
"""Quantities by goods id."""


class Taker(Protocol):
    """Takes pieces inside one database transaction."""

    def take_all(self, connection: Connection, orders: Mapping[int, Lines]) -> dict[int, Sequence[int]]:
        """Take each order (by its id) whole or not at all; return of those that got nothing which goods are short.

        Called once in each try of the transaction. Raise `StockContended` where that never got through.
        """

    def begin(self, connection: Connection, goods_ids: Collection[int], orders: int) -> None:
        """Prepare for so many orders that want these goods; called once in each try, before the first `take`."""

    def take(self, connection: Connection, lines: Lines) -> list[int]:
        """Take the lines of one order; return the goods that are short: then the caller rolls back to before.

        Raise `StockContended` where that never got through.
        """


class Strategy(Protocol):
    """Runs whole transactions that take pieces."""

    def run(self, goods_ids: Collection[int], transact: Callable[[Taker], T]) -> T:
        """Return what `transact` returns; it may be run again if nothing of it was committed. Raises what it does."""


class Short(Exception):
    """There is not enough of some goods."""

    def __init__(self, goods_ids: Sequence[int]) -> None:
        """Take which."""
        super().__init__(goods_ids)
        self.goods_ids = tuple(goods_ids)


def take_one_by_one(taker: Taker, connection: Connection, orders: Mapping[int, Lines]) -> dict[int, Sequence[int]]:
    """Be the `take_all` of a strategy that knows only how to take one order."""
    taker.begin(connection, {goods_id for lines in orders.values() for goods_id in lines}, len(orders))
    short: dict[int, Sequence[int]] = {}
    for order_id, lines in orders.items():
        try:
            with connection.begin_nested():
                take_whole(taker, connection, lines)
        except Short as found:
            short[order_id] = found.goods_ids
    return short


def take_whole(taker: Taker, connection: Connection, lines: Lines) -> None:
    """Take the lines of one order. Raise `Short`: then the caller rolls back to before."""
    if short := taker.take(connection, lines):
        raise Short(short)
