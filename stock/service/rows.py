"""The rows of the deduction log: a header for each order, and its lines."""

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from common.chunks import VALUES, chunks, rows_in
from common.clock import now_ms
from stock.model import ReservationState, reservation_lines, reservations
from stock.service.strategies.port import Lines

# Made once, for they run for every order: SQLAlchemy keeps what it compiled of them.
NEW_HEADER = insert(reservations)
NEW_LINES = insert(reservation_lines)
OF_ORDERS = reservations.c.order_id.in_(bindparam("order_ids", expanding=True))
STATES = select(reservations.c.order_id, reservations.c.state).where(OF_ORDERS)
_LINES_OF_ORDERS = reservation_lines.c.order_id.in_(bindparam("order_ids", expanding=True))
_LINES = select(reservation_lines.c.order_id, reservation_lines.c.goods_id, reservation_lines.c.quantity).where(
    _LINES_OF_ORDERS
)
FORGET_HEADERS = delete(reservations).where(OF_ORDERS)
_FORGET_LINES = delete(reservation_lines).where(_LINES_OF_ORDERS)
_NUMBERS = (
    select(reservation_lines.c.order_id, func.count()).where(_LINES_OF_ORDERS).group_by(reservation_lines.c.order_id)
)


def header(order_id: int, tx_id: int, state: ReservationState) -> dict[str, object]:
    """Return a new header's row."""
    now = now_ms()
    released_at = now if state is ReservationState.RELEASED else None
    return {"order_id": order_id, "tx_id": tx_id, "state": state.value, "created_at": now, "released_at": released_at}


def line_rows(orders: Mapping[int, Lines]) -> list[dict[str, int]]:
    """Return the rows of what orders (by id) hold."""
    return [
        {"order_id": order_id, "goods_id": goods_id, "quantity": quantity}
        for order_id, lines in orders.items()
        for goods_id, quantity in sorted(lines.items())
    ]


def states(connection: Connection, order_ids: Collection[int]) -> dict[int, ReservationState]:
    """Return the states of those headers that exist."""
    rows = rows_in(connection, STATES, "order_ids", order_ids)
    return {order_id: ReservationState(state) for order_id, state in rows}


def forget_released(connection: Connection, order_ids: Collection[int]) -> None:
    """Delete those reservations, and tombstones, that are released: they hold nothing."""
    released = STATES.where(reservations.c.state == ReservationState.RELEASED.value).with_for_update()
    for part in chunks(order_ids, VALUES):
        found = [order_id for order_id, _ in connection.execute(released, {"order_ids": part})]
        connection.execute(_FORGET_LINES, {"order_ids": found})
        connection.execute(FORGET_HEADERS, {"order_ids": found})


def lines(connection: Connection, order_ids: Collection[int]) -> list[tuple[int, int, int]]:
    """Return what orders hold: order id, goods id, quantity."""
    return rows_in(connection, _LINES, "order_ids", order_ids)


def numbers_of_lines(connection: Connection, order_ids: Collection[int]) -> dict[int, int]:
    """Return how many lines each of the orders has that have any."""
    return {order_id: int(number) for order_id, number in rows_in(connection, _NUMBERS, "order_ids", order_ids)}
