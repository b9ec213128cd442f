"""What must be true of flash sales: none is oversold, and what got a 202 becomes an order or is refused."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from lab.drill.nemesis.case import CONFLICT, Case, Shown, request_of
from lab.drill.nemesis.history import Entry

_DECIDED = frozenset({"created", "refused"})
_MAY_BE_REFUSED = frozenset({"sold-out", "already-bought"})


def opened_once(case: Case) -> Iterator[str]:
    """See that a sale which got a 201 is there, as it was asked for, and that one name (its key) is one sale."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for entry in case.opened:
        sale, sent = entry.body, entry.sent or {}
        found[entry.label].add(str(sale["sale_id"]))
        if {name: sale.get(name) for name in _TERMS} != {name: sent.get(name) for name in _TERMS}:
            yield f"sale {sale['sale_id']} is not what {entry.label} asked for: {sale}, not {sent}"
        if str(sale["sale_id"]) not in case.final.sales:
            yield f"sale {sale['sale_id']} was acknowledged with 201, and owns nothing at stock"
    for name, ids in found.items():
        if len(ids) > 1:
            yield f"{name} was opened as {len(ids)} sales: {', '.join(sorted(ids))}"


_TERMS = ("goods_id", "quantity", "unit_price", "per_user")


def bought_decided(case: Case) -> Iterator[str]:
    """Every purchase that got a 202 ends as created, or as refused because the sale had forgotten it."""
    for entry in case.bought:
        request = case.final.requests.get(request_of(entry), {})
        state, slug = request.get("state", "not found"), _slug(request)
        if state not in _DECIDED or (state == "refused" and slug not in _MAY_BE_REFUSED):
            yield f"purchase {request_of(entry)} of {entry.label} got a 202, and is {state} {slug}".rstrip()


def bought_as_asked(case: Case) -> Iterator[str]:
    """See that a purchase which is created names the one order of it, its buyer's, of what was asked for."""
    for entry in case.bought:
        request = case.final.requests.get(request_of(entry), {})
        if request.get("state") != "created":
            continue
        order = case.orders.get(str(request["order_id"]))
        if order is None or case.owners[str(request["order_id"])] != entry.user or not _fits(case, entry, order):
            yield f"purchase {request_of(entry)} of {entry.label} names {request['order_id']}, not an order of its own"


def _fits(case: Case, entry: Entry, order: Shown) -> bool:
    terms = case.terms.get(str(order.get("sale_id")), {})
    (item, *more) = order["items"]
    quantity = int((entry.sent or {}).get("quantity", 1))
    return (
        (str(order["sale_id"]), str(order["purchase_id"])) == (entry.sale_id, request_of(entry))
        and not more
        and (str(item["goods_id"]), item["quantity"]) == (terms.get("goods_id"), quantity)
        and order["total_amount"] == quantity * int(terms.get("unit_price", -1))
    )


def bought_once(case: Case) -> Iterator[str]:
    """One purchase is one order, and each is of a call that can have made it."""
    counted = Counter(str(order["purchase_id"]) for order in case.of_sales)
    for purchase_id, number in counted.items():
        if number > 1:
            yield f"purchase {purchase_id} is {number} orders"
    able: Counter[tuple[str, str | None]] = Counter()
    for entry in case.history:
        if entry.op == "buy" and case.may_have_made(entry):
            able[entry.user, entry.sale_id] += 1
    made = Counter((case.owners[str(order["order_id"])], str(order["sale_id"])) for order in case.of_sales)
    for (user, sale_id), number in made.items():
        if number > able[user, sale_id]:
            yield f"{user} has {number} orders of sale {sale_id}, though {able[user, sale_id]} calls can have made one"


def not_oversold(case: Case) -> Iterator[str]:
    """See that orders of a sale hold no more than it owns at stock, and that no more than it was opened with."""
    for sale_id, terms in case.terms.items():
        sold = sum(_pieces(order) for order in _standing(case) if str(order["sale_id"]) == sale_id)
        owned = case.final.sales[sale_id].owned if sale_id in case.final.sales else 0
        if not sold <= owned <= int(terms["quantity"]):
            yield f"sale {sale_id} of {terms['quantity']} pieces owns {owned}, and its orders hold {sold}"


def no_more_than_one_may(case: Case) -> Iterator[str]:
    """See that no user has more pieces of a sale than `per_user`, in orders that stand."""
    had: Counter[tuple[str, str]] = Counter()
    for order in _standing(case):
        had[str(order["sale_id"]), case.owners[str(order["order_id"])]] += _pieces(order)
    for (sale_id, user), pieces in had.items():
        most = int(case.terms.get(sale_id, {}).get("per_user", 0))
        if pieces > most:
            yield f"{user} has {pieces} pieces of sale {sale_id}, of which one may have {most}"


def sold_out_truly(case: Case) -> Iterator[str]:
    """`sold-out` is only said where all that was asked for by then is more than there was."""
    for entry in case.history:
        if entry.op != "buy" or (entry.status, entry.slug) != (CONFLICT, "sold-out"):
            continue
        asked = sum(
            int((other.sent or {}).get("quantity", 1))
            for other in case.history
            if other.op == "buy" and other.sale_id == entry.sale_id and other.invoked < (entry.answered or 0.0)
        )
        if asked <= int(case.terms.get(entry.sale_id or "", {}).get("quantity", 0)):
            yield f"{entry.label} of {entry.user} was told that sale {entry.sale_id} is sold out, which can't have been"


def _standing(case: Case) -> Iterator[Shown]:
    return (order for order in case.of_sales if order["status"] not in {"closed", "returned"})


def _pieces(order: Shown) -> int:
    return sum(int(item["quantity"]) for item in order["items"])


def _slug(request: Mapping[str, Any]) -> str:
    return str((request.get("problem") or {}).get("type", "")).rpartition("/")[2]


RULES = (
    opened_once,
    bought_decided,
    bought_as_asked,
    bought_once,
    not_oversold,
    no_more_than_one_may,
    sold_out_truly,
)
