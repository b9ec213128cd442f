"""Reads orders and reservations side by side, page by page, straight from both databases and never writing."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Column, Select, func, select

from common import schema_version
from common.db import Database
from halfmessage.participant.model import ReservationState
from order.model import Status, order_lines, orders, settlements
from stock.model import reservation_lines, reservations, stock

_PAGE = 500


@dataclass(frozen=True, slots=True)
class OrderRow:
    """What the order database says of one order; times in ms since the epoch."""

    status: Status
    expires_at: int
    closed_at: int | None
    unconfirmed: Mapping[str, int]
    """Since when which participant has something to confirm."""
    lines: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class ReservationRow:
    """What the stock database says of one order."""

    live: bool
    created_at: int
    lines: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Level:
    """The stock of one goods, with the sum of its live reservations, from one snapshot."""

    goods_id: int
    total: int
    available: int
    reserved: int


class Ledgers:
    """Both databases of one deployment."""

    def __init__(self, order_url: str, stock_url: str) -> None:
        """Open both for reading. Raise `SchemaMismatch` where they are another release's."""
        self._orders, self._stock = Database(order_url, pool_size=1), Database(stock_url, pool_size=1)
        schema_version.require("order", self._orders)
        schema_version.require("stock", self._stock)

    def close(self) -> None:
        """Close both."""
        self._orders.close()
        self._stock.close()

    def order_ids(self) -> Iterator[Sequence[int]]:
        """Yield the ids of all orders, page by page."""
        return pages(self._orders, select(orders.c.order_id), orders.c.order_id)

    def live_ids(self) -> Iterator[Sequence[int]]:
        """Yield the order ids of all live reservations, page by page."""
        live = select(reservations.c.order_id).where(reservations.c.state == ReservationState.DEDUCTED.value)
        return pages(self._stock, live, reservations.c.order_id)

    def unknown(self, order_ids: Collection[int]) -> list[int]:
        """Return those of the ids that are no order's."""
        with self._orders.read() as connection:
            known = set(connection.scalars(select(orders.c.order_id).where(orders.c.order_id.in_(order_ids))))
        return [order_id for order_id in order_ids if order_id not in known]

    def orders(self, order_ids: Collection[int]) -> dict[int, OrderRow]:
        """Return the orders that exist."""
        lines: dict[int, dict[int, int]] = defaultdict(dict)
        unconfirmed: dict[int, dict[str, int]] = defaultdict(dict)
        with self._orders.read() as connection:
            for line in connection.execute(select(order_lines).where(order_lines.c.order_id.in_(order_ids))):
                lines[line.order_id][line.goods_id] = line.quantity
            for row in connection.execute(select(settlements).where(settlements.c.order_id.in_(order_ids))):
                unconfirmed[row.order_id][row.participant] = row.since
            rows = connection.execute(select(orders).where(orders.c.order_id.in_(order_ids))).all()
        return {
            row.order_id: OrderRow(
                Status(row.status), row.expires_at, row.closed_at, unconfirmed[row.order_id], lines[row.order_id]
            )
            for row in rows
        }

    def reservations(self, order_ids: Collection[int]) -> dict[int, ReservationRow]:
        """Return the reservations that exist."""
        with self._stock.read() as connection:
            lines: dict[int, dict[int, int]] = defaultdict(dict)
            wanted = reservation_lines.c.order_id.in_(order_ids)
            for line in connection.execute(select(reservation_lines).where(wanted)):
                lines[line.order_id][line.goods_id] = line.quantity
            found = connection.execute(select(reservations).where(reservations.c.order_id.in_(order_ids)))
            return {
                row.order_id: ReservationRow(
                    row.state == ReservationState.DEDUCTED.value, row.created_at, lines[row.order_id]
                )
                for row in found
            }

    def levels(self) -> list[Level]:
        """Return the stock of all goods, one snapshot: what is reserved is summed up in the database."""
        live = reservations.c.state == ReservationState.DEDUCTED.value
        sums = (
            select(reservation_lines.c.goods_id, func.sum(reservation_lines.c.quantity).label("reserved"))
            .join(reservations, reservations.c.order_id == reservation_lines.c.order_id)
            .where(live)
            .group_by(reservation_lines.c.goods_id)
        )
        with self._stock.read(snapshot=True) as connection:
            reserved = {row.goods_id: int(row.reserved) for row in connection.execute(sums)}
            rows = {row.goods_id: (row.total, row.available) for row in connection.execute(select(stock))}
        return [Level(g, *rows.get(g, (0, 0)), reserved.get(g, 0)) for g in sorted(rows.keys() | reserved.keys())]


def pages(database: Database, query: Select[int], key: Column[int]) -> Iterator[Sequence[int]]:
    """Yield what a query returns of the column `key`, page by page."""
    after = 0
    while True:
        with database.read() as connection:
            page = connection.scalars(query.where(key > after).order_by(key).limit(_PAGE)).all()
        if not page:
            return
        yield page
        after = page[-1]
