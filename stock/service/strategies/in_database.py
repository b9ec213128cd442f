"""Strategies that need nothing but the database."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from sqlalchemy import Connection, bindparam, select, update

from halfmessage.participant.counts import Counts
from stock.model import stock
from stock.service.strategies.port import Lines, StockContended, Taker, take_one_by_one

T = TypeVar("T")

# Made once, for it runs for every line of every order: SQLAlchemy keeps what it compiled of it.
_TAKE = (
    update(stock)
    .where((stock.c.goods_id == bindparam("goods")) & (stock.c.available >= bindparam("quantity")))
    .values(available=stock.c.available - bindparam("quantity"), version=stock.c.version + 1)
)

LEVELS = Counts(stock.c.goods_id, "available", also="version = version + 1")

ATTEMPTS = 50  # of one line; each was lost to another order that got through


class _InDatabase:
    """A strategy whose transaction is all there is to it; `_take_one` says how one line is taken."""

    def run(self, _goods_ids: Collection[int], transact: Callable[[Taker], T]) -> T:
        """Run it."""
        return transact(self)

    def take_all(self, connection: Connection, orders: Mapping[int, Lines]) -> dict[int, Sequence[int]]:
        """Take one order after the other."""
        return take_one_by_one(self, connection, orders)

    def begin(self, connection: Connection, goods_ids: Collection[int], orders: int) -> None:
        """Nothing to prepare."""

    def take(self, connection: Connection, lines: Lines) -> list[int]:
        """Take the lines in the order of their goods: one order of locking for everybody."""
        return [
            goods_id
            for goods_id, quantity in sorted(lines.items())
            if not self._take_one(connection, goods_id, quantity)
        ]

    def _take_one(self, connection: Connection, goods_id: int, quantity: int) -> bool:
        raise NotImplementedError


class Conditional(_InDatabase):
    """One guarded UPDATE a line: the database decides and takes in one statement.

    For several lines at once that would be as many statements: they are read under locks, and taken with one UPDATE.
    """

    def take_all(self, connection: Connection, orders: Mapping[int, Lines]) -> dict[int, Sequence[int]]:
        """Take the only line there is, or all of them together."""
        if sum(map(len, orders.values())) > 1:
            return _take_together(connection, orders)
        return {order_id: short for order_id, lines in orders.items() if (short := self.take(connection, lines))}

    def begin(self, connection: Connection, goods_ids: Collection[int], orders: int) -> None:
        """Lock the goods of a batch in one order for everybody: its orders alone would lock them each in its own."""
        if orders > 1:
            LEVELS.lock(connection, goods_ids)

    def _take_one(self, connection: Connection, goods_id: int, quantity: int) -> bool:
        return connection.execute(_TAKE, {"goods": goods_id, "quantity": quantity}).rowcount == 1


class Pessimistic(_InDatabase):
    """SELECT … FOR UPDATE of all goods of the batch, in the order of their ids; then what was read holds."""

    def take_all(self, connection: Connection, orders: Mapping[int, Lines]) -> dict[int, Sequence[int]]:
        """Take all of them together."""
        return _take_together(connection, orders)

    def begin(self, connection: Connection, goods_ids: Collection[int], orders: int) -> None:  # noqa: ARG002 - port's
        """Lock them."""
        LEVELS.lock(connection, goods_ids)

    def _take_one(self, connection: Connection, goods_id: int, quantity: int) -> bool:
        available = connection.scalar(select(stock.c.available).where(stock.c.goods_id == goods_id).with_for_update())
        if available is None or available < quantity:
            return False
        return _lower(connection, stock.c.goods_id == goods_id, quantity)


class Optimistic(_InDatabase):
    """Read, decide, then write only if the version is still the one that was read; else look again."""

    def _take_one(self, connection: Connection, goods_id: int, quantity: int) -> bool:
        query = select(stock.c.available, stock.c.version).where(stock.c.goods_id == goods_id)
        for _ in range(ATTEMPTS):
            seen = connection.execute(query).one_or_none()
            if seen is None or seen.available < quantity:
                return False
            if _lower(connection, (stock.c.goods_id == goods_id) & (stock.c.version == seen.version), quantity):
                return True
        raise StockContended


class Naive(_InDatabase):
    """Read, decide, then write what was computed: what not to do. Two at once take the same piece twice."""

    def _take_one(self, connection: Connection, goods_id: int, quantity: int) -> bool:
        available = connection.scalar(select(stock.c.available).where(stock.c.goods_id == goods_id))
        if available is None or available < quantity:
            return False
        left = {"available": available - quantity, "version": stock.c.version + 1}
        return connection.execute(update(stock).where(stock.c.goods_id == goods_id).values(left)).rowcount == 1


def _take_together(connection: Connection, orders: Mapping[int, Lines]) -> dict[int, Sequence[int]]:
    """Look at all goods under locks, taken in the order of their ids; decide; take with one UPDATE."""
    levels = LEVELS.lock(connection, {goods_id for lines in orders.values() for goods_id in lines})
    left = {goods_id: level.available for goods_id, level in levels.items()}
    taken: dict[int, int] = defaultdict(int)
    short: dict[int, Sequence[int]] = {}
    for order_id, lines in orders.items():
        wanting = [goods_id for goods_id, quantity in sorted(lines.items()) if left.get(goods_id, 0) < quantity]
        if wanting:
            short[order_id] = wanting
            continue
        for goods_id, quantity in lines.items():
            left[goods_id] -= quantity
            taken[goods_id] += quantity
    if taken:
        LEVELS.add(connection, {goods_id: (-quantity,) for goods_id, quantity in taken.items()})
    return short


def _lower(connection: Connection, condition: object, quantity: int) -> bool:
    changes = {"available": stock.c.available - quantity, "version": stock.c.version + 1}
    return connection.execute(update(stock).where(condition).values(changes)).rowcount == 1  # type: ignore[arg-type]
