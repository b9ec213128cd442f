"""The headers of one participant's reservations: who inserts an order's first, taking or releasing, decides."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Integer, Table, bindparam, delete, false, insert, select, update
from sqlalchemy.exc import IntegrityError

from halfmessage.chunks import VALUES, rows_in
from halfmessage.clock import now_ms
from halfmessage.db import Transactor
from halfmessage.ids import first_of
from halfmessage.participant.model import ReservationState


class Headers:
    """The rows of one table that `header_table` declares.

    Statements are made once, for they run for every order: SQLAlchemy keeps what it compiled of them.
    """

    def __init__(self, table: Table) -> None:
        """Take the table."""
        columns, self._table = table.c, table
        of_orders = columns.order_id.in_(bindparam("order_ids", expanding=True))
        live = columns.state == ReservationState.DEDUCTED
        states = select(columns.order_id, columns.state).where(of_orders)
        self._insert = insert(table)
        self._states = states
        self._locked_states = states.order_by(columns.order_id).with_for_update()
        self._live = states.where(live).with_for_update()
        self._released = states.where(columns.state == ReservationState.RELEASED.value).with_for_update()
        released = {"state": ReservationState.RELEASED.value, "released_at": bindparam("now")}
        self._release = update(table).where(of_orders & live).values(released)
        self._verify = update(table).where(of_orders & live).values(verified=True)
        self._doubt = update(table).where(of_orders & live).values(verified=False)
        self._forget = delete(table).where(of_orders)
        self._page = (
            select(columns.order_id, columns.tx_id, columns.created_at)
            .where(columns.state == ReservationState.DEDUCTED)
            .where((columns.order_id > bindparam("after")) & (columns.created_at <= bindparam("older_than")))
            .order_by(columns.order_id)
            .limit(bindparam("most", type_=Integer))
        )
        self._page_of_unverified = self._page.where(columns.verified == false())  # IS has no index on MySQL

    def insert(self, connection: Connection, orders: Mapping[int, int], state: ReservationState) -> None:
        """Write new headers (order id → tx id). Raise IntegrityError if one is there already."""
        now = now_ms()
        released_at = now if state is ReservationState.RELEASED else None
        rest = {"state": state.value, "created_at": now, "released_at": released_at}
        rows = [{"order_id": order_id, "tx_id": tx_id, **rest} for order_id, tx_id in orders.items()]
        connection.execute(self._insert, rows)

    def insert_tombstone(self, connection: Connection, order_id: int, tx_id: int) -> bool:
        """Write a released header, unless one is there: whether it was written."""
        try:
            with connection.begin_nested():
                self.insert(connection, {order_id: tx_id}, ReservationState.RELEASED)
        except IntegrityError:  # a deduction, or another's tombstone, came in between
            return False
        return True

    def states(self, connection: Connection, order_ids: Collection[int]) -> dict[int, ReservationState]:
        """Return the states of those headers that exist."""
        return _states(rows_in(connection, self._states, "order_ids", order_ids))

    def locked_states(self, connection: Connection, order_ids: Collection[int]) -> dict[int, ReservationState]:
        """Return the same under locks; give the ids in ascending order, one order of locking for all."""
        return _states(rows_in(connection, self._locked_states, "order_ids", order_ids))

    def live(self, connection: Connection, order_ids: Collection[int]) -> list[int]:
        """Return those of the orders whose reservation is live, under locks."""
        return [order_id for order_id, _ in rows_in(connection, self._live, "order_ids", order_ids)]

    def released(self, connection: Connection, order_ids: Collection[int]) -> list[int]:
        """Return those of the orders whose reservation, or tombstone, is released, under locks."""
        return [order_id for order_id, _ in rows_in(connection, self._released, "order_ids", order_ids)]

    def release(self, connection: Connection, order_ids: Collection[int]) -> int:
        """Move those that are live to `released`; return how many. At most `VALUES` orders."""
        return connection.execute(self._release, {"order_ids": order_ids, "now": now_ms()}).rowcount

    def verify(self, connection: Connection, order_ids: Collection[int]) -> None:
        """Mark those that are live verified. At most `VALUES` orders."""
        connection.execute(self._verify, {"order_ids": order_ids})

    def doubt(self, connection: Connection, order_ids: Collection[int]) -> None:
        """Mark those that are live unverified, so that the sweep asks about them again. At most `VALUES` orders."""
        connection.execute(self._doubt, {"order_ids": order_ids})

    def forget(self, connection: Connection, order_ids: Collection[int]) -> None:
        """Delete headers, whatever their state. At most `VALUES` orders."""
        connection.execute(self._forget, {"order_ids": order_ids})

    def get(self, connection: Connection, order_id: int) -> Any:
        """Return the row of one header, None where there is none."""
        return connection.execute(select(self._table).where(self._table.c.order_id == order_id)).one_or_none()

    def page_of_live(
        self, database: Transactor, *, older_than: int, after: int, limit: int, or_verified: bool
    ) -> list[Any]:
        """Return (order id, tx id, created at) of live headers made before `older_than` (ms), ids above `after`.

        Unverified ones, or all: lowest id first, at most `limit`.
        """
        query = self._page if or_verified else self._page_of_unverified
        with database.read() as connection:
            return list(connection.execute(query, {"after": after, "older_than": older_than, "most": limit}))

    def pages_of_released(self, database: Transactor, before: int) -> Iterator[list[int]]:
        """Yield the ids of what was released before that time (ms), `VALUES` at a time, from the lowest on.

        By id, not by time, so that no index beside the key is needed: an id tells when its order was asked for, and
        none is released before.
        """
        columns, after = self._table.c, 0
        issued_before = first_of(before)
        gone = (columns.state == ReservationState.RELEASED) & (columns.released_at < before)
        query = select(columns.order_id).where(gone & (columns.order_id < issued_before)).order_by(columns.order_id)
        while True:
            with database.read() as connection:
                page = connection.scalars(query.where(columns.order_id > after).limit(VALUES)).all()
            if not page:
                return
            yield list(page)
            after = page[-1]


def _states(rows: list[Any]) -> dict[int, ReservationState]:
    return {order_id: ReservationState(state) for order_id, state in rows}
