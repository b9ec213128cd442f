"""The stock ledger against itself: what is left, what is held, what there is."""

from sqlalchemy import and_, func, select

from common.db import Database
from halfmessage.participant.model import ReservationState
from stock.model import reservation_lines, reservations, stock


def disagreements(database: Database) -> list[str]:
    """Return what breaks conservation, in one consistent read: total = available + live reservations, none below 0."""
    live = and_(
        reservations.c.order_id == reservation_lines.c.order_id,
        reservations.c.state == ReservationState.DEDUCTED.value,
    )
    held = (
        select(reservation_lines.c.goods_id, func.sum(reservation_lines.c.quantity).label("pieces"))
        .join(reservations, live)
        .group_by(reservation_lines.c.goods_id)
        .subquery()
    )
    pieces = func.coalesce(held.c.pieces, 0)
    query = (
        select(stock.c.goods_id, stock.c.total, stock.c.available, pieces)
        .outerjoin(held, held.c.goods_id == stock.c.goods_id)
        .where((stock.c.total != stock.c.available + pieces) | (stock.c.available < 0))
        .order_by(stock.c.goods_id)
    )
    with database.read() as connection:
        return [
            f"goods {goods_id}: {total} in all, {available} left, {reserved} held"
            for goods_id, total, available, reserved in connection.execute(query)
        ]
