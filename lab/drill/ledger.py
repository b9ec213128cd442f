"""Checks the invariants of a deployment at rest from outside: plain SQL on its databases, and what its broker tells.

It shares no code with the services it checks, so that both can't be wrong in the same way.
"""

from collections import defaultdict
from collections.abc import Iterator

from halfmessage.mq.port import Broker
from lab.drill import coupons, pending
from lab.drill.rows import read
from ops.deployment import Deployment
from ops.errors import CommandFailed, NotInTime
from ops.waiting import wait_for

Lines = dict[int, dict[int, int]]
"""Order id → goods id → quantity."""


class Unsound(CommandFailed):
    """An invariant is broken in a deployment at rest."""

    def __init__(self, broken: list[str]) -> None:
        """Take the broken invariants, in words."""
        super().__init__("\n".join(broken))
        self.broken = broken


def settle(deployment: Deployment, broker: Broker, *, within: float = 60.0) -> None:
    """Wait until nothing is on its way. Raise `NotInTime`, or `Unsound` if an invariant is broken then.

    RocketMQ does not show a message that a consumer took and has not acknowledged. So there a broken invariant gets
    the time that is left to mend itself, as such a message may.
    """
    hides = deployment.plan.servers is not None

    def at_rest() -> bool:
        return not unsettled(deployment, broker) and not (hides and disagreements(deployment))

    late: NotInTime | None = None
    try:
        wait_for("every message to be at rest", at_rest, within=within)
    except NotInTime as error:
        late = error
    left = unsettled(deployment, broker) if late else []
    broken = [] if left else disagreements(deployment)
    if broken:
        raise Unsound(broken)
    if late:
        raise NotInTime("\n".join([late.detail, *left])) from late


def disagreements(deployment: Deployment) -> list[str]:
    """Return every broken invariant, in words. Ask when nothing is on its way any more: see `unsettled`."""
    orders = _Orders(deployment.database_url("order"))
    stock = _Stock(deployment.database_url("stock"))
    return [
        *_conservation(stock),
        *_reservations_of_orders(orders, stock),
        *_reservations_of_nothing(orders, stock),
        *_moves_of_reservations(stock),
        *_moves_of_orders(orders),
        *_keys(orders),
        *_records(orders),
        *coupons.disagreements(deployment),
    ]


def unsettled(deployment: Deployment, broker: Broker) -> list[str]:
    """Return what is still on its way: messages not at rest, and unpaid orders that are overdue."""
    return [*pending.messages(deployment, broker), *pending.overdue(deployment)]


class _Orders:
    def __init__(self, url: str) -> None:
        self.rows, lines, self.keys, records = read(
            url,
            "SELECT order_id, tx_id, status, close_reason, paid_at, closed_at, created_at, total_amount, user_id,"
            " goods_amount, discount_amount FROM orders",
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
    def __init__(self, url: str) -> None:
        self.levels, self.rows, lines = read(
            url,
            "SELECT goods_id, total, available FROM stock",
            "SELECT order_id, tx_id, state, created_at, released_at FROM reservations",
            "SELECT order_id, goods_id, quantity FROM reservation_lines",
        )
        self.live = {row[0] for row in self.rows if row[2] == "deducted"}
        self.lines: Lines = defaultdict(dict)
        for order_id, goods_id, quantity in lines:
            self.lines[order_id][goods_id] = quantity


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
    for order_id, _, status, reason, paid_at, closed_at, _, total, _, goods, discount in orders.rows:
        if (status == "paid") != (paid_at is not None) or (status == "closed") != (closed_at is not None):
            yield f"order {order_id}: {status}, paid at {paid_at}, closed at {closed_at}"
        if (status == "closed") != (reason is not None):
            yield f"order {order_id}: {status}, close reason {reason}"
        if not orders.lines[order_id] or orders.amount[order_id] != goods:
            yield f"order {order_id}: its lines make {orders.amount[order_id]}, its goods {goods}"
        if total < 0 or discount < 0 or total != goods - discount:
            yield f"order {order_id}: goods {goods}, discount {discount}, total {total}"


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
