"""Releasing the reservations of a batch of orders in one transaction, each at most once; tombstones for the unknown."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, bindparam, update
from sqlalchemy.exc import IntegrityError

from common.chunks import VALUES, chunks, rows_in
from common.clock import now_ms
from stock.model import ReservationState, reservations
from stock.service.rows import NEW_HEADER, OF_ORDERS, STATES, header, lines, states
from stock.service.strategies.in_database import change_levels

_LOCKED_STATES = STATES.order_by(reservations.c.order_id).with_for_update()
_RELEASE = (
    update(reservations)
    .where(OF_ORDERS & (reservations.c.state == ReservationState.DEDUCTED))
    .values(state=ReservationState.RELEASED.value, released_at=bindparam("now"))
)


def release_together(connection: Connection, orders: Mapping[int, int]) -> None:
    """Release `orders` (order id → tx id). Raise IntegrityError if a header comes in between that was not there."""
    order_ids = sorted(orders)
    known = dict(rows_in(connection, _LOCKED_STATES, "order_ids", order_ids))
    unknown = [order_id for order_id in order_ids if order_id not in known]
    if unknown:
        rows = [header(order_id, orders[order_id], ReservationState.RELEASED) for order_id in unknown]
        connection.execute(NEW_HEADER, rows)
    live = [order_id for order_id in order_ids if known.get(order_id) == ReservationState.DEDUCTED]
    for part in chunks(live, VALUES):
        connection.execute(_RELEASE, {"order_ids": part, "now": now_ms()})
    if live:
        _give_back(connection, live)


def release_singly(connection: Connection, orders: Mapping[int, int]) -> None:
    """Release `orders` (order id → tx id), whatever comes in between."""
    released = [order_id for order_id, tx_id in sorted(orders.items()) if _release_header(connection, order_id, tx_id)]
    if released:
        _give_back(connection, released)


def _give_back(connection: Connection, order_ids: Sequence[int]) -> None:
    back: defaultdict[int, int] = defaultdict(int)
    for _, goods_id, quantity in lines(connection, order_ids):
        back[goods_id] += quantity
    change_levels(connection, back)


def _release_header(connection: Connection, order_id: int, tx_id: int) -> bool:
    """Move the header to `released`; True if that moved it from `deducted`, so that its lines must go back."""
    if _release_live(connection, order_id):
        return True
    state = states(connection, [order_id]).get(order_id)
    if state is None and _leave_tombstone(connection, order_id, tx_id):
        return False
    if state is ReservationState.RELEASED:
        return False
    return _release_live(connection, order_id)  # a deduction was committed since we looked first


def _release_live(connection: Connection, order_id: int) -> bool:
    return connection.execute(_RELEASE, {"order_ids": [order_id], "now": now_ms()}).rowcount == 1


def _leave_tombstone(connection: Connection, order_id: int, tx_id: int) -> bool:
    try:
        with connection.begin_nested():
            connection.execute(NEW_HEADER, header(order_id, tx_id, ReservationState.RELEASED))
    except IntegrityError:  # a deduction, or another's tombstone, came in between
        return False
    return True
