"""The promise's invariants with their figures: SQL on the databases, whatever they are, and the broker's counts.

`lab.drill.ledger` looks at every row; this adds up in the database, and shares no code with it nor with the services.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, create_engine, text

from halfmessage.errors import BrokerError
from halfmessage.ids import EPOCH
from lab.drill.pending import console
from lab.drill.result import Invariant
from lab.drill.sut import SystemUnderTest
from ops.deployment import Deployment

_OFF = """
SELECT COUNT(*) FROM (
    SELECT s.goods_id, s.available, s.total - s.available
        - COALESCE(SUM(CASE WHEN r.state = 'deducted' THEN l.quantity END), 0) AS missing
    FROM stock s
    LEFT JOIN reservation_lines l ON l.goods_id = s.goods_id
    LEFT JOIN reservations r ON r.order_id = l.order_id
    GROUP BY s.goods_id, s.total, s.available
) level WHERE missing <> 0 OR available < 0
"""
_RESERVED = """
SELECT COALESCE(SUM(l.quantity), 0) FROM reservation_lines l
JOIN reservations r ON r.order_id = l.order_id WHERE r.state = 'deducted'
"""
_TOMBSTONES = """
SELECT COUNT(*) FROM reservations r
WHERE state = 'released' AND NOT EXISTS (SELECT 1 FROM reservation_lines l WHERE l.order_id = r.order_id)
"""
_ODD_RESERVATIONS = """
SELECT COUNT(*) FROM reservations WHERE (state = 'released') <> (released_at IS NOT NULL) OR released_at < created_at
"""
_KEYS_SHARED = """
SELECT COUNT(*) FROM (SELECT order_id FROM idempotency_keys GROUP BY order_id HAVING COUNT(*) > 1) shared
"""
_KEYS_OF_NOTHING = (
    "SELECT COUNT(*) FROM idempotency_keys k LEFT JOIN orders o USING (order_id) WHERE o.order_id IS NULL"
)
_WITH_COUPON = "SELECT order_id, coupon_id, status FROM orders WHERE coupon_id IS NOT NULL AND status <> 'closed'"
_LIVE_USES = """
SELECT u.order_id, u.coupon_id, u.state FROM coupon_uses u
JOIN reservations r ON r.order_id = u.order_id WHERE r.state = 'deducted'
"""
_COUPONS_OFF = """
SELECT COUNT(*) FROM (
    SELECT c.coupon_id, c.uses, c.held, c.used,
        COALESCE(SUM(CASE WHEN u.state = 'held' THEN 1 ELSE 0 END), 0) AS are_held,
        COALESCE(SUM(CASE WHEN u.state = 'used' THEN 1 ELSE 0 END), 0) AS are_used
    FROM coupons c LEFT JOIN coupon_uses u ON u.coupon_id = c.coupon_id
    GROUP BY c.coupon_id, c.uses, c.held, c.used
) counted WHERE held <> are_held OR used <> are_used OR held + used > uses
"""
_COUPON_USERS_OFF = """
SELECT ABS(
    (SELECT COALESCE(SUM(taken), 0) FROM coupon_users) - (SELECT COUNT(*) FROM coupon_uses WHERE state <> 'free')
)
"""
_UNRECORDED = """
SELECT COUNT(*) FROM orders o LEFT JOIN transaction_records t ON t.tx_id = o.tx_id AND t.outcome = 'committed'
WHERE t.tx_id IS NULL
"""


def judge(sut: SystemUnderTest, left: Sequence[str] = ()) -> list[Invariant]:
    """Return the invariants of docs/protocol.md as they are now; `left` is what is still on its way, in words."""
    with _reading(sut.deployment, "order") as orders, _reading(sut.deployment, "stock") as stock:
        found = [_conservation(stock), _agreement(orders, stock), _moves(stock), _answers(orders)]
        if "coupon" in sut.deployment.plan.services:
            with _reading(sut.deployment, "coupon") as coupon:
                found.append(_coupons(orders, coupon))
        return [*found, _quiet(sut, left)]


def newest_order_id(sut: SystemUnderTest, since: int) -> str | None:
    """Return the order that stock heard of last, whether it exists or not, of those made since then (ms)."""
    with _reading(sut.deployment, "stock") as stock:
        newest = text("SELECT MAX(order_id) FROM reservations WHERE order_id >= :first")
        found = stock.scalar(newest, {"first": since - EPOCH << 22})
    return None if found is None else str(found)


@contextmanager
def _reading(deployment: Deployment, service: str) -> Iterator[Connection]:
    engine = create_engine(deployment.database_url(service))
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _number(connection: Connection, query: str) -> int:
    return int(connection.scalar(text(query)) or 0)


def _counts(connection: Connection, query: str) -> dict[Any, int]:
    return {name: int(number) for name, number in connection.execute(text(query))}


def _conservation(stock: Connection) -> Invariant:
    goods, total, available = stock.execute(
        text("SELECT COUNT(*), COALESCE(SUM(total), 0), COALESCE(SUM(available), 0) FROM stock")
    ).one()
    figures = {
        "goods": int(goods),
        "total": int(total),
        "available": int(available),
        "reserved": _number(stock, _RESERVED),
        "goods out of balance": _number(stock, _OFF),
    }
    broken = [f"{figures['goods out of balance']} goods do not add up"] if figures["goods out of balance"] else []
    if figures["total"] != figures["available"] + figures["reserved"]:
        broken.append("total is not available + reserved")
    return Invariant("total = available + live reservations, never below 0", figures, broken)


def _agreement(orders: Connection, stock: Connection) -> Invariant:
    statuses = _counts(orders, "SELECT status, COUNT(*) FROM orders GROUP BY status")
    standing = set(orders.scalars(text("SELECT order_id FROM orders WHERE status <> 'closed'")))
    live = set(stock.scalars(text("SELECT order_id FROM reservations WHERE state = 'deducted'")))
    figures = {
        "created": statuses.get("created", 0),
        "paid": statuses.get("paid", 0),
        "closed": statuses.get("closed", 0),
        "live reservations": len(live),
        "orders without stock": len(standing - live),
        "stock without an order": len(live - standing),
    }
    broken = [f"order {o}: stands without its stock" for o in sorted(standing - live)[:10]]
    broken += [f"order {o}: closed or never made, but its stock is held" for o in sorted(live - standing)[:10]]
    return Invariant("an open or paid order has its stock; a closed one, or none, holds nothing", figures, broken)


def _moves(stock: Connection) -> Invariant:
    states = _counts(stock, "SELECT state, COUNT(*) FROM reservations GROUP BY state")
    figures = {
        "deducted": states.get("deducted", 0),
        "released": states.get("released", 0),
        "of which tombstones": _number(stock, _TOMBSTONES),
        "odd": _number(stock, _ODD_RESERVATIONS),
    }
    broken = [f"{figures['odd']} reservations moved as none may"] if figures["odd"] else []
    return Invariant("deducted once, released once at most", figures, broken)


def _coupons(orders: Connection, coupon: Connection) -> Invariant:
    due = {
        order_id: (coupon_id, "used" if status == "paid" else "held")
        for order_id, coupon_id, status in orders.execute(text(_WITH_COUPON))
    }
    have = {order_id: (coupon_id, state) for order_id, coupon_id, state in coupon.execute(text(_LIVE_USES))}
    wrong = sorted(order_id for order_id in due.keys() | have.keys() if due.get(order_id) != have.get(order_id))
    states = _counts(coupon, "SELECT state, COUNT(*) FROM coupon_uses GROUP BY state")
    figures = {
        "coupons": _number(coupon, "SELECT COUNT(*) FROM coupons"),
        "held": states.get("held", 0),
        "used": states.get("used", 0),
        "coupons out of balance": _number(coupon, _COUPONS_OFF) + _number(coupon, _COUPON_USERS_OFF),
        "orders and coupons that disagree": len(wrong),
    }
    broken = [f"order {o}: {due.get(o, 'no coupon')} is due, {have.get(o, 'no coupon')} is held" for o in wrong[:10]]
    if figures["coupons out of balance"]:
        broken.append(f"{figures['coupons out of balance']} coupons do not add up")
    return Invariant("uses = free + held by open orders + used by paid ones", figures, broken)


def _answers(orders: Connection) -> Invariant:
    outcomes = _counts(orders, "SELECT outcome, COUNT(*) FROM transaction_records GROUP BY outcome")
    figures = {
        "orders": _number(orders, "SELECT COUNT(*) FROM orders"),
        "records committed": outcomes.get("committed", 0),
        "records aborted": outcomes.get("aborted", 0),
        "idempotency keys": _number(orders, "SELECT COUNT(*) FROM idempotency_keys"),
        "keys with two orders or none": _number(orders, _KEYS_SHARED) + _number(orders, _KEYS_OF_NOTHING),
        "orders without their record": _number(orders, _UNRECORDED),
    }
    wrong = ("keys with two orders or none", "orders without their record")
    broken = [f"{figures[name]} {name}" for name in wrong if figures[name]]
    return Invariant("one key, one order; every order was committed with its record", figures, broken)


def _quiet(sut: SystemUnderTest, left: Sequence[str]) -> Invariant:
    name = "once quiet, no half message is open and no dead letter lies unseen"
    try:
        stats = console(sut.deployment, sut.broker).stats()
    except BrokerError:  # nobody tells
        return Invariant(name, {"on their way": len(left)}, list(left))
    figures = {"half": stats.half, "parked": stats.parked, "dead": stats.dead, "on their way": len(left)}
    return Invariant(name, figures, list(left))
