"""Checks the invariants of a deployment at rest, from outside: plain SQL on its files, and the broker's console.

It shares no code with what it checks, so that both can't be wrong in the same way.
"""

import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from common.mq.port import Broker, State

_ROLLBACK_TOPIC = "order_rollback"
_AT_REST = frozenset({State.DONE, State.DELAYED})
_OVERDUE = """
SELECT order_id FROM orders
WHERE status = 'created' AND expires_at < CAST(strftime('%s', 'now') AS INTEGER) * 1000
"""

Rows = list[tuple[Any, ...]]
Lines = dict[int, dict[int, int]]
"""Order id → goods id → quantity."""


def disagreements(data_dir: Path) -> list[str]:
    """Return every broken invariant, in words. Ask when nothing is on its way any more: see `unsettled`."""
    orders, stock = _Orders(data_dir / "order.db"), _Stock(data_dir / "stock.db")
    return [
        *_conservation(stock),
        *_reservations_of_orders(orders, stock),
        *_reservations_of_nothing(orders, stock),
        *_moves_of_reservations(stock),
        *_moves_of_orders(orders),
        *_keys(orders),
        *_records(orders),
    ]


def unsettled(data_dir: Path, broker: Broker) -> list[str]:
    """Return what is still on its way: messages not at rest, and unpaid orders that are overdue.

    A message that waits for its time is at rest; a rollback is never sent to wait, so one that does failed before.
    """
    console = broker.console()
    moving = [view for state in State if state not in _AT_REST for view in console.find(state=state, limit=10_000)]
    moving += console.find(topic=_ROLLBACK_TOPIC, state=State.DELAYED, limit=10_000)
    found = [f"{v.message.topic} {v.message_id} of {','.join(v.message.keys)} is {v.state}" for v in moving]
    (overdue,) = _read(data_dir / "order.db", _OVERDUE)
    return found + [f"order {order_id} is overdue and open" for (order_id,) in overdue]


def assert_sound(data_dir: Path, broker: Broker, *, within: float = 20.0) -> None:
    """Wait until nothing is on its way; fail if that takes longer than `within` seconds, or an invariant is broken."""
    deadline = time.monotonic() + within
    while moving := unsettled(data_dir, broker):
        assert time.monotonic() < deadline, f"not at rest within {within:g} s: {moving[:20]}"
        time.sleep(0.05)
    assert disagreements(data_dir) == []


class _Orders:
    def __init__(self, path: Path) -> None:
        self.rows, lines, self.keys, records = _read(
            path,
            "SELECT order_id, tx_id, status, close_reason, paid_at, closed_at, created_at, total_amount, user_id"
            " FROM orders",
            "SELECT order_id, goods_id, quantity, unit_price FROM order_lines",
            "SELECT user_id, idempotency_key, order_id FROM idempotency_keys",
            "SELECT tx_id, outcome FROM transaction_records",
        )
        self.status: dict[int, str] = {row[0]: row[2] for row in self.rows}
        self.outcome: dict[int, str] = dict(records)
        self.lines: Lines = defaultdict(dict)
        self.amount: dict[int, int] = defaultdict(int)
        for order_id, goods_id, quantity, unit_price in lines:
            self.lines[order_id][goods_id] = quantity
            self.amount[order_id] += quantity * unit_price


class _Stock:
    def __init__(self, path: Path) -> None:
        self.levels, self.rows, lines = _read(
            path,
            "SELECT goods_id, total, available FROM stock",
            "SELECT order_id, tx_id, state, created_at, released_at FROM reservations",
            "SELECT order_id, goods_id, quantity FROM reservation_lines",
        )
        self.live = {row[0] for row in self.rows if row[2] == "deducted"}
        self.lines: Lines = defaultdict(dict)
        for order_id, goods_id, quantity in lines:
            self.lines[order_id][goods_id] = quantity


def _read(path: Path, *queries: str) -> list[Rows]:
    """Run queries on one snapshot of a file opened read-only."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=10)) as database:
        database.execute("BEGIN")
        return [database.execute(query).fetchall() for query in queries]


def _conservation(stock: _Stock) -> Iterator[str]:
    reserved: defaultdict[int, int] = defaultdict(int)
    for order_id in stock.live:
        for goods_id, quantity in stock.lines[order_id].items():
            reserved[goods_id] += quantity
    for goods_id, total, available in stock.levels:
        if available < 0 or total != available + reserved[goods_id]:
            yield f"goods {goods_id}: total {total}, available {available}, reserved {reserved[goods_id]}"
    known = {goods_id for goods_id, _, _ in stock.levels}
    yield from (f"goods {goods_id}: reserved, but there is no stock row" for goods_id in reserved.keys() - known)


def _reservations_of_orders(orders: _Orders, stock: _Stock) -> Iterator[str]:
    for order_id, status in orders.status.items():
        live = order_id in stock.live
        if status == "closed" and live:
            yield f"order {order_id}: closed, but its stock is reserved"
        if status != "closed" and not live:
            yield f"order {order_id}: {status}, but its stock is not reserved"
        if status != "closed" and live and orders.lines[order_id] != stock.lines[order_id]:
            yield f"order {order_id}: {orders.lines[order_id]} ordered, {stock.lines[order_id]} reserved"


def _reservations_of_nothing(orders: _Orders, stock: _Stock) -> Iterator[str]:
    for order_id in stock.live - orders.status.keys():
        yield f"order {order_id}: does not exist, but its stock is reserved"


def _moves_of_reservations(stock: _Stock) -> Iterator[str]:
    headers = {row[0] for row in stock.rows}
    for order_id, _, state, created_at, released_at in stock.rows:
        if (state == "released") != (released_at is not None) or (released_at or created_at) < created_at:
            yield f"reservation {order_id}: {state}, made at {created_at}, released at {released_at}"
        if state == "deducted" and not stock.lines[order_id]:
            yield f"reservation {order_id}: deducted, but without lines"
    yield from (f"reservation {order_id}: lines without a header" for order_id in stock.lines.keys() - headers)


def _moves_of_orders(orders: _Orders) -> Iterator[str]:
    for order_id, _, status, reason, paid_at, closed_at, _, total_amount, _ in orders.rows:
        if (status == "paid") != (paid_at is not None) or (status == "closed") != (closed_at is not None):
            yield f"order {order_id}: {status}, paid at {paid_at}, closed at {closed_at}"
        if (status == "closed") != (reason is not None):
            yield f"order {order_id}: {status}, close reason {reason}"
        if not orders.lines[order_id] or orders.amount[order_id] != total_amount:
            yield f"order {order_id}: its lines make {orders.amount[order_id]}, its total is {total_amount}"


def _keys(orders: _Orders) -> Iterator[str]:
    owner = {row[0]: row[8] for row in orders.rows}
    keys_of: defaultdict[int, list[str]] = defaultdict(list)
    for user_id, key, order_id in orders.keys:
        keys_of[order_id].append(key)
        if owner.get(order_id) != user_id:
            yield f"idempotency key {key!r} of {user_id}: order {order_id} is {owner.get(order_id, 'nobody')}'s"
    yield from (f"order {order_id}: made by keys {keys}" for order_id, keys in keys_of.items() if len(keys) > 1)


def _records(orders: _Orders) -> Iterator[str]:
    for order_id, tx_id, *_ in orders.rows:
        if orders.outcome.get(tx_id) != "committed":
            yield f"order {order_id}: its transaction {tx_id} is {orders.outcome.get(tx_id, 'not recorded')}"
