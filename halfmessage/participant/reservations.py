"""Deducting and releasing, each at most once, in whatever order and however often the requests come.

Both begin with the same primary key, the reservation's header, so that any interleaving serialises: a late
deduction finds the tombstone, a second release finds the first.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from sqlalchemy import Connection, Table

from halfmessage import failpoints
from halfmessage.chunks import LINES, ROWS, VALUES, by_weight, chunks
from halfmessage.db import Transactor
from halfmessage.errors import BelowZero, DuplicateRow, NotFound, RowRefused
from halfmessage.participant.deducting import Decision, Deducting
from halfmessage.participant.effect import Effect, Members, Taker, Want
from halfmessage.participant.headers import Headers
from halfmessage.participant.model import Fate, ReservationState
from halfmessage.participant.releasing import Releasing

T = TypeVar("T")


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
            return self._together_else_singly(
                lambda connection: self._deducting.together(forgotten(connection), taker, tx_id, wants),
                lambda connection: self._deducting.singly(forgotten(connection), taker, tx_id, wants),
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

        That takes as many transactions as it takes to keep each within its bound. Raise `DatabaseUnavailable` or
        `CommitOutcomeUnknown`: some may be released; do it again.
        """
        for part in self._parts(orders):
            self._together_else_singly(
                partial(self._releasing.together, orders=part),
                partial(self._releasing.singly, orders=part),
            )

    def _parts(self, orders: Mapping[int, int]) -> Iterator[dict[int, int]]:
        """Cut orders into parts of which each changes at most `LINES` rows of what they hold."""
        for page in chunks(sorted(orders), ROWS):
            with self._database.read() as connection:
                weights = dict.fromkeys(page, 0) | self._effect.weigh(connection, page)
            for part in by_weight(page, weights.__getitem__, LINES):
                yield {order_id: orders[order_id] for order_id in part}

    def _together_else_singly(self, together: Callable[[Connection], T], singly: Callable[[Connection], T]) -> T:
        """Run `together` in a transaction; or `singly`, where a header was there already, or one row is refused."""
        try:
            return self._database.transact(together)
        except (DuplicateRow, BelowZero, RowRefused):
            return self._database.transact(singly)

    def settle(self, fates: Mapping[int, tuple[int, Fate]]) -> dict[int, ReservationState]:
        """Take the order service's word for orders (order id → tx id, fate); return the states they are in now.

        `stands` marks a live reservation verified, `void` releases it; `paid` verifies it and tells the effect.
        Raises as `release` does.
        """
        for fate, work in (("stands", self._headers.verify), ("paid", self._pay)):
            for part in chunks((order_id for order_id, (_, its) in fates.items() if its == fate), VALUES):
                self._database.transact(partial(work, order_ids=part))
        self.release({order_id: tx_id for order_id, (tx_id, fate) in fates.items() if fate == "void"})
        found = self.states(list(fates))
        failpoints.hit(f"{self.name}.settled")
        return found

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
