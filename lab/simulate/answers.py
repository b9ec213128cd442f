"""Whether what a client was told is true, as far as its orders tell."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from lab.simulate.clients import Answer, Told

_CREATED, _OK, _ACCEPTED, _SERVER = 201, 200, 202, 500
_INTERNAL: Final = 500
"""What is told of what no part of the service has thought of; what is down, or not known, is 503."""
_BEFORE: Final = {"returned": "paid"}
"""What an order was, and was told as, before it became something else."""
_REFUSED: Final = frozenset({"order-not-paid", "return-too-late"})
"""Why an order is not returned; another asking for it may have come earlier, or later, and have it returned."""
_MAY_BE: Final = frozenset({"outcome-unknown", "idempotency-mismatch"})
"""Errors that do not say that there is no order under a key."""


class Found(NamedTuple):
    """An order as it is when all is at rest; times in ms since the epoch."""

    order_id: int
    status: str
    close_reason: str | None
    closed_at: int | None
    expires_at: int
    total_amount: int


def untrue(told: Told, orders: Sequence[Found]) -> Iterator[str]:
    """Yield what is untrue of what a client was told, given the orders that its requests made."""
    yield from _of_its_key(told)
    if len(orders) > 1:
        yield f"has {len(orders)} orders for one wish"
    answers = [*told.answers, *told.others]
    if answers and orders and all(map(_says_none, answers)):
        yield f"was told that nothing was created ({answers}), and has order {orders[0].order_id}"
    for order in orders:
        yield from _changed(told, order)
        yield from _returned(told, order)


def _of_its_key(told: Told) -> Iterator[str]:
    if len(set(told.order_ids)) > 1:
        yield f"was told of several orders: {told.order_ids}"
    if told.order_ids and any(status == _CREATED for status, _ in told.others):
        yield f"was told {told.others} of another request under its key"
    if any(_OK <= status < _SERVER and status != _CREATED for status, _ in told.again):
        yield f"was told {told.again} when it asked again for the order that it has"
    if any(status == _INTERNAL for status, _ in (*told.answers, *told.others, *told.again)):
        yield f"was told of an error inside: {[*told.answers, *told.others, *told.again]}"
    if told.strangers is not None and told.strangers[0] == _OK:
        yield "another user may cancel its order"
    if told.shown_to_strangers is not None and told.shown_to_strangers[0] == _OK:
        yield "another user may see how far its return is"
    if told.wish.must and not told.order_ids:
        yield f"got no order though nothing went wrong any more: {told.answers}"


def _says_none(answer: Answer) -> bool:
    """Whether it says that nothing was created."""
    status, kind = answer
    return bool(status) and status != _CREATED and kind not in _MAY_BE


def _changed(told: Told, order: Found) -> Iterator[str]:
    """Compare what became of a client's order with what it asked for and was told."""
    name, is_free = f"order {order.order_id}", order.total_amount == 0
    status = _BEFORE.get(order.status, order.status)
    if order.close_reason == "cancelled" and not told.has_cancelled:
        yield f"{name} is cancelled, and was not asked to be"
    if order.close_reason == "timeout" and (order.closed_at or 0) < order.expires_at:
        yield f"{name} is closed as timed out before its time"
    if told.cancelled == (_OK, "closed") and status != "closed":
        yield f"{name} is {status}, and was said to be cancelled"
    if told.cancelled == (409, "order-paid") and status != "paid":
        yield f"{name} is {status}, and was said to be paid"
    if told.paid == (_OK, "paid") and status != "paid":
        yield f"{name} is {status}, and who paid was told that it is paid"
    if told.paid == (409, "order-closed") and status != "closed":
        yield f"{name} is {status}, and who paid was told that it is closed"
    if status == "paid" and not told.has_paid and not is_free:
        yield f"{name} is paid, and was not paid for"
    if is_free and status != "paid":
        yield f"{name} costs nothing, and is {status}"
    if told.statuses and told.statuses != {"paid" if is_free else "created"}:
        yield f"{name} was told as {sorted(told.statuses)} when it was created"


def _returned(told: Told, order: Found) -> Iterator[str]:
    """Compare whether an order is returned with what its client asked for and was told."""
    name, is_returned = f"order {order.order_id}", order.status == "returned"
    if is_returned and not told.has_returned:
        yield f"{name} is returned, and was not asked to be"
    for status, kind in filter(None, (told.returned, told.returned_too)):
        if status == _ACCEPTED and not is_returned:
            yield f"{name} is {order.status}, and was said to be on its way back"
        elif kind == "order-not-paid" and told.wish.then == "pay" and told.paid == (_OK, "paid"):
            yield f"{name} was said to be paid, and then not to be"
        elif _OK <= status < _SERVER and status != _ACCEPTED and is_returned and kind not in _REFUSED:
            yield f"{name} is returned, and was refused that: {kind}"
