"""Deducting and releasing, each at most once, in whatever order and however often the requests come.

Both begin with the same primary key, the reservation's header, so that any interleaving serialises: a late
deduction finds the tombstone, a second release finds the first.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic

import structlog
from sqlalchemy import Connection, Table

from halfmessage import failpoints
from halfmessage.chunks import LINES, ROWS, VALUES, by_weight, chunks
from halfmessage.db import Transactor
from halfmessage.errors import BelowZero, DuplicateRow, NotFound, NotReleased, RowRefused
from halfmessage.participant.deducting import Decision, Deducting
from halfmessage.participant.effect import Effect, Members, Taker, Want
from halfmessage.participant.headers import Headers
from halfmessage.participant.model import Fate, ReservationState
from halfmessage.participant.releasing import Releasing

_REFUSED: Final = (DuplicateRow, BelowZero, RowRefused)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reservation:
    """A reservation as it stands; times in ms since the epoch. `held`: see `Effect.describe`."""

    order_id: int
    tx_id: int
    state: ReservationState
    verified: bool
    created_at: int
    released_at: int | None
    held: Members


@dataclass(frozen=True, slots=True)
class Unverified:
    """A live reservation whose order is not confirmed yet; `created_at` in ms since the epoch."""

    order_id: int
    tx_id: int
    created_at: int


class Reservations(Generic[Want]):
    """The deduction log of one participant."""

    def __init__(self, name: str, database: Transactor, table: Table, effect: Effect[Want]) -> None:
        """Take the participant's name, its database, the table of its headers, and what taking and giving back do.

        The name is the prefix of its failpoints: see `halfmessage.failpoints.of_participant`.
        """
        self.name = name
        self._database = database
        self._effect = effect
        self._headers = Headers(table)
        self._deducting = Deducting(name, self._headers, effect)
        self._releasing = Releasing(self._headers, effect)

    def deduct(self, tx_id: int, wants: Mapping[int, Want], *, revive: bool = False) -> list[Decision]:
        """Deduct each order (order id → want) whole or not at all, in one transaction; return a decision for each.

        Repeated, it answers the same and takes nothing. `revive`: what was released is forgotten first. Only for orders
        that stand though a restored database, theirs or ours, says that they were released (docs/decisions/0023): in
        the protocol, nothing leaves `released`.
        Raise `Unavailable`, or `CommitOutcomeUnknown`: then it may have been deducted.
        """
        failpoints.hit(f"{self.name}.deduct_received")

        def deduct(taker: Taker[Want]) -> dict[int, Decision]:
            try:
                return self._database.transact(
                    lambda connection: self._deducting.together(forgotten(connection), taker, tx_id, wants)
                )
            except _REFUSED:  # a header was there already, or one row is refused
                return self._database.transact(
                    lambda connection: self._deducting.singly(forgotten(connection), taker, tx_id, wants)
                )

        def forgotten(connection: Connection) -> Connection:
            if revive:
                self._forget_released(connection, list(wants))
            return connection

        decisions = self._effect.run(wants, deduct)
        failpoints.hit(f"{self.name}.deducted")
        return [decisions[order_id] for order_id in wants]

    def purge(self, released_before: int) -> int:
        """Forget what was released before that time (ms since the epoch), tombstones too, but what the effect keeps.

        Return how many orders. So many rows in one transaction; done again, it goes on where it was. Raises as
        `release` does.
        """
        return sum(map(self._forget, self._headers.pages_of_released(self._database, released_before)))

    def _forget(self, order_ids: Sequence[int]) -> int:
        with self._database.read() as connection:
            weights = dict.fromkeys(order_ids, 1) | self._effect.weigh(connection, order_ids)
        parts = by_weight(order_ids, weights.__getitem__, LINES)
        return sum(self._database.transact(partial(self._forget_released, order_ids=part)) for part in parts)

    def _forget_released(self, connection: Connection, order_ids: Sequence[int]) -> int:
        """Delete those reservations, and tombstones, that are released: they hold nothing. Return how many."""
        forgotten = 0
        for part in chunks(order_ids, VALUES):
            released = self._headers.released(connection, part)
            gone = sorted(set(released).difference(self._effect.keeps(connection, released)))
            self._effect.forget(connection, gone)
            self._headers.forget(connection, gone)
            forgotten += len(gone)
        return forgotten

    def release(self, orders: Mapping[int, int]) -> None:
        """Release the reservations of `orders` (order id → tx id), or leave tombstones where there are none.

        That takes as many transactions as it takes to keep each within its bound. Raise `NotReleased` for orders whose
        rows are wrong already, once all others are released; `DatabaseUnavailable` or `CommitOutcomeUnknown`: some may
        be released; do it again.
        """
        if refused := self._release(orders):
            raise NotReleased(refused)

    def _release(self, orders: Mapping[int, int]) -> list[int]:
        """Do what `release` does; return the orders of which it would raise `NotReleased`."""

        def release(order_ids: Sequence[int]) -> None:
            these = {order_id: orders[order_id] for order_id in order_ids}
            try:
                self._database.transact(partial(self._releasing.together, orders=these))
            except DuplicateRow:  # a header came in between
                self._database.transact(partial(self._releasing.singly, orders=these))

        return [order_id for part in self._parts(orders) for order_id in _refused(release, part)]

    def _parts(self, orders: Mapping[int, int]) -> Iterator[list[int]]:
        """Cut orders into parts of which each changes at most `LINES` rows of what they hold."""
        for page in chunks(sorted(orders), ROWS):
            with self._database.read() as connection:
                weights = dict.fromkeys(page, 0) | self._effect.weigh(connection, page)
            yield from by_weight(page, weights.__getitem__, LINES)

    def settle(self, fates: Mapping[int, tuple[int, Fate]]) -> dict[int, ReservationState]:
        """Take the order service's word for orders (order id → tx id, fate); return the states they are in now.

        `stands` marks a live reservation verified, `void` releases it; `paid` verifies it and tells the effect.
        Where the database refuses that for an order whose rows are wrong already, it stays live, which for `void` says
        that it is not done; for `paid` it is unverified again, so that the sweep asks about it until it is.
        Raise `DatabaseUnavailable` or `CommitOutcomeUnknown`: some may be done; do it again.
        """
        for fate, work in (("stands", self._headers.verify), ("paid", self._pay)):
            for part in chunks((order_id for order_id, (_, its) in fates.items() if its == fate), VALUES):
                refused = _refused(partial(self._transact, work), part)
                if refused:
                    self._database.transact(partial(self._headers.doubt, order_ids=refused))
        self._release({order_id: tx_id for order_id, (tx_id, fate) in fates.items() if fate == "void"})
        found = self.states(list(fates))
        failpoints.hit(f"{self.name}.settled")
        return found

    def _transact(self, work: Callable[[Connection, Sequence[int]], None], order_ids: Sequence[int]) -> None:
        self._database.transact(lambda connection: work(connection, order_ids))

    def _pay(self, connection: Connection, order_ids: Sequence[int]) -> None:
        live = self._headers.live(connection, sorted(order_ids))
        if live:
            self._headers.verify(connection, live)
            self._effect.paid(connection, live)

    def states(self, order_ids: Sequence[int]) -> dict[int, ReservationState]:
        """Return the states of those that have a reservation, or a tombstone."""
        with self._database.read() as connection:
            return self._headers.states(connection, order_ids)

    def unverified(self, *, older_than: int, after: int, limit: int, or_verified: bool = False) -> list[Unverified]:
        """Return live, unverified reservations made before `older_than` (ms) with ids above `after`, lowest first.

        `or_verified`: all that are live.
        """
        rows = self._headers.page_of_live(
            self._database, older_than=older_than, after=after, limit=limit, or_verified=or_verified
        )
        return [Unverified(*row) for row in rows]

    def get(self, order_id: int) -> Reservation:
        """Return one reservation. Raise `NotFound`."""
        with self._database.read() as connection:
            row = self._headers.get(connection, order_id)
            held = self._effect.describe(connection, order_id)
        if row is None:
            raise NotFound("No reservation was ever made for this order, nor was one refused.")
        return Reservation(
            row.order_id,
            row.tx_id,
            ReservationState(row.state),
            row.verified,
            row.created_at,
            row.released_at,
            held,
        )


def _refused(work: Callable[[Sequence[int]], object], order_ids: Sequence[int]) -> list[int]:
    """Do `work`, one transaction, for orders; return those for which the database refuses it even alone.

    Where it refuses a batch, for a row that is wrong already, by hand or by a bug, each half is tried. Not under
    savepoints: an order locks its header first, then what is counted, and no header after that.
    """
    try:
        work(order_ids)
    except _REFUSED:
        if len(order_ids) > 1:
            middle = len(order_ids) // 2
            return _refused(work, order_ids[:middle]) + _refused(work, order_ids[middle:])
        log.exception("the database refuses to settle an order", order_id=str(order_ids[0]))
        return [*order_ids]
    return []
