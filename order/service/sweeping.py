"""The sweep: finishes what no message will finish any more, because the broker gave up on it or lost it.

From both sides: live reservations that nobody has confirmed, and closed orders whose release nobody has. What it
does is proportional to what is new; several instances may run at once, since every step may be repeated.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog
from sqlalchemy import ColumnElement, false, select, true, update

from common import failpoints
from common.clock import now_ms
from common.db import Database
from common.errors import OrdersError
from common.participant.client import LiveReservation
from common.participant.model import Fate
from common.tx.coordinator import Checker
from common.tx.record import Records
from order.clients import StockClient
from order.model import CloseReason, Status, orders
from order.service.auditing import Audit
from order.service.closing import Closing
from order.service.reading import statuses

PAGE = 500  # orders in one round trip


class ListLive(Protocol):
    """Lists live reservations, page by page."""

    def __call__(self, *, older_than: int, after: int, limit: int) -> list[LiveReservation]:
        """Return those made before `older_than` (ms) with ids above `after`, lowest first."""


log = structlog.get_logger()


@dataclass(slots=True)
class Findings:
    """What one sweep did, in orders; `violations` are orders that stand without their stock: never legal."""

    verified: int = 0
    released: int = 0
    confirmed: int = 0
    closed: int = 0
    reserved: int = 0
    undecided: int = 0
    violations: list[int] = field(default_factory=list)


class Sweep:
    """Runs sweeps; every step is safe beside a running system and beside another sweep."""

    def __init__(
        self,
        database: Database,
        records: Records,
        checker: Checker,
        closing: Closing,
        stock: StockClient,
        audit: Audit,
        *,
        count: Callable[[str, int], None] = lambda *_: None,
    ) -> None:
        """Take what it reads and acts through; `count` is told what was found, and of how many orders."""
        self._database = database
        self._records = records
        self._checker = checker
        self._closing = closing
        self._stock = stock
        self._audit = audit
        self._count = count

    def run(self, grace: float, *, full: bool = False) -> Findings:
        """Sweep what has been open for longer than `grace` seconds. Raise what its database and the stock raise.

        `full`: look at all orders and all live reservations, confirmed ones too, and repair what disagrees: what a
        person has done who restored a database. It takes as long as there are many.
        """
        before = now_ms() - int(grace * 1000)
        findings = Findings()
        self._settle_reservations(before, findings, self._stock.live if full else self._stock.unverified)
        self._confirm_releases(before, findings)
        self._purge()
        if not full:  # what needs the broker comes last
            findings.violations += self._audit.look(before)
        self._close_overdue(before, findings)
        if full:
            findings.reserved, closed = self._audit.repair(before)
            findings.closed += closed
            findings.violations += self._audit.without_stock()
        findings.violations = sorted(set(findings.violations))
        for name in ("verified", "released", "confirmed", "closed", "reserved", "undecided"):
            self._count(name, getattr(findings, name))
        self._count("violations", len(findings.violations))
        if findings.violations:
            log.error("orders stand without their stock", order_ids=findings.violations)
        return findings

    def _close_overdue(self, before: int, findings: Findings) -> None:
        overdue = (orders.c.status == Status.CREATED.value) & (orders.c.expires_at <= before)
        query = select(orders.c.order_id).where(overdue).order_by(orders.c.expires_at).limit(PAGE)
        while True:
            with self._database.read() as connection:
                order_ids = connection.scalars(query).all()
            if not order_ids:
                return
            findings.closed += len(self._closing.close(order_ids, CloseReason.TIMEOUT))

    def _settle_reservations(self, before: int, findings: Findings, list_live: ListLive) -> None:
        for page in _pages(before, list_live):
            fates = self._fates(page)
            findings.undecided += len(page) - len(fates)
            if fates:
                states = self._stock.settle(fates)
                failpoints.hit("sweep.settled")
                standing = [order_id for order_id, _, fate in fates if fate == "stands"]
                unheld = [order_id for order_id in standing if states.get(order_id) != "deducted"]
                released = [o for o, _, fate in fates if fate == "void" and states.get(o) == "released"]
                findings.violations += self._still_standing(unheld)
                findings.verified += len(standing) - len(unheld)
                findings.released += len(released)
                findings.undecided += len(fates) - len(standing) - len(released)

    def _fates(self, page: Sequence[LiveReservation]) -> list[tuple[int, int, Fate]]:
        """Decide each reservation by its order, or, where there is none, by the record of its transaction."""
        known = self._statuses([reservation.order_id for reservation in page])
        unknown = [reservation for reservation in page if reservation.order_id not in known]
        decided = {tx_id: self._checker.outcome(tx_id) for tx_id in {r.tx_id for r in unknown}}
        if unknown:
            failpoints.hit("sweep.fenced")
            known |= self._statuses([r.order_id for r in unknown])  # it may have committed meanwhile
        return [
            (r.order_id, r.tx_id, "void" if known.get(r.order_id, Status.CLOSED) is Status.CLOSED else "stands")
            for r in page
            if r.order_id in known or decided[r.tx_id] is not None
        ]

    def _still_standing(self, order_ids: Sequence[int]) -> list[int]:
        """Of orders that stood a moment ago and whose stock is gone, those that still stand: that is a violation."""
        return [o for o, status in self._statuses(order_ids).items() if status is not Status.CLOSED]

    def _statuses(self, order_ids: Sequence[int]) -> dict[int, Status]:
        with self._database.read() as connection:
            return statuses(connection, order_ids)

    def _confirm_releases(self, before: int, findings: Findings) -> None:
        """Have the stock of closed orders released, then mark those of which stock says that it is."""
        for closed in self._unconfirmed(before):
            states = self._stock.settle([(order_id, tx_id, "void") for order_id, tx_id in closed])
            released = [order_id for order_id, _ in closed if states.get(order_id) == "released"]
            self._mark_confirmed(released)
            findings.confirmed += len(released)
            findings.undecided += len(closed) - len(released)

    def _unconfirmed(self, before: int) -> Iterator[list[tuple[int, int]]]:
        """Yield (order id, tx id) of closed orders, oldest first; one that stays unconfirmed holds up no other."""
        columns = orders.c
        unconfirmed = (columns.status == Status.CLOSED.value) & (columns.release_confirmed == false())
        query = (
            select(columns.order_id, columns.tx_id, columns.closed_at)
            .where(unconfirmed & (columns.closed_at <= before))
            .order_by(columns.closed_at, columns.order_id)
            .limit(PAGE)
        )
        beyond: ColumnElement[bool] = true()
        while True:
            with self._database.read() as connection:
                page = connection.execute(query.where(beyond)).all()
            if not page:
                return
            yield [(row.order_id, row.tx_id) for row in page]
            last = page[-1]
            beyond = (columns.closed_at > last.closed_at) | (
                (columns.closed_at == last.closed_at) & (columns.order_id > last.order_id)
            )

    def _mark_confirmed(self, order_ids: Sequence[int]) -> None:
        mark = update(orders).where(orders.c.order_id.in_(order_ids)).values(release_confirmed=True)
        self._database.transact(lambda connection: connection.execute(mark))

    def _purge(self) -> None:
        while self._database.transact(lambda connection: self._records.purge(connection, PAGE)) == PAGE:
            pass


def _pages(before: int, list_live: ListLive) -> Iterator[list[LiveReservation]]:
    after = 0
    while page := list_live(older_than=before, after=after, limit=PAGE):
        yield page
        after = page[-1].order_id


def sweep_once(sweep: Sweep, grace: float) -> Findings | None:
    """Run one sweep at a worker's edge: what fails now is for the next one."""
    try:
        return sweep.run(grace)
    except OrdersError as error:
        log.warning("sweep not finished; the next one goes on", reason=error.detail)
        return None
