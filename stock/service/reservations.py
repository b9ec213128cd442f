"""Deducting and releasing, each at most once, in whatever order and however often the requests come.

Both begin with the same primary key, the reservation's header, so that any interleaving serialises: a late
deduction finds the tombstone, a second release finds the first.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

from sqlalchemy import Connection, false, select, update

from common import failpoints
from common.chunks import LINES, ROWS, VALUES, by_weight, chunks
from common.db import Database
from common.errors import BelowZero, DuplicateRow, NotFound, RowRefused
from common.ids import EPOCH
from stock.model import ReservationState, reservations
from stock.service.deducting import Decision, deduct_singly, deduct_together
from stock.service.releasing import release_singly, release_together
from stock.service.rows import (
    OF_ORDERS,
    forget_released,
    lines,
    numbers_of_lines,
    states,
)
from stock.service.strategies.in_database import Conditional
from stock.service.strategies.port import Lines, Strategy, Taker

__all__ = ["Decision", "Reservation", "Reservations", "Unverified", "Wanted"]

T = TypeVar("T")
Fate = Literal["stands", "void"]

_VERIFY = (
    update(reservations).where(OF_ORDERS & (reservations.c.state == ReservationState.DEDUCTED)).values(verified=True)
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one order asks for: quantities by goods id."""

    order_id: int
    lines: Lines


@dataclass(frozen=True, slots=True)
class Reservation:
    """A reservation as it stands; times in ms since the epoch. No lines: a tombstone."""

    order_id: int
    tx_id: int
    state: ReservationState
    verified: bool
    created_at: int
    released_at: int | None
    lines: Lines


@dataclass(frozen=True, slots=True)
class Unverified:
    """A live reservation whose order nobody has confirmed yet."""

    order_id: int
    tx_id: int
    created_at: int


class Reservations:
    """The deduction log of one database."""

    def __init__(self, database: Database, strategy: Strategy | None = None) -> None:
        """Take the stock service's database, and how pieces are taken (`Conditional` unless told)."""
        self._database = database
        self._strategy = strategy or Conditional()

    def deduct(self, tx_id: int, orders: Sequence[Wanted], *, revive: bool = False) -> list[Decision]:
        """Deduct each order whole or not at all, in one transaction; repeated, answer the same and take nothing.

        `revive`: what was released is forgotten first. Only for orders that stand though a restored database, theirs
        or ours, says that they were released (docs/decisions/0023): in the protocol, nothing leaves `released`.
        Raise `Unavailable`, or `CommitOutcomeUnknown`: then it may have been deducted.
        """
        failpoints.hit("stock.deduct_received")
        wanted = {order.order_id: order.lines for order in orders}
        goods_ids = {goods_id for lines in wanted.values() for goods_id in lines}

        def deduct(taker: Taker) -> dict[int, Decision]:
            return self._together_else_singly(
                lambda connection: deduct_together(forgotten(connection), taker, tx_id, wanted),
                lambda connection: deduct_singly(forgotten(connection), taker, tx_id, wanted, goods_ids),
            )

        def forgotten(connection: Connection) -> Connection:
            if revive:
                forget_released(connection, list(wanted))
            return connection

        decisions = self._strategy.run(goods_ids, deduct)
        failpoints.hit("stock.deducted")
        return [decisions[order.order_id] for order in orders]

    def purge(self, released_before: int) -> int:
        """Forget what was released before that time (ms since the epoch), tombstones too; return how many orders.

        So many rows in one transaction; done again, it goes on where it was. Raises as `release` does.
        """
        return sum(self._forget(order_ids) for order_ids in self._released(released_before))

    def _released(self, before: int) -> Iterator[list[int]]:
        """Yield the ids of what was released, some at a time, from the lowest on.

        By id, not by time, so that no index beside the key is needed: an id tells when its order was asked for, and
        none is released before.
        """
        columns, after = reservations.c, 0
        issued_before = max(0, before - EPOCH) << 22
        gone = (columns.state == ReservationState.RELEASED) & (columns.released_at < before)
        query = select(columns.order_id).where(gone & (columns.order_id < issued_before)).order_by(columns.order_id)
        while True:
            with self._database.read() as connection:
                page = connection.scalars(query.where(columns.order_id > after).limit(VALUES)).all()
            if not page:
                return
            yield list(page)
            after = page[-1]

    def _forget(self, order_ids: Sequence[int]) -> int:
        with self._database.read() as connection:
            lines_of = dict.fromkeys(order_ids, 1) | numbers_of_lines(connection, order_ids)
        for part in by_weight(order_ids, lines_of.__getitem__, LINES):
            self._database.transact(partial(forget_released, order_ids=part))
        return len(order_ids)

    def release(self, orders: Mapping[int, int]) -> None:
        """Release the reservations of `orders` (order id → tx id), or leave tombstones where there are none.

        That takes as many transactions as it takes to keep each within its bound. Raise `DatabaseUnavailable` or
        `CommitOutcomeUnknown`: some may be released; do it again.
        """
        for part in self._parts(orders):
            self._together_else_singly(
                partial(release_together, orders=part),
                partial(release_singly, orders=part),
            )

    def _parts(self, orders: Mapping[int, int]) -> Iterator[dict[int, int]]:
        """Cut orders into parts of which each changes at most `LINES` rows of lines and levels."""
        for page in chunks(sorted(orders), ROWS):
            with self._database.read() as connection:
                lines_of = dict.fromkeys(page, 0) | numbers_of_lines(connection, page)
            for part in by_weight(page, lines_of.__getitem__, LINES):
                yield {order_id: orders[order_id] for order_id in part}

    def _together_else_singly(self, together: Callable[[Connection], T], singly: Callable[[Connection], T]) -> T:
        """Run `together` in a transaction; or `singly`, where a header was there already, or one row is refused."""
        try:
            return self._database.transact(together)
        except (DuplicateRow, BelowZero, RowRefused):
            return self._database.transact(singly)

    def settle(self, fates: Mapping[int, tuple[int, Fate]]) -> dict[int, ReservationState]:
        """Take the order service's word for orders (order id → tx id, fate); return the states they are in now.

        `stands` marks a live reservation verified, `void` releases it. Raises as `release` does.
        """
        standing = [order_id for order_id, (_, fate) in fates.items() if fate == "stands"]
        for part in chunks(standing, VALUES):
            self._database.transact(partial(_verify, order_ids=part))
        self.release({order_id: tx_id for order_id, (tx_id, fate) in fates.items() if fate == "void"})
        with self._database.read() as connection:
            found = states(connection, fates)
        failpoints.hit("stock.settled")
        return found

    def states(self, order_ids: Sequence[int]) -> dict[int, ReservationState]:
        """Return the states of those that have a reservation, or a tombstone."""
        with self._database.read() as connection:
            return states(connection, order_ids)

    def unverified(self, *, older_than: int, after: int, limit: int, or_verified: bool = False) -> list[Unverified]:
        """Return live, unverified reservations made before `older_than` (ms) with ids above `after`, lowest first.

        `or_verified`: all that are live.
        """
        columns = reservations.c
        query = (
            select(columns.order_id, columns.tx_id, columns.created_at)
            .where(columns.state == ReservationState.DEDUCTED)
            .where((columns.order_id > after) & (columns.created_at <= older_than))
            .order_by(columns.order_id)
            .limit(limit)
        )
        if not or_verified:
            query = query.where(columns.verified == false())  # IS has no index on MySQL
        with self._database.read() as connection:
            return [Unverified(*row) for row in connection.execute(query)]

    def get(self, order_id: int) -> Reservation:
        """Return one reservation. Raise `NotFound`."""
        with self._database.read() as connection:
            row = connection.execute(select(reservations).where(reservations.c.order_id == order_id)).one_or_none()
            held = lines(connection, [order_id])
        if row is None:
            raise NotFound("No reservation was ever made for this order, nor was one refused.")
        return Reservation(
            row.order_id,
            row.tx_id,
            ReservationState(row.state),
            row.verified,
            row.created_at,
            row.released_at,
            {goods_id: quantity for _, goods_id, quantity in held},
        )


def _verify(connection: Connection, order_ids: Sequence[int]) -> None:
    connection.execute(_VERIFY, {"order_ids": order_ids})
