"""Orders and reservations side by side, page by page in the order of their ids, so that millions fit.

Orders of flash sales, which own their pieces, are none of those that stock holds something for.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from itertools import groupby
from operator import itemgetter

from lab.judge.databases import Ask
from lab.judge.invariant import Invariant, Lines

_ORDERS = """
SELECT o.order_id, o.status, l.goods_id, l.quantity FROM orders o
LEFT JOIN order_lines l ON l.order_id = o.order_id
WHERE o.order_id >= {since} AND o.order_id < {until} AND o.sale_id IS NULL ORDER BY o.order_id
"""
_RESERVATIONS = """
SELECT r.order_id, r.state, l.goods_id, l.quantity FROM reservations r
LEFT JOIN reservation_lines l ON l.order_id = r.order_id
WHERE r.order_id >= {since} AND r.order_id < {until} ORDER BY r.order_id
"""
_STATUSES = (
    "SELECT order_id, status, NULL, NULL FROM orders WHERE order_id >= {since} AND order_id < {until} ORDER BY 1"
)
_STATES = (
    "SELECT order_id, state, NULL, NULL FROM reservations WHERE order_id >= {since} AND order_id < {until} ORDER BY 1"
)
_WITHOUT_HEADER = """
SELECT DISTINCT l.order_id FROM reservation_lines l LEFT JOIN reservations r ON r.order_id = l.order_id
WHERE l.order_id >= {since} AND r.order_id IS NULL ORDER BY l.order_id
"""
_NEXT_PAGE = "SELECT order_id FROM {table} WHERE order_id >= {since} ORDER BY order_id LIMIT 1 OFFSET {page}"
_PAGE = 10_000  # orders, or reservations, that are held in memory at once
_END = 2**63 - 1  # past every id
_STANDING = frozenset({"created", "paid"})
_ODD = """
SELECT order_id, state, created_at, released_at FROM reservations
WHERE order_id >= {since} AND ((state = 'released') <> (released_at IS NOT NULL) OR released_at < created_at)
"""
_NO_STOCK, _NO_ORDER, _OTHER_LINES = "stands without its stock", "holds stock for no order", "holds other goods"
_LOST, _EMPTY, _HEADLESS, _MOVED = "lost", "live without lines", "lines without a header", "moved as none may"

Held = tuple[str, dict[int, int]]
"""Status or state, and goods id → quantity."""


def agreement(orders: Ask, stock: Ask, since: int, acknowledged: Collection[int], most: int | None) -> list[Invariant]:
    """Compare each order with its reservation; those that were acknowledged must exist."""
    lines, moves, found = Lines(most), Lines(most), Counter[str]()
    lost = set(acknowledged)
    pairs = _side_by_side(
        _grouped(orders, "orders", _ORDERS, since), _grouped(stock, "reservations", _RESERVATIONS, since)
    )
    for order_id, order, reservation in pairs:
        if order is not None:
            found[order[0]] += 1
            lost.discard(order_id)
        if reservation is not None:
            found[reservation[0]] += 1
            found["tombstones"] += reservation == ("released", {})
            if reservation == ("deducted", {}):
                moves.add(_EMPTY, f"reservation {order_id}: deducted, but without lines")
        _compare(order_id, order, reservation, lines)
    for order_id in sorted(lost):
        lines.add(_LOST, f"order {order_id}: acknowledged with 201, but it does not exist")
    for (order_id,) in stock(_WITHOUT_HEADER.format(since=since)):
        moves.add(_HEADLESS, f"reservation {order_id}: lines without a header")
    for order_id, state, created_at, released_at in stock(_ODD.format(since=since)):
        moves.add(_MOVED, f"reservation {order_id}: {state}, made at {created_at}, released at {released_at}")
    return [_agree(found, lines), _moved(found, moves)]


def held(name: str, orders: Ask, participant: Ask, since: int, most: int | None) -> Invariant:
    """Compare orders with the headers of a participant of which no more is known than that every order needs it."""
    lines, live = Lines(most), 0
    pairs = _side_by_side(
        _grouped(orders, "orders", _STATUSES, since), _grouped(participant, "reservations", _STATES, since)
    )
    for order_id, order, reservation in pairs:
        status = order[0] if order is not None else "does not exist"
        stands = status in _STANDING
        is_live = reservation is not None and reservation[0] == "deducted"
        live += is_live
        if stands != is_live:
            lines.add(name, f"order {order_id}: {status}, but its {name} is {'still' if is_live else 'not'} held")
    figures = {"live reservations": live, "orders that disagree": lines.count(name)}
    return Invariant(f"{name}: held for each open or paid order, and for no other", figures, lines.broken)


def _compare(order_id: int, order: Held | None, reservation: Held | None, lines: Lines) -> None:
    status = order[0] if order is not None else "does not exist"
    stands = status in _STANDING
    live = reservation is not None and reservation[0] == "deducted"
    if stands and not live:
        lines.add(_NO_STOCK, f"order {order_id}: {status}, but its stock is not reserved")
    elif live and not stands:
        lines.add(_NO_ORDER, f"order {order_id}: {status}, but its stock is reserved")
    elif order is not None and reservation is not None and live and order[1] != reservation[1]:
        lines.add(_OTHER_LINES, f"order {order_id}: {order[1]} ordered, {reservation[1]} reserved")


def _agree(found: Counter[str], lines: Lines) -> Invariant:
    figures = {
        "created": found["created"],
        "paid": found["paid"],
        "closed": found["closed"],
        "returned": found["returned"],
        "live reservations": found["deducted"],
        "orders without stock": lines.count(_NO_STOCK),
        "stock without an order": lines.count(_NO_ORDER),
    }
    return Invariant("an open or paid order has its stock; any other, or none, holds nothing", figures, lines.broken)


def _moved(found: Counter[str], moves: Lines) -> Invariant:
    figures = {
        "deducted": found["deducted"],
        "released": found["released"],
        "of which tombstones": found["tombstones"],
        "odd": moves.count(_EMPTY, _HEADLESS, _MOVED),
    }
    return Invariant("deducted once, released once at most", figures, moves.broken)


def _grouped(ask: Ask, table: str, query: str, since: int) -> Iterator[tuple[int, Held]]:
    """Yield each order id with its status or state, and its lines."""
    while since < _END:
        after = ask(_NEXT_PAGE.format(table=table, since=since, page=_PAGE))
        until = after[0][0] if after else _END
        rows = ask(query.format(since=since, until=until))
        for (order_id, state), lines in groupby(rows, key=itemgetter(0, 1)):
            quantities = Counter[int]()
            for _, _, goods_id, quantity in lines:
                if goods_id is not None:
                    quantities[goods_id] += quantity
            yield order_id, (state, dict(quantities))
        since = until


def _side_by_side(
    orders: Iterator[tuple[int, Held]], reservations: Iterator[tuple[int, Held]]
) -> Iterator[tuple[int, Held | None, Held | None]]:
    """Yield each id that either has, with what each has; both in the order of ids."""
    order, reservation = next(orders, None), next(reservations, None)
    while order is not None or reservation is not None:
        order_id = min(one[0] for one in (order, reservation) if one is not None)
        left = right = None
        if order is not None and order[0] == order_id:
            left, order = order[1], next(orders, None)
        if reservation is not None and reservation[0] == order_id:
            right, reservation = reservation[1], next(reservations, None)
        yield order_id, left, right
