"""What must be true of money once it is quiet, by the provider's own books."""

from collections import defaultdict
from collections.abc import Iterator

from lab.drill.nemesis.case import ACCEPTED, Case


def paid_once(case: Case) -> Iterator[str]:
    """See that a paid order has its money, once, and any other, or an id that is no order, none."""
    standing: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for charge in case.final.charges:
        if not charge.sent_back:
            standing[charge.order_id].append((charge.amount, charge.currency))
    for order_id in sorted(case.orders.keys() | standing.keys()):
        order = case.orders.get(order_id, {"status": "none", "total_amount": 0})
        paid = order["status"] == "paid" and order["total_amount"]
        due = [(order["total_amount"], order["currency"])] if paid else []
        if standing[order_id] != due:
            yield f"order {order_id} is {order['status']}, {due} is due, and the provider has {standing[order_id]}"


def sent_back_once(case: Case) -> Iterator[str]:
    """Money goes back once, and is asked back by one key."""
    for charge in case.final.charges:
        if charge.sent_back > 1 or charge.keys > 1:
            yield f"{charge} of order {charge.order_id} was sent back more than once, or asked back by several keys"


def payment_shown(case: Case) -> Iterator[str]:
    """Compare the payment that an order shows with its status, and with the money that there is."""
    taken = {charge.order_id for charge in case.final.charges}
    for order_id, order in case.orders.items():
        shown = order["payment"] and order["payment"]["status"]
        back = "refunded" if order_id in taken else "closed"
        due = {"created": "open", "paid": "succeeded", "closed": back, "returned": "refunded"}[order["status"]]
        if shown != (due if order["total_amount"] else None):
            yield f"order {order_id} is {order['status']}, and shows a payment that is {shown}"


def sent_elsewhere(case: Case) -> Iterator[str]:
    """Who is sent elsewhere to pay is told where, and for which order."""
    for entry in case.history:
        if (
            entry.op == "pay"
            and entry.status == ACCEPTED
            and not (entry.body["order_id"] == entry.order_id and str(entry.body["pay_url"]).startswith("http"))
        ):
            yield f"pay of order {entry.order_id} was answered 202 with {entry.body}"


RULES = (paid_once, sent_back_once, payment_shown, sent_elsewhere)
