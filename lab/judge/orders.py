"""Orders by themselves: their times and amounts, the keys that made them, the record that each was committed with."""

from typing import Final, NamedTuple

from lab.judge.databases import Ask
from lab.judge.invariant import Invariant, Lines


class _Check(NamedTuple):
    """A query whose rows are wrong, and the words for each of them."""

    kind: str
    query: str
    words: str


_STATE: Final = (
    _Check(
        "times",
        "SELECT order_id, status, paid_at, closed_at, returned_at FROM orders WHERE order_id >= {since}"
        " AND ((status IN ('paid', 'returned')) <> (paid_at IS NOT NULL)"
        " OR (status = 'closed') <> (closed_at IS NOT NULL)"
        " OR (status = 'returned') <> (returned_at IS NOT NULL))",
        "order {}: {}, paid at {}, closed at {}, returned at {}",
    ),
    _Check(
        "reasons",
        "SELECT order_id, status, close_reason FROM orders WHERE order_id >= {since}"
        " AND (status = 'closed') <> (close_reason IS NOT NULL)",
        "order {}: {}, close reason {}",
    ),
    _Check(
        "lines",
        "SELECT o.order_id, COALESCE(SUM(l.quantity * l.unit_price), 0), o.goods_amount FROM orders o"
        " LEFT JOIN order_lines l ON l.order_id = o.order_id WHERE o.order_id >= {since}"
        " GROUP BY o.order_id, o.goods_amount"
        " HAVING COUNT(l.order_id) = 0 OR COALESCE(SUM(l.quantity * l.unit_price), 0) <> o.goods_amount",
        "order {}: its lines make {}, its goods {}",
    ),
    _Check(
        "totals",
        "SELECT order_id, goods_amount, discount_amount, total_amount FROM orders WHERE order_id >= {since}"
        " AND (total_amount < 0 OR discount_amount < 0 OR total_amount <> goods_amount - discount_amount)",
        "order {}: goods {}, discount {}, total {}",
    ),
)
_KEY_OF_ANOTHER, _KEYS_SHARED, _UNRECORDED = "keys of another's order or none", "orders of several keys", "no record"
_ORIGIN: Final = (
    _Check(
        _KEY_OF_ANOTHER,
        "SELECT k.idempotency_key, k.user_id, k.order_id, COALESCE(o.user_id, 'no user') FROM idempotency_keys k"
        " LEFT JOIN orders o ON o.order_id = k.order_id WHERE k.order_id >= {since}"
        " AND (o.order_id IS NULL OR o.user_id <> k.user_id)",
        "idempotency key {!r} of {}: order {} is {}'s",
    ),
    _Check(
        _KEYS_SHARED,
        "SELECT order_id, COUNT(*) FROM idempotency_keys WHERE order_id >= {since}"
        " GROUP BY order_id HAVING COUNT(*) > 1",
        "order {}: made by {} keys",
    ),
    _Check(
        _UNRECORDED,
        "SELECT o.order_id, o.tx_id, COALESCE(t.outcome, 'not recorded') FROM orders o"
        " LEFT JOIN transaction_records t ON t.tx_id = o.tx_id WHERE o.order_id >= {since}"
        " AND (t.outcome IS NULL OR t.outcome <> 'committed')",
        "order {}: its transaction {} is {}",
    ),
)
_NUMBERS = """
SELECT (SELECT COUNT(*) FROM orders WHERE order_id >= {since}),
    (SELECT COUNT(*) FROM idempotency_keys WHERE order_id >= {since}),
    (SELECT COUNT(*) FROM transaction_records WHERE tx_id >= {since} AND outcome = 'committed'),
    (SELECT COUNT(*) FROM transaction_records WHERE tx_id >= {since} AND outcome = 'aborted')
"""


def orders_alone(orders: Ask, since: int, most: int | None) -> list[Invariant]:
    """Judge orders from the id `since` on, without asking anybody else about them."""
    state, origin = (_found(orders, checks, since, most) for checks in (_STATE, _ORIGIN))
    ((number, keys, committed, aborted),) = orders(_NUMBERS.format(since=since))
    figures = {
        "orders": number,
        "records committed": committed,
        "records aborted": aborted,
        "idempotency keys": keys,
        "keys with two orders or none": origin.count(_KEY_OF_ANOTHER, _KEYS_SHARED),
        "orders without their record": origin.count(_UNRECORDED),
    }
    odd = {"orders": number, "odd": state.count(*(check.kind for check in _STATE))}
    return [
        Invariant("an order's times and amounts are those of its status and its lines", odd, state.broken),
        Invariant("one key, one order; every order was committed with its record", figures, origin.broken),
    ]


def _found(orders: Ask, checks: tuple[_Check, ...], since: int, most: int | None) -> Lines:
    lines = Lines(most)
    for check in checks:
        for row in orders(check.query.format(since=since)):
            lines.add(check.kind, check.words.format(*row))
    return lines
