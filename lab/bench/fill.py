"""Fills the databases of a system under test with orders in bulk, as placing them would have: 10,000 a statement.

The rows are made by the database server itself, from a table of numbers and one of goods and users that are dropped
afterwards, so that ten million take minutes. Each chunk is one transaction a database, stock included: conservation
holds at every read.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from sqlalchemy import Connection, text

from common.db import Database
from halfmessage.clock import now_ms
from halfmessage.ids import EPOCH
from lab.bench.fill_sql import (
    AT,
    CALLS,
    CHARGES,
    HELD,
    KEYS,
    KINDS,
    LINES,
    NUMBERS,
    ORDERS,
    PAID,
    PAYMENTS,
    RECORDS,
    RESERVATIONS,
    RETURNS,
    SETTLEMENTS,
    TAKE,
)

CHUNK = 10_000
_NODE_BITS = 22  # of a snowflake: what is below its time
_LIFE = 900_000  # ms from placing an order to when it falls due, of those that do not fall due later


class Kind(StrEnum):
    """How the orders are."""

    SETTLED = "settled"  # paid, but every tenth, which was closed long ago
    KNOWN = "known"  # the same, with all that the console may ask for: payments, charges, keys and ids of calls
    UNPAID = "unpaid"
    CANCELLED = "cancelled"  # and what they hold is not released yet
    CLOSED = "closed"  # long ago


_CLOSED_TENTH = "CASE WHEN s.n % 10 = 0 THEN {} ELSE {} END"
_VALUES: dict[Kind, Mapping[str, str]] = {
    Kind.SETTLED: {
        "status": _CLOSED_TENTH.format("'closed'", "'paid'"),
        "reason": _CLOSED_TENTH.format("'timeout'", "NULL"),
        "due": f"{AT} + {_LIFE}",
        "paid": _CLOSED_TENTH.format("NULL", f"{AT} + 1000"),
        "closed": _CLOSED_TENTH.format(f"{AT} + {_LIFE}", "NULL"),
        "state": _CLOSED_TENTH.format("'released'", "'deducted'"),
        "verified": "1",
        "released": _CLOSED_TENTH.format(f"{AT} + {_LIFE}", "NULL"),
        "payment": _CLOSED_TENTH.format("'closed'", "'succeeded'"),
        "provider": _CLOSED_TENTH.format("NULL", "'sandbox'"),
    },
    Kind.UNPAID: {
        "status": "'created'",
        "reason": "NULL",
        "due": ":due",
        "paid": "NULL",
        "closed": "NULL",
        "state": "'deducted'",
        "verified": "1",
        "released": "NULL",
        "payment": "'open'",
    },
    Kind.CANCELLED: {
        "status": "'closed'",
        "reason": "'cancelled'",
        "due": f"{AT} + {_LIFE}",
        "paid": "NULL",
        "closed": f"{AT} + 1",
        "state": "'deducted'",
        "verified": "1",
        "released": "NULL",
        "payment": "'open'",
    },
    Kind.CLOSED: {
        "status": "'closed'",
        "reason": "'timeout'",
        "due": f"{AT} + 1",
        "paid": "NULL",
        "closed": f"{AT} + 1",
        "state": "'released'",
        "verified": "1",
        "released": f"{AT} + 1",
        "payment": "'closed'",
    },
}


_VALUES[Kind.KNOWN] = _VALUES[Kind.SETTLED]
_SETTLED = frozenset({Kind.SETTLED, Kind.KNOWN})


@dataclass(frozen=True, slots=True)
class Series:
    """Orders number 0, 1, 2 … of one piece each: `gap` ms apart from `first_ms` on, `group` to a transaction.

    Number n is of user n % 100 and wants goods n % 100, of as many as there are. `due` is when unpaid ones fall due
    (ms since the epoch).
    """

    kind: Kind
    first_ms: int
    gap: int = 1
    group: int = 1
    due: int = 0

    def order_id(self, number: int) -> int:
        """Return the id of an order."""
        return self._first_id + number * self._step

    def tx_id(self, number: int) -> int:
        """Return the id of the transaction that an order was placed in."""
        return self.order_id(number - number % self.group)

    def born_at(self, number: int) -> int:
        """Return when an order was placed (ms since the epoch)."""
        return self.first_ms + number * self.gap

    def is_live(self, number: int) -> bool:
        """Whether an order holds stock."""
        return self.kind is not Kind.CLOSED and (self.kind not in _SETTLED or number % 10 != 0)

    def parameters(self) -> dict[str, int]:
        """Return what the statements need to know."""
        return {
            "first_id": self._first_id,
            "step": self._step,
            "first_ms": self.first_ms,
            "gap": self.gap,
            "group": self.group,
            "due": self.due,
            "now": now_ms(),
        }

    @property
    def _first_id(self) -> int:
        return (self.first_ms - EPOCH) << _NODE_BITS

    @property
    def _step(self) -> int:
        return self.gap << _NODE_BITS


class Filling:
    """Writes orders of a series into the databases of order, stock and pay. Use `open`.

    Pay has what was to be paid of orders that are not paid; those that are were so before there was a pay service,
    except for `Kind.KNOWN`.
    """

    def __init__(self, order: Database, stock: Database, pay: Database, goods: Sequence[str], series: Series) -> None:
        """Take the databases, and the goods that are wanted in turn."""
        self._order, self._stock, self._pay, self._goods, self._series = order, stock, pay, goods, series

    @classmethod
    @contextmanager
    def open(
        cls, order: Database, stock: Database, pay: Database, goods: Sequence[str], series: Series
    ) -> Iterator["Filling"]:
        """Make the helping tables for as long as the block runs."""
        databases = (order, stock, pay)
        try:
            for database in databases:
                database.transact(lambda connection: _help(connection, goods))
            yield cls(order, stock, pay, goods, series)
        finally:
            for database in databases:
                database.transact(_clean)

    def add(self, begin: int, end: int, tell: Callable[[int], None] = lambda _: None) -> None:
        """Write the orders number `begin` to `end` - 1; `tell` is told how many there are after each chunk."""
        kind, values = self._series.kind, _VALUES[self._series.kind]
        in_order = [ORDERS.format(**values), LINES, RECORDS]
        if kind is Kind.CANCELLED:
            in_order += [SETTLEMENTS.format(participant=one) for one in ("stock", "pay")]
        if kind is Kind.KNOWN:
            in_order += [KEYS, CALLS, RETURNS]
        in_pay = [] if kind is Kind.SETTLED else [RESERVATIONS.format(**values)]
        if kind is Kind.KNOWN:
            in_pay += [PAID.format(**values), CHARGES]
        elif kind is not Kind.SETTLED:
            in_pay.append(PAYMENTS.format(**values))
        in_stock = [RESERVATIONS.format(**values), HELD]
        for start in range(begin, end, CHUNK):
            size = min(CHUNK, end - start)
            given = {**self._series.parameters(), "start": start, "size": size, "kinds": len(self._goods)}
            self._order.transact(partial(_execute, statements=in_order, given=given))
            self._pay.transact(partial(_execute, statements=in_pay, given=given))
            self._stock.transact(partial(self._reserve, statements=in_stock, given=given))
            tell(start + size)

    def _reserve(self, connection: Connection, statements: Sequence[str], given: Mapping[str, int]) -> None:
        _execute(connection, statements, given)
        numbers = range(given["start"], given["start"] + given["size"])
        taken = Counter(self._goods[n % len(self._goods)] for n in numbers if self._series.is_live(n))
        rows = [{"goods_id": int(goods_id), "pieces": pieces} for goods_id, pieces in sorted(taken.items())]
        if rows:
            connection.execute(text(TAKE), rows)


def _execute(connection: Connection, statements: Sequence[str], given: Mapping[str, int]) -> None:
    for statement in statements:
        connection.execute(text(statement), dict(given))


def _help(connection: Connection, goods: Sequence[str]) -> None:
    connection.execute(text(NUMBERS))
    connection.execute(text(KINDS))
    connection.execute(text("INSERT INTO bench_numbers (n) VALUES (:n)"), [{"n": n} for n in range(CHUNK)])
    rows = [
        {"place": place, "goods_id": int(goods_id), "user_id": f"user-{place}"} for place, goods_id in enumerate(goods)
    ]
    insert = "INSERT INTO bench_kinds (place, goods_id, user_id) VALUES (:place, :goods_id, :user_id)"
    connection.execute(text(insert), rows)


def _clean(connection: Connection) -> None:
    for table in ("bench_numbers", "bench_kinds"):
        connection.execute(text(f"DROP TABLE IF EXISTS {table}"))
