"""The audit: whether a participant holds what each order that stands needs of it, looked at from the orders' side.

In the protocol it always is. A database that was restored from an older backup, or changed by hand, breaks that, and
neither a message nor the rest of the sweep comes to it: see docs/decisions/0023-audit-after-a-restore.md. An order
found unheld is written down, can't be paid while it is, and counts as a violation in every sweep.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial

import structlog
from sqlalchemy import ColumnElement, Connection, Integer, bindparam, delete, insert, select

from common.db import Database
from halfmessage.clock import now_ms
from halfmessage.errors import Unavailable
from order.model import CloseReason, Order, Status, orders, orders_unheld
from order.service.closing import Closing
from order.service.participants import Participant
from order.service.reading import find_orders, statuses

PAGE = 500  # orders looked at together
WALKED = 4  # pages of older orders that one look comes to, beside the newest

# Made once: each sweep asks them of every participant. The newest orders first; those written down from the lowest on
_NEWEST = (
    select(orders.c.order_id)
    .where(orders.c.created_at <= bindparam("before"))
    .order_by(orders.c.order_id.desc())
    .limit(bindparam("most", type_=Integer))
)
_OLDER = _NEWEST.where(orders.c.order_id < bindparam("below"))
_WRITTEN_DOWN = (
    select(orders_unheld.c.order_id)
    .where((orders_unheld.c.participant == bindparam("participant")) & (orders_unheld.c.order_id > bindparam("after")))
    .order_by(orders_unheld.c.order_id)
    .limit(bindparam("most", type_=Integer))
)

log = structlog.get_logger()


class Audit:
    """Looks for orders that stand without what one participant should hold; safe beside a running system, and twice."""

    def __init__(self, database: Database, participant: Participant, closing: Closing) -> None:
        """Take the order service's database, the participant, and what closes orders."""
        self._database = database
        self.participant = participant
        self._closing = closing
        self._has_looked = False
        self._walked_to: int | None = None  # the oldest order that the last looks came to; None: they begin again

    def is_held(self, order: Order) -> bool:
        """Tell whether an order that stands may be paid, as far as this participant goes.

        The participant itself is asked only until the first look of this process: databases are restored while
        services are down. While it does not answer, nothing is known against the order.
        """
        if self._has_looked or not self.participant.needs(order):
            return True
        try:
            state = self.participant.states([order.order_id])[order.order_id]
        except Unavailable:
            return True
        return not self._lacks(state, order.status)

    def look(self, before: int) -> list[int]:
        """Look at the newest orders made before a time (ms), and at all if one of them lacks what it needs.

        The newest are what a restored database lacks first. Where few orders need this participant, even the newest of
        those may be old: so a look goes on from where the last one ended, `WALKED` pages back, and in the end begins
        again. Orders are looked at whether they need it or not: a look costs the same however few do. Return all orders
        known to stand unheld.
        """
        if any(self._is_news(self._unheld(page)) for page in self._newest_and_older(before)):
            for page in self._pages(before):
                self._note(self._unheld(page))
        self._has_looked = True
        return self.unheld()

    def repair(self, before: int) -> tuple[int, int]:
        """Look at every order made before a time (ms), and have what can be had.

        What an order needs is reserved anew where nothing is. Where that is refused, or the reservation was released,
        an unpaid order is closed, and a paid one is left to a person. Return how many were reserved, and closed.
        """
        reserved = closed = 0
        for page in self._pages(before):
            unheld = self._unheld(page)
            if unheld:
                got, lost = self._reserve(unheld)
                reserved += len(got)
                closed += len(self._closing.close(lost, CloseReason.CANCELLED))
                self._note(self._unheld(list(unheld)))
        self._has_looked = True
        return reserved, closed

    def unheld(self) -> list[int]:
        """Return the orders written down that still stand unheld, and forget the others."""
        still: list[int] = []
        for page in self._written_down():
            found = self._unheld(page)
            still += sorted(found)
            over = [order_id for order_id in page if order_id not in found]
            if over:
                forget = delete(orders_unheld).where(self._mine & orders_unheld.c.order_id.in_(over))
                self._database.transact(partial(Connection.execute, statement=forget))
        return still

    def _written_down(self) -> Iterator[Sequence[int]]:
        after = 0
        while True:
            with self._database.read() as connection:
                named = {"participant": self.participant.name, "after": after, "most": PAGE}
                page = connection.scalars(_WRITTEN_DOWN, named).all()
            if not page:
                return
            yield page
            after = page[-1]

    def _is_news(self, unheld: Collection[int]) -> bool:
        return bool(unheld) and not set(unheld) <= self._known(unheld)

    def _known(self, order_ids: Collection[int]) -> set[int]:
        """Return those of the orders that are written down."""
        of_these = self._mine & orders_unheld.c.order_id.in_(order_ids)
        with self._database.read() as connection:
            return set(connection.scalars(select(orders_unheld.c.order_id).where(of_these)))

    @property
    def _mine(self) -> ColumnElement[bool]:
        return orders_unheld.c.participant == self.participant.name

    def _newest_and_older(self, before: int) -> Iterator[Sequence[int]]:
        """Yield the newest page, and some from where the last look ended."""
        newest = self._page_below(None, before)
        yield newest
        for _ in range(WALKED):
            page = self._page_below(self._walked_to or min(newest, default=None), before)
            self._walked_to = page[-1] if page else None
            if not page:
                return
            yield page

    def _page_below(self, order_id: int | None, before: int) -> Sequence[int]:
        """Return the ids of orders made before a time (ms), newest first, from below this one on."""
        query = _NEWEST if order_id is None else _OLDER
        named = {"before": before, "most": PAGE} | ({} if order_id is None else {"below": order_id})
        with self._database.read() as connection:
            return connection.scalars(query, named).all()

    def _pages(self, before: int) -> Iterator[Sequence[int]]:
        after = 0
        while True:
            older = (orders.c.order_id > after) & (orders.c.created_at <= before)
            with self._database.read() as connection:
                query = (
                    select(orders.c.order_id)
                    .where(older & self.participant.needed)
                    .order_by(orders.c.order_id)
                    .limit(PAGE)
                )
                page = connection.scalars(query).all()
            if not page:
                return
            yield page
            after = page[-1]

    def _unheld(self, order_ids: Sequence[int]) -> dict[int, str | None]:
        """Return those that stand without a live reservation, with its state; an order is looked at before and after.

        One that was closed between the looks at both services has rightly none.
        """
        standing = self._standing(order_ids)
        if not standing:
            return {}
        states = self.participant.states(standing)
        suspects = [order_id for order_id, status in standing.items() if self._lacks(states[order_id], status)]
        still = self._standing(suspects)
        return {order_id: states[order_id] for order_id in still if self._lacks(states[order_id], still[order_id])}

    def _lacks(self, state: str | None, status: Status) -> bool:
        """Tell whether an order that stands should have more than a reservation in that state."""
        if state is None and status is Status.CREATED and self.participant.made_when_paid:
            return False
        return state != "deducted"

    def _standing(self, order_ids: Collection[int]) -> dict[int, Status]:
        with self._database.read() as connection:
            found = statuses(connection, order_ids, self.participant.needed)
        return {order_id: found[order_id] for order_id in sorted(found) if found[order_id].stands}

    def _reserve(self, unheld: dict[int, str | None]) -> tuple[list[int], list[int]]:
        """Return those that have what they need now, and the unpaid ones that can't have it."""
        with self._database.read() as connection:
            found = find_orders(connection, unheld)
        batches: defaultdict[tuple[int, bool], list[Order]] = defaultdict(list)
        for order in found.values():  # as they were placed, so that no call is larger than placing's
            batches[order.tx_id, order.status is Status.PAID].append(order)
        reserved: list[int] = []
        for (tx_id, is_paid), batch in batches.items():
            # A paid order has a right to what it needs, whatever was released; an unpaid one may have been closed.
            verdicts = self.participant.deduct(tx_id, batch, revive=is_paid)
            held = [order_id for order_id, deduction in verdicts.items() if deduction.is_held]
            if is_paid and held and self.participant.hears_of_payment:
                self.participant.settle([(order_id, tx_id, "paid") for order_id in held])
            reserved += held
        self._let_go(found, reserved)
        lost = [o for o, order in found.items() if o not in reserved and order.status is Status.CREATED]
        log.warning("orders stood unheld", participant=self.participant.name, reserved=reserved, closed=lost)
        return reserved, lost

    def _let_go(self, found: Mapping[int, Order], reserved: Sequence[int]) -> None:
        """Void what was reserved anew for orders that were closed or returned meanwhile: nothing else comes to it."""
        standing = self._standing(reserved)
        gone = [order_id for order_id in reserved if order_id not in standing]
        if gone:
            self.participant.settle([(order_id, found[order_id].tx_id, "void") for order_id in gone])

    def _note(self, unheld: Collection[int]) -> None:
        """Write down orders that stand unheld."""
        if not unheld:
            return
        name, now = self.participant.name, now_ms()
        known = self._known(unheld)
        new = [
            {"order_id": order_id, "participant": name, "found_at": now} for order_id in unheld if order_id not in known
        ]
        if new:
            self._database.transact(lambda connection: connection.execute(insert(orders_unheld), new))
