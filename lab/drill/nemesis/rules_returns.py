"""What must be true of orders that are returned."""

from collections import defaultdict
from collections.abc import Iterator

from lab.drill.nemesis.case import ACCEPTED, Case


def returned_for_good(case: Case) -> Iterator[str]:
    """Who was told that an order is returned, was told so of this order, and for good."""
    for entry in case.history:
        if entry.op == "return" and entry.status == ACCEPTED:
            now = case.orders.get(entry.order_id or "", {}).get("status", "gone")
            if now != "returned" or entry.body["order_id"] != entry.order_id:
                yield f"return of order {entry.order_id}, which is {now}, was answered 202 with {entry.body}"


def returned_once(case: Case) -> Iterator[str]:
    """However often it is asked for, an order has one return."""
    runs: defaultdict[str, set[str]] = defaultdict(set)
    for entry in case.history:
        if entry.op == "return" and entry.status == ACCEPTED:
            runs[entry.order_id or ""].add(str(entry.body["run_id"]))
    for order_id, found in runs.items():
        if len(found) > 1:
            yield f"order {order_id} was told to have the returns {', '.join(sorted(found))}"


RULES = (returned_for_good, returned_once)
