"""Money: a paid order has exactly one payment taken and not sent back, whatever else was taken went back once.

The provider's ledger is believed, pay's is judged by it. Both are compared to the minor unit.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from lab.judge.databases import UNTOLD, Ask
from lab.judge.invariant import Invariant, Lines

_PAGE = 10_000  # orders that are held in memory at once; of charges, which are fewer, all are
_END = 2**63 - 1  # past every id
_NEXT_PAGE = "SELECT order_id FROM orders WHERE order_id >= {since} ORDER BY order_id LIMIT 1 OFFSET {page}"
_ORDERS = """
SELECT order_id, status, paid_through, total_amount, currency FROM orders
WHERE order_id >= {since} AND order_id < {until}
"""
_PAYMENTS = """
SELECT p.order_id, p.state, p.amount, p.currency, p.known, r.state FROM payments p
JOIN reservations r ON r.order_id = p.order_id WHERE p.order_id >= {since} AND p.order_id < {until}
"""
_CHARGES = "SELECT charge_id, order_id, amount, currency, state FROM charges WHERE provider = 'sandbox'"
_TAKEN = """
SELECT c.charge_id, s.payment_id, c.amount, c.currency FROM charges c JOIN sessions s ON s.session_id = c.session_id
"""
_REFUNDS = "SELECT charge_id, state FROM refunds"
_UNHANDLED = "SELECT provider, event_id FROM payment_events WHERE handled_at IS NULL"
_PAID = frozenset({"paid", "returned"})
_ORDER, _KEPT, _TWICE, _UNKNOWN, _WORD = (
    "orders and payments that disagree",
    "money kept for no order",
    "sent back twice",
    "charges that pay and the provider tell otherwise",
    "news that was not handled",
)
_STATES = {
    "created": ("open",),
    "paid": ("succeeded",),
    "closed": ("closed", "refunded"),
    "returned": ("refunded",),
    None: ("closed", "refunded"),
}
"""What a payment is at rest, by its order's status; None: there is no such order."""


@dataclass(frozen=True, slots=True)
class _Charge:
    """Money that the provider took; `refunds`: how often it sent it back, `keys`: by how many keys it was asked to."""

    order_id: int
    amount: int
    currency: str
    refunds: int
    keys: int


@dataclass(frozen=True, slots=True)
class _Order:
    """What is to be paid, and through whom it was."""

    status: str
    paid_through: str | None
    amount: int
    currency: str


def money(orders: Ask, pay: Ask, sandbox: Ask, since: int, most: int | None) -> Invariant:
    """Compare orders from the id `since` on with their payments, and both with the provider's ledger.

    Pay need not have heard of a paid order where the order service has written down that it has to tell so.
    """
    lines, sums = Lines(most), Counter[str]()
    taken = _taken(sandbox, since)
    told = {row[0]: row[1:] for row in pay(_CHARGES)}
    untold = {row[0] for row in orders(UNTOLD.format(participant="pay"))}
    by_order: dict[int, list[str]] = defaultdict(list)
    for charge_id, charge in taken.items():
        by_order[charge.order_id].append(charge_id)
        _compare(charge_id, charge, told.get(charge_id), lines)
    for charge_id in told.keys() - taken.keys():
        if (told[charge_id][0] or _END) >= since:
            lines.add(_UNKNOWN, f"charge {charge_id}: pay has it, the provider never took it")
    for provider, event_id in pay(_UNHANDLED):
        lines.add(_WORD, f"event {event_id} of {provider}: stored, never handled")
    for page_of_orders, payments in _pages(orders, pay, since, untold):
        for order_id in sorted(page_of_orders.keys() | payments.keys()):
            _of_order(order_id, page_of_orders.get(order_id), payments.get(order_id), lines)
        kept = (order_id for order_id in by_order.keys() - payments.keys() if order_id in page_of_orders)
        for order_id in sorted(kept):
            lines.add(_ORDER, f"order {order_id}: the provider took money for it, pay has no payment")
        for order_id, order in page_of_orders.items():
            _of_charges(order_id, order, [taken[one] for one in by_order.pop(order_id, [])], sums, lines)
    for order_id, charges in by_order.items():
        _of_charges(order_id, None, [taken[one] for one in charges], sums, lines)
    figures = {
        **{name: sums[name] for name in ("taken", "kept", "sent back")},
        "orders and payments that disagree": lines.count(_ORDER, _UNKNOWN, _WORD),
        "money kept for no order": lines.count(_KEPT),
        "sent back twice": lines.count(_TWICE),
    }
    return Invariant("a paid order has its money once; any other money went back once", figures, lines.broken)


def _taken(sandbox: Ask, since: int) -> dict[str, _Charge]:
    refunds, keys = Counter[int](), Counter[int]()
    for charge_id, state in sandbox(_REFUNDS):
        keys[charge_id] += 1
        refunds[charge_id] += state == "done"
    return {
        str(charge_id): _Charge(order_id, amount, currency, refunds[charge_id], keys[charge_id])
        for charge_id, order_id, amount, currency in sandbox(_TAKEN)
        if order_id >= since
    }


def _compare(charge_id: str, charge: _Charge, told: tuple[int, int, str, str] | None, lines: Lines) -> None:
    """Compare a charge with what pay says of it."""
    if told is None:
        lines.add(_UNKNOWN, f"charge {charge_id} of order {charge.order_id}: taken, and pay does not know of it")
        return
    order_id, amount, currency, state = told
    if (order_id, amount, currency) != (charge.order_id, charge.amount, charge.currency):
        lines.add(_UNKNOWN, f"charge {charge_id}: {charge} taken, pay says {told}")
    if state != ("refunded" if charge.refunds else "kept"):
        lines.add(_UNKNOWN, f"charge {charge_id}: sent back {charge.refunds} times, pay says {state}")
    if charge.refunds > 1 or charge.keys > 1:
        lines.add(_TWICE, f"charge {charge_id}: sent back {charge.refunds} times, asked for with {charge.keys} keys")


def _pages(
    orders: Ask, pay: Ask, since: int, untold: Collection[int]
) -> Iterator[tuple[dict[int, _Order], Mapping[int, tuple[str, int, str, int, str]]]]:
    """Yield orders and payments by id, those of the same ids together; the `untold` count as known."""
    while since < _END:
        after = orders(_NEXT_PAGE.format(since=since, page=_PAGE))
        until = after[0][0] if after else _END
        found = {row[0]: _Order(*row[1:]) for row in orders(_ORDERS.format(since=since, until=until))}
        yield (
            found,
            {
                row[0]: (row[1], row[2], row[3], row[4] or row[0] in untold, row[5])
                for row in pay(_PAYMENTS.format(since=since, until=until))
            },
        )
        since = until


def _of_order(
    order_id: int, order: _Order | None, payment: tuple[str, int, str, int, str] | None, lines: Lines
) -> None:
    if order is not None and (order.amount == 0 or (order.status in _PAID and order.paid_through is None)):
        if payment is not None and payment[0] not in {"closed", "refunded"}:
            lines.add(_ORDER, f"order {order_id}: needs no payment, and has one that is {payment[0]}")
        return  # it costs nothing, or was paid before there was a pay service
    if payment is None:
        if order is not None and order.status != "closed":
            lines.add(_ORDER, f"order {order_id}: {order.status}, but pay has no payment of it")
        return
    status = order.status if order is not None else None
    state, amount, currency, known, header = payment
    if state not in _STATES.get(status, ()):
        lines.add(_ORDER, f"order {order_id}: {status or 'does not exist'}, and its payment is {state}")
    if order is not None and (amount, currency) != (order.amount, order.currency):
        lines.add(_ORDER, f"order {order_id}: {order.amount} {order.currency}, its payment {amount} {currency}")
    if (header == "deducted") != (status in {"created", "paid"}):
        lines.add(_ORDER, f"order {order_id}: {status or 'does not exist'}, its payment's header is {header}")
    if status == "paid" and not known:
        lines.add(_ORDER, f"order {order_id}: paid, and pay has not heard of it")


def _of_charges(order_id: int, order: _Order | None, charges: list[_Charge], sums: Counter[str], lines: Lines) -> None:
    sums["taken"] += len(charges)
    standing = [charge for charge in charges if not charge.refunds]
    sums["kept"] += len(standing)
    sums["sent back"] += len(charges) - len(standing)
    if order is not None and order.status == "paid" and order.paid_through == "sandbox":
        due = [(order.amount, order.currency)]
    else:
        due = []
    found = [(charge.amount, charge.currency) for charge in standing]
    if found != due:
        status = order.status if order is not None else "does not exist"
        lines.add(_KEPT, f"order {order_id}: {status}, {due or 'nothing'} is due, the provider keeps {found}")
