"""What the reservations of stock hold: pieces of goods, in lines."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, TypeVar

from sqlalchemy import Connection, bindparam, func, insert, select

from common.db import Database
from halfmessage.chunks import rows_in
from halfmessage.participant.effect import Effect, Members, Refusal, Taker
from halfmessage.participant.reservations import Reservations
from stock.model import reservation_lines, reservations
from stock.service.strategies.in_database import LEVELS, Conditional
from stock.service.strategies.port import Lines, Strategy
from stock.service.strategies.port import Taker as PieceTaker

T = TypeVar("T")

INSUFFICIENT: Final = "insufficient"

# Made once, for they run for every order: SQLAlchemy keeps what it compiled of them.
NEW_LINES = insert(reservation_lines)
_OF_ORDERS = reservation_lines.c.order_id.in_(bindparam("order_ids", expanding=True))
_LINES = select(reservation_lines.c.goods_id, reservation_lines.c.quantity).where(_OF_ORDERS)
_NUMBERS = select(reservation_lines.c.order_id, func.count()).where(_OF_ORDERS).group_by(reservation_lines.c.order_id)


def stock_reservations(database: Database, strategy: Strategy | None = None) -> Reservations[Lines]:
    """Return the stock service's reservations; pieces are taken as `strategy` does (`Conditional` unless told)."""
    return Reservations("stock", database, reservations, Pieces(strategy or Conditional()))


class Pieces(Effect[Lines]):
    """Takes an order's lines by a strategy, and gives them back."""

    held = reservation_lines

    def __init__(self, strategy: Strategy) -> None:
        """Take how pieces are taken."""
        self._strategy = strategy

    def run(self, wants: Mapping[int, Lines], transact: Callable[[Taker[Lines]], T]) -> T:
        """Run it as the strategy does. Raise `StockContended`, and what `transact` does."""
        return self._strategy.run(_goods_of(wants), lambda taker: transact(_Taking(taker)))

    def unfit(self, want: Lines) -> Refusal:
        """Return that all of its goods are short."""
        return _short(sorted(want))

    def give_back(self, connection: Connection, order_ids: Collection[int]) -> None:
        """Add the lines of these orders to what is available."""
        back: defaultdict[int, int] = defaultdict(int)
        for goods_id, quantity in rows_in(connection, _LINES, "order_ids", order_ids):
            back[goods_id] += quantity
        LEVELS.add(connection, {goods_id: (quantity,) for goods_id, quantity in back.items()})

    def describe(self, connection: Connection, order_id: int) -> Members:
        """Return the lines."""
        found = connection.execute(_LINES, {"order_ids": [order_id]})
        return {"items": [{"goods_id": goods_id, "quantity": quantity} for goods_id, quantity in found]}

    def weigh(self, connection: Connection, order_ids: Collection[int]) -> dict[int, int]:
        """Return how many lines each has that has any."""
        return {order_id: int(number) for order_id, number in rows_in(connection, _NUMBERS, "order_ids", order_ids)}


class _Taking(Taker[Lines]):
    """Takes pieces in one transaction of a strategy, and writes the lines down."""

    def __init__(self, taker: PieceTaker) -> None:
        self._taker = taker

    def begin(self, connection: Connection, wants: Mapping[int, Lines]) -> None:
        self._taker.begin(connection, _goods_of(wants), len(wants))

    def take(self, connection: Connection, order_id: int, want: Lines) -> Refusal | None:
        if short := self._taker.take(connection, want):
            return _short(short)
        connection.execute(NEW_LINES, _rows({order_id: want}))
        return None

    def take_all(self, connection: Connection, wants: Mapping[int, Lines]) -> dict[int, Refusal]:
        short = self._taker.take_all(connection, wants)
        taken = {order_id: lines for order_id, lines in wants.items() if order_id not in short}
        if taken:
            connection.execute(NEW_LINES, _rows(taken))
        return {order_id: _short(goods_ids) for order_id, goods_ids in short.items()}


def _goods_of(wants: Mapping[int, Lines]) -> set[int]:
    return {goods_id for lines in wants.values() for goods_id in lines}


def _short(goods_ids: Sequence[int]) -> Refusal:
    return Refusal(INSUFFICIENT, {"short": tuple(goods_ids)})


def _rows(orders: Mapping[int, Lines]) -> list[dict[str, int]]:
    return [
        {"order_id": order_id, "goods_id": goods_id, "quantity": quantity}
        for order_id, lines in orders.items()
        for goods_id, quantity in sorted(lines.items())
    ]
