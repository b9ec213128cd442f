"""What providers say is stored first, as it came, and acted upon afterwards: nothing that was answered is lost."""

import re
from typing import Any, Final

import structlog
from sqlalchemy import insert

from common.db import Database
from common.errors import Malformed
from halfmessage import failpoints
from halfmessage.clock import now_ms
from halfmessage.errors import DuplicateRow
from pay.model import Via, cut, payment_events
from pay.providers.port import ProviderEvent

MOMENT: Final = 2_000
"""Ms for which a stored event is left to the process that stored it; then any process handles it."""

_MOST: Final = 2**63 - 1
_NAME = re.compile(r"[^\x00]{1,128}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_NEW = insert(payment_events)

EventKey = tuple[str, str]
"""A provider, and its name of the event."""

log = structlog.get_logger()


class Inbox:
    """The events of one database."""

    def __init__(self, database: Database) -> None:
        """Take the pay service's database."""
        self._database = database

    def store(self, provider: str, event: ProviderEvent, via: Via) -> bool:
        """Store an event, in a transaction of its own; return whether it is new.

        Raise `Malformed` for one that can not be stored, `DatabaseUnavailable` (not stored) or `CommitOutcomeUnknown`.
        """
        row = _row(provider, event, via)
        try:
            self._database.transact(lambda connection: connection.execute(_NEW, row))
        except DuplicateRow:
            return False
        log.info("event stored", provider=provider, event_id=event.event_id, kind=event.kind.value, via=via.value)
        failpoints.hit("event.stored")
        return True


def _row(provider: str, event: ProviderEvent, via: Via) -> dict[str, Any]:
    names = [event.event_id, *([] if event.charge_id is None else [event.charge_id])]
    is_right = all(map(_NAME.fullmatch, names)) and 0 <= (event.amount or 0) <= _MOST
    if not is_right or (event.currency is not None and _CURRENCY.fullmatch(event.currency) is None):
        raise Malformed("The event has names, an amount or a currency that no event has.")
    now = now_ms()
    return {
        "provider": provider,
        "event_id": event.event_id,
        "order_id": event.payment_id if 0 < (event.payment_id or 0) <= _MOST else None,
        "reference": cut(event.reference),
        "charge_id": event.charge_id,
        "kind": event.kind.value,
        "amount": event.amount,
        "currency": event.currency,
        "via": via.value,
        "raw": event.raw,
        "received_at": now,
        "handle_at": now + MOMENT,
        "reason": cut(event.reason),
    }
