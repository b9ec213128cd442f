"""Flash sales: a sale's orders hold its pieces, never more than it owns at stock, and each purchase is one order."""

from collections import Counter

from lab.judge.databases import Ask
from lab.judge.invariant import Invariant, Lines

_DUE = """
SELECT o.order_id, o.sale_id, o.purchase_id, o.user_id, SUM(l.quantity) FROM orders o
JOIN order_lines l ON l.order_id = o.order_id
WHERE o.sale_id IS NOT NULL AND o.status IN ('created', 'paid') GROUP BY o.order_id, o.sale_id, o.purchase_id, o.user_id
"""
_LIVE = """
SELECT h.order_id, p.sale_id, p.purchase_id, p.user_id, p.quantity FROM holdings h
JOIN reservations r ON r.order_id = h.order_id JOIN purchases p ON p.purchase_id = h.purchase_id
WHERE r.state = 'deducted'
"""
_HEADLESS = """
SELECT r.order_id FROM reservations r LEFT JOIN holdings h ON h.order_id = r.order_id
WHERE r.state = 'deducted' AND h.order_id IS NULL
"""
_SALES = "SELECT sale_id, quantity, per_user, held, allotted, word = heard FROM sales WHERE state <> 'opening'"
_PURCHASES = "SELECT purchase_id, sale_id, user_id, quantity, holders, fate FROM purchases"
_DISAGREE, _COUNTS, _STOCK, _TWICE = "orders and holdings that disagree", "counts", "allotments", "sold twice"

Bought = tuple[int, int, str, int]
"""Sale, purchase, user, pieces."""


def sales(orders: Ask, stock: Ask, flash: Ask, most: int | None) -> Invariant:
    """Compare orders with what is held for them, that with what is counted, and this with stock. All in memory."""
    lines = Lines(most)
    due: dict[int, Bought] = {int(row[0]): _bought(row[1:]) for row in orders(_DUE)}
    live: dict[int, Bought] = {int(row[0]): _bought(row[1:]) for row in flash(_LIVE)}
    for order_id in sorted(due.keys() | live.keys()):
        if due.get(order_id) != live.get(order_id):
            lines.add(_DISAGREE, f"order {order_id}: {due.get(order_id)} was bought, {live.get(order_id)} is held")
    for (order_id,) in flash(_HEADLESS):
        lines.add(_DISAGREE, f"flash reservation {order_id}: deducted, but without a purchase")
    for purchase_id, number in Counter(purchase_id for _, purchase_id, _, _ in due.values()).items():
        if number > 1:
            lines.add(_TWICE, f"purchase {purchase_id}: stands as {number} orders")
    holders = Counter(purchase_id for _, purchase_id, _, _ in live.values())
    held = _held(flash, holders, lines)
    _owned(stock, flash, held, lines)
    figures = {
        "orders of sales": len(due),
        "pieces of sales held": sum(held.values()),
        "sales out of balance": lines.count(_COUNTS, _STOCK),
        "orders and holdings that disagree": lines.count(_DISAGREE, _TWICE),
    }
    return Invariant("a sale's orders hold its pieces, and no more than it owns at stock", figures, lines.broken)


def _bought(row: tuple[object, ...]) -> Bought:
    sale_id, purchase_id, user_id, quantity = row
    return int(str(sale_id)), int(str(purchase_id)), str(user_id), int(str(quantity))


def _held(flash: Ask, holders: Counter[int], lines: Lines) -> Counter[tuple[int, str]]:
    """Return the pieces that are held of each sale by each user."""
    held = Counter[tuple[int, str]]()
    for purchase_id, sale_id, user_id, quantity, counted, fate in flash(_PURCHASES):
        are = holders[purchase_id]
        if counted != are or (fate == "held") != (are > 0):
            lines.add(_COUNTS, f"purchase {purchase_id}: {fate}, {counted} holders counted, {are} are")
        if are:
            held[sale_id, user_id] += quantity
    return held


def _owned(stock: Ask, flash: Ask, held: Counter[tuple[int, str]], lines: Lines) -> None:
    allotted: dict[int, int] = dict(stock("SELECT sale_id, quantity FROM allotments"))
    known = list(flash(_SALES))
    of_sales = Counter[int]()
    for (sale_id, _), pieces in held.items():
        of_sales[sale_id] += pieces
    most = {row[0]: row[2] for row in known}
    for sale_id, quantity, _, counted, owns, is_heard in known:
        if counted != of_sales[sale_id] or not counted <= owns <= quantity:
            numbers = f"{quantity} pieces, {owns} owned, {counted} counted as held, {of_sales[sale_id]} are"
            lines.add(_COUNTS, f"sale {sale_id}: {numbers}")
        if is_heard and allotted.get(sale_id, 0) != owns:
            lines.add(_STOCK, f"sale {sale_id}: owns {owns}, and {allotted.get(sale_id, 0)} at stock")
    for (sale_id, user_id), pieces in held.items():
        if pieces > most.get(sale_id, 0):
            lines.add(_COUNTS, f"sale {sale_id}: {user_id} holds {pieces}, and may hold {most.get(sale_id, 0)}")
