"""Deducting and releasing, each at most once, in whatever order and however often the requests come.

Both begin with the same primary key, the reservation's header, so that any interleaving serialises: a late
deduction finds the tombstone, a second release finds the first.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, bindparam, false, insert, select, update
from sqlalchemy.exc import IntegrityError

from common import failpoints
from common.clock import now_ms
from common.db import Database
from common.errors import NotFound
from stock.model import ReservationState, Verdict, reservation_lines, reservations, stock
from stock.service.strategies.in_database import Conditional
from stock.service.strategies.port import Strategy, Taker

Fate = Literal["stands", "void"]

# Made once, for they run for every order: SQLAlchemy keeps what it compiled of them.
_NEW_HEADER = insert(reservations)
_NEW_LINES = insert(reservation_lines)
_STATES = select(reservations.c.order_id, reservations.c.state).where(
    reservations.c.order_id.in_(bindparam("order_ids", expanding=True))
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one order asks for: quantities by goods id."""

    order_id: int
    lines: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Decision:
    """What one order got; `short` names the goods that were wanting."""

    order_id: int
    verdict: Verdict
    short: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Reservation:
    """A reservation as it stands; times in ms since the epoch. No lines: a tombstone."""

    order_id: int
    tx_id: int
    state: ReservationState
    verified: bool
    created_at: int
    released_at: int | None
    lines: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Unverified:
    """A live reservation whose order nobody has confirmed yet."""

    order_id: int
    tx_id: int
    created_at: int


class _Short(Exception):
    def __init__(self, goods_ids: Iterable[int]) -> None:
        self.goods_ids = tuple(goods_ids)


class Reservations:
    """The deduction log of one database."""

    def __init__(self, database: Database, strategy: Strategy | None = None) -> None:
        """Take the stock service's database, and how pieces are taken (`Conditional` unless told)."""
        self._database = database
        self._strategy = strategy or Conditional()

    def deduct(self, tx_id: int, orders: Sequence[Wanted]) -> list[Decision]:
        """Deduct each order whole or not at all, in one transaction; repeated, answer the same and take nothing.

        Raise `Unavailable`, or `CommitOutcomeUnknown`: then it may have been deducted.
        """
        failpoints.hit("stock.deduct_received")
        goods_ids = {goods_id for order in orders for goods_id in order.lines}

        def deduct(taker: Taker) -> list[Decision]:
            return self._database.transact(lambda connection: _deduct_all(connection, taker, tx_id, orders, goods_ids))

        decisions = self._strategy.run(goods_ids, deduct)
        failpoints.hit("stock.deducted")
        return decisions

    def release(self, orders: Mapping[int, int]) -> None:
        """Release the reservations of `orders` (order id → tx id), or leave tombstones where there are none.

        Raise `DatabaseUnavailable` or `CommitOutcomeUnknown`: do it again.
        """
        self._database.transact(lambda connection: _release(connection, orders))

    def settle(self, fates: Mapping[int, tuple[int, Fate]]) -> dict[int, ReservationState]:
        """Take the order service's word for orders (order id → tx id, fate); return the states they are in now.

        `stands` marks a live reservation verified, `void` releases it. Raises as `release` does.
        """
        standing = [order_id for order_id, (_, fate) in fates.items() if fate == "stands"]
        void = {order_id: tx_id for order_id, (tx_id, fate) in fates.items() if fate == "void"}

        def work(connection: Connection) -> dict[int, ReservationState]:
            live = reservations.c.state == ReservationState.DEDUCTED
            connection.execute(
                update(reservations).where(reservations.c.order_id.in_(standing) & live).values(verified=True)
            )
            _release(connection, void)
            return _states(connection, list(fates))

        states = self._database.transact(work)
        failpoints.hit("stock.settled")
        return states

    def unverified(self, *, older_than: int, after: int, limit: int) -> list[Unverified]:
        """Return live, unverified reservations made before `older_than` (ms) with ids above `after`, lowest first."""
        columns = reservations.c
        query = (
            select(columns.order_id, columns.tx_id, columns.created_at)
            .where(
                (columns.verified == false()) & (columns.state == ReservationState.DEDUCTED)
            )  # IS has no index on MySQL
            .where((columns.order_id > after) & (columns.created_at <= older_than))
            .order_by(columns.order_id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [Unverified(*row) for row in connection.execute(query)]

    def get(self, order_id: int) -> Reservation:
        """Return one reservation. Raise `NotFound`."""
        with self._database.read() as connection:
            row = connection.execute(select(reservations).where(reservations.c.order_id == order_id)).one_or_none()
            lines = _lines(connection, [order_id])
        if row is None:
            raise NotFound("No reservation was ever made for this order, nor was one refused.")
        return Reservation(
            row.order_id,
            row.tx_id,
            ReservationState(row.state),
            row.verified,
            row.created_at,
            row.released_at,
            {goods_id: quantity for _, goods_id, quantity in lines},
        )


def _states(connection: Connection, order_ids: Sequence[int]) -> dict[int, ReservationState]:
    rows = connection.execute(_STATES, {"order_ids": order_ids})
    return {order_id: ReservationState(state) for order_id, state in rows}


def _lines(connection: Connection, order_ids: Sequence[int]) -> Sequence[tuple[int, int, int]]:
    columns = reservation_lines.c
    query = select(columns.order_id, columns.goods_id, columns.quantity).where(columns.order_id.in_(order_ids))
    return connection.execute(query).all()


def _deduct_all(
    connection: Connection, taker: Taker, tx_id: int, orders: Sequence[Wanted], goods_ids: Collection[int]
) -> list[Decision]:
    known = _states(connection, [order.order_id for order in orders])
    taker.begin(connection, goods_ids, len(orders))
    decisions = [
        Decision(order.order_id, Verdict(known[order.order_id]))
        if order.order_id in known
        else _deduct(connection, taker, tx_id, order)
        for order in orders
    ]
    failpoints.hit("stock.before_commit")
    return decisions


def _deduct(connection: Connection, taker: Taker, tx_id: int, order: Wanted) -> Decision:
    try:
        with connection.begin_nested():
            _insert_header(connection, order.order_id, tx_id, ReservationState.DEDUCTED)
            _take(connection, taker, order)
    except _Short as short:
        return Decision(order.order_id, Verdict.INSUFFICIENT, short.goods_ids)
    except IntegrityError:  # the same order, or its release, came in between: what it left is the answer
        return Decision(order.order_id, Verdict(_states(connection, [order.order_id])[order.order_id]))
    return Decision(order.order_id, Verdict.DEDUCTED)


def _take(connection: Connection, taker: Taker, order: Wanted) -> None:
    short = taker.take(connection, order.lines)
    if short:
        raise _Short(short)
    connection.execute(
        _NEW_LINES,
        [
            {"order_id": order.order_id, "goods_id": goods_id, "quantity": quantity}
            for goods_id, quantity in sorted(order.lines.items())
        ],
    )


def _insert_header(connection: Connection, order_id: int, tx_id: int, state: ReservationState) -> None:
    now = now_ms()
    released_at = now if state is ReservationState.RELEASED else None
    connection.execute(
        _NEW_HEADER,
        {"order_id": order_id, "tx_id": tx_id, "state": state.value, "created_at": now, "released_at": released_at},
    )


def _release(connection: Connection, orders: Mapping[int, int]) -> None:
    released = [order_id for order_id, tx_id in sorted(orders.items()) if _release_header(connection, order_id, tx_id)]
    back: defaultdict[int, int] = defaultdict(int)
    for _, goods_id, quantity in _lines(connection, released):
        back[goods_id] += quantity
    if back:
        connection.execute(
            update(stock)
            .where(stock.c.goods_id == bindparam("id"))
            .values(available=stock.c.available + bindparam("back")),
            [{"id": goods_id, "back": quantity} for goods_id, quantity in sorted(back.items())],
        )


def _release_header(connection: Connection, order_id: int, tx_id: int) -> bool:
    """Move the header to `released`; True if that moved it from `deducted`, so that its lines must go back."""
    live = (reservations.c.order_id == order_id) & (reservations.c.state == ReservationState.DEDUCTED)
    release = update(reservations).where(live).values(state=ReservationState.RELEASED.value, released_at=now_ms())
    if connection.execute(release).rowcount == 1:
        return True
    state = _states(connection, [order_id]).get(order_id)
    if state is None and _leave_tombstone(connection, order_id, tx_id):
        return False
    if state is ReservationState.RELEASED:
        return False
    return connection.execute(release).rowcount == 1  # a deduction was committed since we looked first


def _leave_tombstone(connection: Connection, order_id: int, tx_id: int) -> bool:
    try:
        with connection.begin_nested():
            _insert_header(connection, order_id, tx_id, ReservationState.RELEASED)
    except IntegrityError:  # a deduction, or another's tombstone, came in between
        return False
    return True
