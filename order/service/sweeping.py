"""The sweep: finishes what no message will finish any more, because the broker gave up on it or lost it.

From both sides, participant by participant: live reservations that are not confirmed, and orders of which the
participant has still to confirm something. What it does is proportional to what is new; several instances may run at
once, since every step may be repeated. A participant that is down holds up no other.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog
from sqlalchemy import select

from common.db import Database
from common.errors import PeerUnavailable
from common.reservations.client import LiveReservation
from halfmessage import failpoints
from halfmessage.clock import now_ms
from halfmessage.errors import HalfMessageError
from halfmessage.participant.model import Fate
from halfmessage.tx.coordinator import Checker
from halfmessage.tx.record import Records
from order.model import Status, orders
from order.service.auditing import Audit
from order.service.overdue import Overdue
from order.service.participants import Participant
from order.service.reading import statuses
from order.service.settling import Settlements

PAGE = 500  # orders in one round trip
_TOLD = 20  # orders in a log line: after a restore there may be very many


class ListLive(Protocol):
    """Lists live reservations, page by page."""

    def __call__(self, *, older_than: int, after: int, limit: int) -> list[LiveReservation]:
        """Return those made before `older_than` (ms) with ids above `after`, lowest first."""


log = structlog.get_logger()


@dataclass(slots=True)
class Findings:
    """What one sweep did, in orders; `violations` are orders that stand without what they need: never legal."""

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
        overdue: Overdue,
        settlements: Settlements,
        audits: Sequence[Audit],
        *,
        count: Callable[[str, int], None] = lambda *_: None,
    ) -> None:
        """Take what it reads and acts through, an audit for each participant.

        `count` is told what was found, and of how many orders.
        """
        self._database = database
        self._records = records
        self._checker = checker
        self._overdue = overdue
        self._settlements = settlements
        self._audits = audits
        self._count = count

    def run(self, grace: float, *, full: bool = False) -> Findings:
        """Sweep what has been open for longer than `grace` seconds.

        `full`: look at all orders and all live reservations, confirmed ones too, and repair what disagrees: what a
        person has done who restored a database. It takes as long as there are many.
        Raise what its database and the broker raise, and at the end `PeerUnavailable` for a participant that is down.
        """
        before = now_ms() - int(grace * 1000)
        findings = Findings()
        failures = [failure for audit in self._audits if (failure := self._sweep_one(audit, before, findings, full))]
        self._purge()
        self._close_overdue(before, findings)  # what needs the broker comes last
        if full:
            failures += [failure for audit in self._audits if (failure := self._repair(audit, before, findings))]
        self._tell(findings)
        if failures:
            raise failures[0]
        return findings

    def _sweep_one(self, audit: Audit, before: int, findings: Findings, full: bool) -> PeerUnavailable | None:
        """Sweep one participant; return why that was not finished."""
        participant = audit.participant
        try:
            self._settle_reservations(
                participant, before, findings, participant.live if full else participant.unverified
            )
            confirmed, unconfirmed = self._settlements.confirm(participant, before)
            findings.confirmed += confirmed
            findings.undecided += unconfirmed
            if not full:
                findings.violations += audit.look(before)
        except PeerUnavailable as error:
            return error
        return None

    def _repair(self, audit: Audit, before: int, findings: Findings) -> PeerUnavailable | None:
        try:
            reserved, closed = audit.repair(before)
            findings.reserved += reserved
            findings.closed += closed
            findings.violations += audit.unheld()
        except PeerUnavailable as error:
            return error
        return None

    def _tell(self, findings: Findings) -> None:
        findings.violations = sorted(set(findings.violations))
        for name in ("verified", "released", "confirmed", "closed", "reserved", "undecided"):
            self._count(name, getattr(findings, name))
        self._count("violations", len(findings.violations))
        if findings.violations:
            named = findings.violations[:_TOLD]
            log.error("orders stand without what they need", orders=len(findings.violations), order_ids=named)

    def _close_overdue(self, before: int, findings: Findings) -> None:
        overdue = (orders.c.status == Status.CREATED.value) & (orders.c.expires_at <= before)
        query = select(orders.c.order_id).where(overdue).order_by(orders.c.expires_at).limit(PAGE)
        while True:
            with self._database.read() as connection:
                order_ids = connection.scalars(query).all()
            if not order_ids:
                return
            findings.closed += len(self._overdue.close(order_ids))

    def _settle_reservations(
        self, participant: Participant, before: int, findings: Findings, list_live: ListLive
    ) -> None:
        for page in _pages(before, list_live):
            fates = self._fates(participant, page)
            findings.undecided += len(page) - len(fates)
            if fates:
                states = participant.settle(fates)
                failpoints.hit("sweep.settled")
                standing = [order_id for order_id, _, fate in fates if fate != "void"]
                unheld = [order_id for order_id in standing if states.get(order_id) != "deducted"]
                released = [o for o, _, fate in fates if fate == "void" and states.get(o) == "released"]
                findings.violations += self._still_standing(participant, unheld)
                findings.verified += len(standing) - len(unheld)
                findings.released += len(released)
                findings.undecided += len(fates) - len(standing) - len(released)

    def _fates(self, participant: Participant, page: Sequence[LiveReservation]) -> list[tuple[int, int, Fate]]:
        """Decide each reservation by its order, or, where there is none that needs it, by its transaction's record."""
        known = self._statuses(participant, [reservation.order_id for reservation in page])
        unknown = [reservation for reservation in page if reservation.order_id not in known]
        decided = {tx_id: self._checker.outcome(tx_id) for tx_id in {r.tx_id for r in unknown}}
        if unknown:
            failpoints.hit("sweep.fenced")
            known |= self._statuses(participant, [r.order_id for r in unknown])  # it may have committed meanwhile
        return [
            (r.order_id, r.tx_id, _fate(participant, known.get(r.order_id, Status.CLOSED)))
            for r in page
            if r.order_id in known or decided[r.tx_id] is not None
        ]

    def _still_standing(self, participant: Participant, order_ids: Sequence[int]) -> list[int]:
        """Of orders that stood a moment ago and are not held, those that still stand: that is a violation."""
        return [o for o, status in self._statuses(participant, order_ids).items() if status.stands]

    def _statuses(self, participant: Participant, order_ids: Sequence[int]) -> dict[int, Status]:
        with self._database.read() as connection:
            return statuses(connection, order_ids, participant.needed)

    def _purge(self) -> None:
        while self._database.transact(lambda connection: self._records.purge(connection, PAGE)) == PAGE:
            pass


def _fate(participant: Participant, status: Status) -> Fate:
    if not status.stands:
        return "void"
    return "paid" if status is Status.PAID and participant.hears_of_payment else "stands"


def _pages(before: int, list_live: ListLive) -> Iterator[list[LiveReservation]]:
    after = 0
    while page := list_live(older_than=before, after=after, limit=PAGE):
        yield page
        after = page[-1].order_id


def sweep_once(sweep: Sweep, grace: float) -> Findings | None:
    """Run one sweep at a worker's edge: what fails now is for the next one."""
    try:
        return sweep.run(grace)
    except HalfMessageError as error:
        log.warning("sweep not finished; the next one goes on", reason=error.detail)
        return None
