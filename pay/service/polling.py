"""Providers are asked about tries of which nothing was heard: callbacks get lost. So are tries closed, and begun again.

The distances grow, with jitter, and so many calls a second is all.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import Connection, update

from common.db import Database
from halfmessage.chunks import VALUES
from halfmessage.clock import now_ms
from pay.model import AttemptState, attempts
from pay.providers.port import Kind, Provider, ProviderEvent, ProviderUnavailable
from pay.service import tries
from pay.service.asking import ask
from pay.service.attempts import Try, asked_of
from pay.service.claims import CALLS_WITHIN, Claims, distance
from pay.service.crew import Crew
from pay.service.inbox import EventKey, Inbox
from pay.service.payments import owed_by

OFTEN: Final = 8
"""Questions about a try that failed or expired in the usual distances; the later ones are ever rarer.

And those that go unanswered, at least, before a try is given up."""

_FINAL: Final = frozenset({Kind.SUCCEEDED, Kind.FAILED, Kind.EXPIRED})

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: to the first poll, the longest distance, after closing; and calls a second."""

    first: float
    longest: float
    until: float
    per_second: float


@dataclass(frozen=True, slots=True)
class _Looked:
    """What came of a poll: what was said, and whether the try was closed before."""

    events: list[ProviderEvent]
    was_closed: bool = False


_Due = tuple[Any, int]
"""A claimed try, and until when (ms)."""


class Polling:
    """Polls what is due."""

    def __init__(
        self,
        database: Database,
        providers: Mapping[str, Provider],
        inbox: Inbox,
        carry_out: Callable[[Try], object],
        handle: Callable[[Collection[EventKey]], object],
        crew: Crew,
        pace: Pace,
        count: Callable[[str, str], object] = lambda *_: None,
    ) -> None:
        """Take what polling needs; `carry_out` begins a stored try; `count` is told who was asked, and the result."""
        self._database = database
        self._providers = providers
        self._inbox = inbox
        self._carry_out = carry_out
        self._handle = handle
        self._crew = crew
        self._pace = pace
        self._count = count
        is_open = attempts.c.state == AttemptState.OPEN.value
        longest = max(pace.first, pace.longest)
        is_over = attempts.c.state == AttemptState.OVER.value
        is_rare = ~attempts.c.to_close & (attempts.c.polls > OFTEN)
        self._open = Claims(database, attempts.c.next_poll_at, only=is_open, longest=longest)
        self._over = Claims(database, attempts.c.next_poll_at, only=is_over, longest=longest, but=is_rare)
        self._allowance = Allowance(pace.per_second)

    def run(self) -> int:
        """Poll what is due, as far as the bound on calls allows; return how many tries.

        Raise what the database and handling raise: what was said is stored, and is handled.
        """
        due = self._claim(min(self._allowance.left(), VALUES))
        if not due:
            return 0
        rows = [row for row, _ in due]
        self._allowance.spend(sum(2 if row.to_close else 1 for row in rows))
        owed = self._owed(rows)
        looks = self._crew.each(lambda one: self._look(one[0], owed), due, within=CALLS_WITHIN)
        self._database.transact(lambda connection: self._write(connection, looks))
        for (row, _), look in looks:
            self._count(row.provider, _result(row, look))
        keys = [(row.provider, event.event_id) for (row, _), look in looks if look for event in look.events]
        if keys:
            self._handle(keys)
        return len(looks)

    def _claim(self, most: int) -> list[_Due]:
        """Claim tries that are due: open ones, which may be all there is of a payment, before those that are over."""
        first = self._open.take(most)
        then = self._over.take(most - len(first.rows))
        return [(row, claim.until) for claim in (first, then) for row in claim.rows]

    def _owed(self, rows: Collection[Any]) -> dict[int, Any]:
        """Return the payments of tries that are to be begun again."""
        order_ids = {row.order_id for row in rows if row.reference is None}
        with self._database.read() as connection:
            return {payment.order_id: payment for payment in owed_by(connection, order_ids, lock=False)}

    def _look(self, row: Any, owed: Mapping[int, Any]) -> _Looked | None:
        provider = self._providers.get(row.provider)
        if provider is None:
            log.warning("a provider is asked for that is not configured", provider=row.provider)
            return None
        if row.reference is None:  # its answer was lost, and money may be taken: under its own key, it is the same try
            self._carry_out(Try(row.provider, asked_of(owed[row.order_id], row.attempt_id, row.scenario)))
            return _Looked([])
        was_closed = row.to_close and _closed(provider, row.reference)
        return _Looked(ask(self._providers, self._inbox, row), was_closed)

    def _write(self, connection: Connection, looks: Collection[tuple[_Due, _Looked | None]]) -> None:
        """Write when each is asked about next, in the order of ids; one that was moved meanwhile has its time."""
        for (row, until), look in sorted(looks, key=lambda one: one[0][0].attempt_id):
            is_ours = (attempts.c.attempt_id == row.attempt_id) & (attempts.c.next_poll_at == until)
            values = {"polls": row.polls + 1, "next_poll_at": self._next(row, look)}
            if look is not None and look.was_closed:
                values["to_close"] = False
            connection.execute(update(attempts).where(is_ours).values(values))
            if look is not None:
                self._end(connection, row, look.events)

    def _next(self, row: Any, look: _Looked | None) -> int | None:
        """Return when a try is asked about next, ms since the epoch; None: no more.

        Of one that failed or expired the distances have no bound, after some, but the time for asking. A question
        that was not answered is asked again though that time is over, as much longer as others are asked, and so
        often in any case: pay itself may have been down until now. One that was just closed is asked about once more,
        as a payment may have been under way.
        """
        is_left = look is None or (row.to_close and not look.was_closed)
        is_rare = row.state == AttemptState.OVER and not is_left and row.polls >= OFTEN
        longest = self._pace.until if is_rare else self._pace.longest
        now = now_ms()
        next_at = now + distance(self._pace.first, longest, row.polls)
        if row.asked_until is None or (is_left and row.polls < OFTEN):
            return next_at
        if look is not None and look.was_closed:
            return min(next_at, now + tries.LOOK_ON)
        until = row.asked_until + (int(self._pace.until * 1000) if is_left else 0)
        return next_at if next_at <= until else None

    def _end(self, connection: Connection, row: Any, events: Collection[ProviderEvent]) -> None:
        """End a try of which the provider says how it ended, however that was heard of before."""
        said = [event for event in events if event.kind in _FINAL]
        if row.state == AttemptState.OVER or not said:
            return
        now = now_ms()
        if any(event.kind is Kind.SUCCEEDED for event in said):
            tries.took(connection, row.provider, row.reference, now, at_once=False)
        else:
            until = now + int(self._pace.until * 1000)
            tries.end(connection, row.provider, row.reference, said[0].reason or said[0].kind.value, now, until)


def _result(row: Any, look: _Looked | None) -> str:
    """Return what came of a question: how the try ended, or `begun`, `nothing` (new), `unanswered`."""
    if look is None:
        return "unanswered"
    if row.reference is None:
        return "begun"
    return next((event.kind.value for event in look.events if event.kind in _FINAL), "nothing")


def _closed(provider: Provider, reference: str) -> bool:
    """Close a try; return whether that went well. Where not, there is still something to ask."""
    try:
        provider.close(reference)
    except ProviderUnavailable as error:
        log.warning("a try could not be closed", provider=provider.name, reason=error.detail)
        return False
    return True


class Allowance:
    """So many calls a second, of one process; what was not used in a second is not kept."""

    def __init__(self, per_second: float) -> None:
        """Begin with those of one second."""
        self._per_second = per_second
        self._most = max(1.0, per_second)
        self._left = self._most
        self._since = time.monotonic()

    def left(self) -> int:
        """Return how many calls may be made now."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._since) * self._per_second)
        self._since = now
        return max(0, int(self._left))

    def spend(self, calls: int) -> None:
        """Count calls; more than are left make the next ones wait."""
        self._left -= calls
