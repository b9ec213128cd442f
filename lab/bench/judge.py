"""The ledger after a run, in SQL and two streams side by side: exact, also with millions of orders.

Asked from outside, as `lab.drill.ledger` does; that one looks at more and holds all of it in memory.
"""

import heapq
import itertools
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import text

from common.db import Database
from lab.bench import ledger
from ops.errors import NotInTime
from ops.waiting import wait_for

_SHOWN = 5  # lines of each kind
_ROWS = 10_000  # fetched at once

_ORDERED = """
SELECT o.order_id, l.goods_id, l.quantity FROM orders AS o JOIN order_lines AS l ON l.order_id = o.order_id
WHERE o.order_id >= :since AND o.status <> 'closed' ORDER BY o.order_id, l.goods_id
"""
_HELD = """
SELECT r.order_id, l.goods_id, l.quantity FROM reservations AS r JOIN reservation_lines AS l ON l.order_id = r.order_id
WHERE r.order_id >= :since AND r.state = 'deducted' ORDER BY r.order_id, l.goods_id
"""
_WITHOUT_LINES = """
SELECT count(*) FROM {table} AS t
WHERE t.order_id >= :since AND t.{state} <> '{over}'
AND NOT EXISTS (SELECT 1 FROM {lines} AS l WHERE l.order_id = t.order_id)
"""
_ORDERS_WITHOUT_LINES = _WITHOUT_LINES.format(table="orders", state="status", over="closed", lines="order_lines")
_HELD_WITHOUT_LINES = _WITHOUT_LINES.format(
    table="reservations", state="state", over="released", lines="reservation_lines"
)
_UNRECORDED = """
SELECT count(*) FROM orders AS o LEFT JOIN transaction_records AS t ON t.tx_id = o.tx_id AND t.outcome = 'committed'
WHERE o.order_id >= :since AND t.tx_id IS NULL
"""
_IDS = "SELECT order_id FROM orders WHERE order_id >= :since ORDER BY order_id"

Line = tuple[int, int, int]
"""Order id, goods id, quantity."""


class Judge:
    """Compares what the order service and the stock service keep."""

    def __init__(self, order: Database, stock: Database) -> None:
        """Take the databases of both."""
        self._order, self._stock = order, stock

    def settle(self, acknowledged: Sequence[int], *, since: int = 0, within: float = 30.0) -> list[str]:
        """Wait until nothing is wrong, as rollbacks may be on their way; return what is, after `within` seconds."""
        try:
            wait_for("the ledger", lambda: not self.wrong(acknowledged, since=since), within=within, every=0.5)
        except NotInTime:
            return self.wrong(acknowledged, since=since)
        return []

    def wrong(self, acknowledged: Sequence[int], *, since: int = 0) -> list[str]:
        """Return what is wrong, in words; `acknowledged` are the orders that got a 201.

        Of orders, those from the id `since` on are looked at (ids rise with time); of stock, all.
        """
        return [
            *_few(ledger.disagreements(self._stock)),
            *_few(_differing(self._lines(self._order, _ORDERED, since), self._lines(self._stock, _HELD, since))),
            *_few(self._lost(acknowledged, since)),
            *self._counted(since),
        ]

    def newest(self) -> int:
        """Return the id of the newest order, 0 if there is none."""
        with self._order.read() as connection:
            return int(connection.scalar(text("SELECT max(order_id) FROM orders")) or 0)

    def _counted(self, since: int) -> Iterator[str]:
        for database, query, what in (
            (self._order, _ORDERS_WITHOUT_LINES, "orders without lines"),
            (self._stock, _HELD_WITHOUT_LINES, "live reservations without lines"),
            (self._order, _UNRECORDED, "orders whose transaction is not recorded as committed"),
        ):
            with database.read() as connection:
                number = connection.scalar(text(query), {"since": since})
            if number:
                yield f"{number} {what}"

    def _lost(self, acknowledged: Sequence[int], since: int) -> Iterator[str]:
        there = (row[0] for row in _stream(self._order, _IDS, since))
        for order_id in _missing(sorted(acknowledged), there):
            yield f"order {order_id}: acknowledged with 201, but it does not exist"

    @staticmethod
    def _lines(database: Database, query: str, since: int) -> Iterator[Line]:
        return ((row[0], row[1], row[2]) for row in _stream(database, query, since))


def _stream(database: Database, query: str, since: int) -> Iterator[Any]:
    with database.read() as connection:
        yield from connection.execution_options(yield_per=_ROWS).execute(text(query), {"since": since})


def _differing(ordered: Iterable[Line], held: Iterable[Line]) -> Iterator[str]:
    """Compare what open orders want with what is reserved, both in order."""
    tagged = heapq.merge(((line, "ordered") for line in ordered), ((line, "reserved") for line in held))
    for line, group in itertools.groupby(tagged, key=itemgetter(0)):
        sides = [side for _, side in group]
        if len(sides) == 1:
            order_id, goods_id, quantity = line
            yield f"order {order_id}: {quantity} of goods {goods_id} are {sides[0]} only"


def _missing(wanted: Sequence[int], there: Iterator[int]) -> Iterator[int]:
    """Return which of `wanted` are not in `there`, both in order."""
    seen = next(there, None)
    for order_id in wanted:
        while seen is not None and seen < order_id:
            seen = next(there, None)
        if seen != order_id:
            yield order_id


def _few(lines: Iterable[str]) -> list[str]:
    """Return the first lines, and how many more there are."""
    shown = list(itertools.islice(iterator := iter(lines), _SHOWN))
    more = sum(1 for _ in iterator)
    return [*shown, f"and {more:,} more like the last"] if more else shown
