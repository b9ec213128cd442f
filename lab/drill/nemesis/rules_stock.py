"""What must be true of the stock, and of everything once it is quiet."""

from collections import defaultdict
from collections.abc import Iterator

from lab.drill.nemesis.case import OK, Case, quantities


def conserved(case: Case) -> Iterator[str]:
    """For each goods: total = available + live reservations + what sales own, none below 0, and what was put there."""
    reserved: defaultdict[str, int] = defaultdict(int)
    for row in case.final.reservations:
        if row.state == "deducted":
            for goods_id, quantity in row.lines.items():
                reserved[goods_id] += quantity
    for sale in case.final.sales.values():
        reserved[sale.goods_id] += sale.owned
    for goods_id, total in case.final.goods.items():
        level = case.final.levels[goods_id]
        if level.available < 0 or level.total != total or total != level.available + reserved[goods_id]:
            held = f"total {level.total}, available {level.available}, reserved {reserved[goods_id]}"
            yield f"goods {goods_id}: {total} were put there; {held}"


def shown_truly(case: Case) -> Iterator[str]:
    """REST shows the stock as the database has it."""
    for goods_id in case.final.goods:
        if case.final.shown[goods_id] != case.final.levels[goods_id]:
            yield f"goods {goods_id}: shown as {case.final.shown[goods_id]}, is {case.final.levels[goods_id]}"


def levels_possible(case: Case) -> Iterator[str]:
    """At every look, what is available is between 0 and the total, and the total is what was put there."""
    for entry in case.history:
        if entry.op == "level" and entry.status == OK:
            total = case.final.goods[entry.body["goods_id"]]
            if entry.body["total"] != total or not 0 <= entry.body["available"] <= total:
                yield f"goods {entry.body['goods_id']} was shown with {entry.body}, of {total}"


def reserved_once(case: Case) -> Iterator[str]:
    """Stock is held once for every line of an order that stands and was not bought in a sale, and for nothing else."""
    live: defaultdict[str, list[dict[str, int]]] = defaultdict(list)
    for row in case.final.reservations:
        if row.state == "deducted":
            live[row.order_id].append(dict(row.lines))
    for order_id, order in case.orders.items():
        held = live.get(order_id, [])
        is_elsewhere = order["status"] in {"closed", "returned"} or order.get("sale_id") is not None
        expected = [] if is_elsewhere else [quantities(order)]
        if held != expected:
            yield f"order {order_id} is {order['status']} and holds {held}, not {expected}"
    for order_id in live.keys() - case.orders.keys():
        yield f"order {order_id} does not exist, but its stock is held"


def settled(case: Case) -> Iterator[str]:
    """Once quiet, nothing is unresolved, dead or overdue."""
    yield from (f"not settled: {line}" for line in case.final.left)


def settled_in_time(case: Case) -> Iterator[str]:
    """After the last fault, everything is settled within the time that is stated."""
    final = case.final
    if final.quiet_after is None:
        yield f"it never came to rest; {final.limit:g} s are stated"
    elif final.quiet_after > final.limit:
        yield f"it came to rest {final.quiet_after:.1f} s after the last fault; {final.limit:g} s are stated"


RULES = (conserved, shown_truly, levels_possible, reserved_once, settled, settled_in_time)
