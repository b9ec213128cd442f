"""Stock: what there is of each goods is what is left, what live reservations hold, and what flash sales own."""

from sqlalchemy.engine import URL

from lab.judge.databases import Ask, snapshot
from lab.judge.invariant import Invariant, Lines

_LEVELS = """
SELECT goods_id, SUM(known), SUM(total), SUM(available), SUM(reserved), SUM(allotted) FROM (
    SELECT goods_id, 1 AS known, total, available, 0 AS reserved, 0 AS allotted FROM stock
    UNION ALL
    SELECT l.goods_id, 0, 0, 0, SUM(l.quantity), 0 FROM reservation_lines l
    JOIN reservations r ON r.order_id = l.order_id WHERE r.state = 'deducted' GROUP BY l.goods_id
    UNION ALL
    SELECT goods_id, 0, 0, 0, 0, SUM(quantity) FROM allotments GROUP BY goods_id
) levels GROUP BY goods_id ORDER BY goods_id
"""


def conservation(stock: Ask, most: int | None) -> Invariant:
    """Compare each goods' total with what is left, what is held and what sales own."""
    lines, goods, sums = Lines(most), 0, (0, 0, 0, 0)
    for row in stock(_LEVELS):
        goods_id, known, *numbers = map(int, row)
        total, available, reserved, allotted = numbers
        sums = (sums[0] + total, sums[1] + available, sums[2] + reserved, sums[3] + allotted)
        goods += known
        if not known:
            lines.add("reserved without stock", f"goods {goods_id}: reserved, but there is no stock row")
        elif available < 0 or total != available + reserved + allotted:
            owned = f", owned by sales {allotted}" if allotted else ""
            held = f"total {total}, available {available}, reserved {reserved}{owned}"
            lines.add("out of balance", f"goods {goods_id}: {held}")
    figures = {
        "goods": goods,
        "total": sums[0],
        "available": sums[1],
        "reserved": sums[2],
        "owned by sales": sums[3],
        "goods out of balance": lines.count("reserved without stock", "out of balance"),
    }
    return Invariant("total = available + live reservations + what sales own, never below 0", figures, lines.broken)


def disagreements(url: str | URL) -> list[str]:
    """Return what is wrong with the stock in this database alone, in words. Raise `CommandFailed`."""
    with snapshot(url) as stock:
        return list(conservation(stock, None).broken)
