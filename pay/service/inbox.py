"""What providers say is stored first, as it came, and acted upon afterwards: nothing that was answered is lost."""

import re
from collections.abc import Sequence
from typing import Any, Final

import structlog
from sqlalchemy import Connection, insert

from common.db import Database
from common.errors import Malformed
from common.purging import purge
from halfmessage import failpoints
from halfmessage.chunks import ROWS
from halfmessage.clock import now_ms
from halfmessage.db import translated
from halfmessage.errors import DuplicateRow, RowRefused
from halfmessage.tx.batch import Batcher
from pay.model import Via, cut, payment_events
from pay.providers.port import Kind, ProviderEvent

MOMENT: Final = 2_000
"""Ms for which a stored event is left to the process that stored it; then any process handles it."""

_MOST_WAITING: Final = 1000  # events; further ones get 503 at once
_LONGEST_WAIT: Final = 5.0  # seconds until a batch of them begins
_BYTES: Final = 1_000_000  # that one transaction stores, or one event alone: a provider's answer may have 4 MB
_MOST: Final = 2**63 - 1
# MariaDB takes names that differ by spaces at the end for one, and no database takes halves of characters
_NAME = re.compile(r"[^\x00\ud800-\udfff]{0,127}[^\x00\ud800-\udfff ]")
_CURRENCY = re.compile(r"[A-Z]{3}")
_NEW = insert(payment_events)

EventKey = tuple[str, str]
"""A provider, and its name of the event."""

Row = dict[str, Any]
"""A row of `payment_events`, by the names of its columns."""

log = structlog.get_logger()


class Inbox:
    """The events of one database."""

    def __init__(self, database: Database) -> None:
        """Take the pay service's database."""
        self._database = database
        self._batches: Batcher[Row, bool] = Batcher(
            self._store_all,
            lanes=1,
            heaviest=_BYTES,
            longest_queue=_MOST_WAITING,
            longest_wait=_LONGEST_WAIT,
            weigh=lambda row: max(len(row["raw"]), _BYTES // ROWS),
        )

    def store(self, provider: str, event: ProviderEvent, via: Via) -> bool:
        """Store an event before anything is done about it; return whether it is new.

        Those that come at once share a transaction. Raise `Malformed` for one that can not be stored, `Unavailable`
        (not stored) or `CommitOutcomeUnknown`.
        """
        if not self._batches.submit(_row(provider, event, via)):
            return False
        log.info("event stored", provider=provider, event_id=event.event_id, kind=event.kind.value, via=via.value)
        failpoints.hit("event.stored")
        return True

    def _store_all(self, rows: Sequence[Row]) -> list[bool | Exception]:
        try:
            self._database.transact(lambda connection: connection.execute(_NEW, list(rows)))
        except (DuplicateRow, RowRefused):  # of one of them
            return self._database.transact(lambda connection: [_stored(connection, row) for row in rows])
        return [True] * len(rows)


def forget_strangers(database: Database, retention: float) -> int:
    """Delete events of a provider that name no payment and no money, longer than `retention` seconds after they came.

    Return how many; as `purge`. Such are those of another shop of the same account. One that comes again is new.
    """
    columns = payment_events.c
    means_nothing = columns.kind.in_([Kind.OTHER, Kind.FAILED, Kind.EXPIRED])
    is_strangers = columns.order_id.is_(None) & means_nothing & columns.handled_at.is_not(None)
    return purge(database, columns.received_at, now_ms() - int(retention * 1000), is_strangers)


def _stored(connection: Connection, row: Row) -> bool | Exception:
    """Store one of several; return whether it is new, or why it alone can't be stored."""
    try:
        with translated(), connection.begin_nested():
            connection.execute(_NEW, row)
    except DuplicateRow:
        return False
    except RowRefused as error:
        return error
    return True


def _row(provider: str, event: ProviderEvent, via: Via) -> Row:
    if not (_has_types(event) and _is_in_bounds(event)):
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


def _has_types(event: ProviderEvent) -> bool:
    """Tell whether texts are texts and numbers are numbers: a provider's JSON may have anything in their place."""
    texts = (event.event_id, event.charge_id, event.currency, event.reason, event.reference)
    numbers = (event.payment_id, event.amount)
    has_texts = event.event_id is not None and all(text is None or isinstance(text, str) for text in texts)
    return has_texts and all(number is None or type(number) is int for number in numbers)


def _is_in_bounds(event: ProviderEvent) -> bool:
    names = [name for name in (event.event_id, event.charge_id) if name is not None]
    is_currency = event.currency is None or _CURRENCY.fullmatch(event.currency) is not None
    return is_currency and all(map(_NAME.fullmatch, names)) and 0 <= (event.amount or 0) <= _MOST
