"""What every strategy is to the reservations."""

from collections.abc import Callable, Collection, Mapping
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from common.errors import Unavailable

T = TypeVar("T")


class StockContended(Unavailable):
    """Too many orders want the same goods at once; nothing was changed, try again."""


class Taker(Protocol):
    """Takes pieces inside one database transaction."""

    def begin(self, connection: Connection, goods_ids: Collection[int], orders: int) -> None:
        """Prepare for so many orders that want these goods; called once in each try, before the first `take`."""

    def take(self, connection: Connection, lines: Mapping[int, int]) -> list[int]:
        """Take the quantities by goods id; return the goods that are short: then the caller rolls back to before.

        Raise `StockContended` where that never got through.
        """


class Strategy(Protocol):
    """Runs whole transactions that take pieces."""

    def run(self, goods_ids: Collection[int], transact: Callable[[Taker], T]) -> T:
        """Return what `transact` returns; it may be run again if nothing of it was committed. Raises what it does."""
