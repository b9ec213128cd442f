"""Asking providers about tries: what they say is stored, as a callback is, and handled."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import structlog
from sqlalchemy import bindparam, select

from common.db import Database
from common.errors import Malformed
from halfmessage.chunks import rows_in
from halfmessage.errors import RowRefused
from pay.model import AttemptState, PaymentState, Via, attempts, payments
from pay.providers.port import Provider, ProviderEvent
from pay.service.crew import Crew
from pay.service.inbox import EventKey, Inbox
from pay.service.reading import PaymentReader, Standing

log = structlog.get_logger()

MOST_OF_ORDER: Final = 3
"""Open tries of one order that are asked about before it is closed: the newest."""

_OPEN = (
    select(attempts)
    .join_from(attempts, payments, attempts.c.order_id == payments.c.order_id)
    .where(payments.c.order_id.in_(bindparam("order_ids", expanding=True)))
    .where(payments.c.state == PaymentState.OPEN.value)
    .where((attempts.c.state == AttemptState.OPEN.value) & attempts.c.reference.is_not(None))
)


def ask(providers: Mapping[str, Provider], inbox: Inbox, attempt: Any) -> list[ProviderEvent]:
    """Ask about a try (a row of `attempts`, with its reference); return what was said, stored.

    What can't be stored is told in the log, and keeps back nothing that was said beside it. Raise
    `ProviderUnavailable`, or what storing raises.
    """
    said = providers[attempt.provider].ask(attempt.reference)
    events = [replace(event, reference=attempt.reference) for event in said]
    return [event for event in events if _is_stored(inbox, attempt.provider, event)]


def _is_stored(inbox: Inbox, provider: str, event: ProviderEvent) -> bool:
    """Store what was said; return whether it can be."""
    try:
        inbox.store(provider, event, Via.POLL)
    except (Malformed, RowRefused) as error:
        log.error("a provider says what can't be stored", provider=provider, reason=error.detail)  # noqa: TRY400 - not ours
        return False
    return True


class LastQuestion:
    """Asks once more before orders are closed."""

    def __init__(
        self,
        database: Database,
        providers: Mapping[str, Provider],
        inbox: Inbox,
        handle: Callable[[Collection[EventKey]], object],
        crew: Crew,
        within: float,
    ) -> None:
        """Take what asking needs; `within`: seconds for all of it, 0: nothing is asked."""
        self._database = database
        self._providers = providers
        self._inbox = inbox
        self._handle = handle
        self._crew = crew
        self._within = within
        self._reader = PaymentReader(database)

    def ask(self, order_ids: Collection[int]) -> list[Standing]:
        """Ask about the open tries of these orders and handle what is said in time; return where payments stand then.

        What is said later is stored, and handled as any other event. Raise what handling and the database raise.
        """
        if self._within:
            looks = self._crew.each(self._ask, self._open(order_ids), within=self._within)
            keys = [key for _, found in looks if found is not None for key in found]
            if keys:
                self._handle(keys)
        return self._reader.lookup(order_ids)

    def _ask(self, attempt: Any) -> list[EventKey]:
        events = ask(self._providers, self._inbox, attempt)
        return [(attempt.provider, event.event_id) for event in events]

    def _open(self, order_ids: Collection[int]) -> Sequence[Any]:
        with self._database.read() as connection:
            rows = rows_in(connection, _OPEN, "order_ids", order_ids)
        found: list[Any] = []
        asked: dict[int, int] = {}
        for row in sorted(rows, key=lambda row: -row.attempt_id):
            asked[row.order_id] = asked.get(row.order_id, 0) + 1
            if asked[row.order_id] <= MOST_OF_ORDER and row.provider in self._providers:
                found.append(row)
        return found
