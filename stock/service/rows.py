"""The rows of the deduction log: a header for each order, and its lines."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, bindparam, insert, select

from common.clock import now_ms
from stock.model import ReservationState, reservation_lines, reservations
from stock.service.strategies.port import Lines

# Made once, for they run for every order: SQLAlchemy keeps what it compiled of them.
NEW_HEADER = insert(reservations)
NEW_LINES = insert(reservation_lines)
OF_ORDERS = reservations.c.order_id.in_(bindparam("order_ids", expanding=True))
STATES = select(reservations.c.order_id, reservations.c.state).where(OF_ORDERS)


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


def states(connection: Connection, order_ids: Sequence[int]) -> dict[int, ReservationState]:
    """Return the states of those headers that exist."""
    rows = connection.execute(STATES, {"order_ids": order_ids})
    return {order_id: ReservationState(state) for order_id, state in rows}


def lines(connection: Connection, order_ids: Sequence[int]) -> Sequence[tuple[int, int, int]]:
    """Return what orders hold: order id, goods id, quantity."""
    columns = reservation_lines.c
    query = select(columns.order_id, columns.goods_id, columns.quantity).where(columns.order_id.in_(order_ids))
    return connection.execute(query).all()
