"""Strategies that need nothing but the database."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

from sqlalchemy import Connection, bindparam, select, update

from halfmessage.chunks import VALUES, chunks, rows_in
from stock.model import stock
from stock.service.strategies.port import Lines, StockContended, Taker, take_one_by_one

T = TypeVar("T")

# Made once, for it runs for every line of every order: SQLAlchemy keeps what it compiled of it.
_TAKE = (
    update(stock)
    .where((stock.c.goods_id == bindparam("goods")) & (stock.c.available >= bindparam("quantity")))
    .values(available=stock.c.available - bindparam("quantity"), version=stock.c.version + 1)
)

_LOCKED_LEVELS = (
    select(stock.c.goods_id, stock.c.available)
    .where(stock.c.goods_id.in_(bindparam("goods_ids", expanding=True)))
    .order_by(stock.c.goods_id)
    .with_for_update()
)

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
            _lock(connection, goods_ids)

    def _take_one(self, connection: Connection, goods_id: int, quantity: int) -> bool:
        return connection.execute(_TAKE, {"goods": goods_id, "quantity": quantity}).rowcount == 1


class Pessimistic(_InDatabase):
    """SELECT … FOR UPDATE of all goods of the batch, in the order of their ids; then what was read holds."""

    def take_all(self, connection: Connection, orders: Mapping[int, Lines]) -> dict[int, Sequence[int]]:
        """Take all of them together."""
        return _take_together(connection, orders)

    def begin(self, connection: Connection, goods_ids: Collection[int], orders: int) -> None:  # noqa: ARG002 - port's
        """Lock them."""
        _lock(connection, goods_ids)

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
    left = _locked_levels(connection, {goods_id for lines in orders.values() for goods_id in lines})
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
        change_levels(connection, {goods_id: -quantity for goods_id, quantity in taken.items()})
    return short


def change_levels(connection: Connection, changes: Mapping[int, int]) -> None:
    """Add to what is available of several goods (goods id → pieces), in the order of their ids, with few UPDATEs."""
    for part in chunks(sorted(changes.items()), VALUES):
        goods_ids = tuple(goods_id for goods_id, _ in part)
        parameters = (*(value for pair in part for value in pair), *goods_ids)
        connection.exec_driver_sql(_change_statement(len(part), connection.dialect.positional), parameters)


@lru_cache(maxsize=VALUES)
def _change_statement(goods: int, qmark: bool) -> str:
    """Write the UPDATE for so many goods. SQLAlchemy would take a millisecond to put one together for each batch."""
    mark = "?" if qmark else "%s"
    cases = f" WHEN {mark} THEN {mark}" * goods
    marks = ", ".join([mark] * goods)
    return (
        f"UPDATE stock SET available = available + CASE goods_id{cases} END, version = version + 1 "  # noqa: S608 # nosec B608
        f"WHERE goods_id IN ({marks})"
    )


def _locked_levels(connection: Connection, goods_ids: Collection[int]) -> dict[int, int]:
    return dict(rows_in(connection, _LOCKED_LEVELS, "goods_ids", sorted(goods_ids)))


def _lock(connection: Connection, goods_ids: Collection[int]) -> None:
    _locked_levels(connection, goods_ids)


def _lower(connection: Connection, condition: object, quantity: int) -> bool:
    changes = {"available": stock.c.available - quantity, "version": stock.c.version + 1}
    return connection.execute(update(stock).where(condition).values(changes)).rowcount == 1  # type: ignore[arg-type]
