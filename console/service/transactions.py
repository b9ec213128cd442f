"""Transactions: each half message with its tries, beside the record that decides what becomes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from common.errors import Malformed
from common.registry import PAYMENT_TOPIC, PURCHASE_TOPIC, REQUEST_TOPIC, ROLLBACK_TOPIC
from console.clients.services import Services
from console.service.checking import RECORDS_AT
from console.service.kept import purpose_of
from console.service.looking import Silent
from console.service.searching import Page, Search
from console.service.trying import tried
from halfmessage.ids import issued_at
from halfmessage.mq.port import MessageView, State
from halfmessage.tx.coordinator import TX_ID

OF: Final[Mapping[str, str]] = MappingProxyType(
    {"orders": ROLLBACK_TOPIC, "payments": PAYMENT_TOPIC, "requests": REQUEST_TOPIC, "purchases": PURCHASE_TOPIC}
)
"""What transactions are of, and the topic of their messages."""
_MOST_RECORDS: Final = 50  # that a service tells at once
_UNTOLD: Final = Silent("flash keeps those of purchases beside the sale's pieces, and tells them to check-backs alone")
_AROUND: Final = ((20, 80), (1_000, 5_000))
"""How long before and after a transaction got its id its message is looked for (ms): most are sent within the first,
any but the slowest within the second; before, as clocks differ."""
_LOOKED_AT: Final = 100  # messages of a topic, each time
_UNDECIDED: Final = (State.HALF, State.PARKED)


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction: its half message, and its record as the service tells it that sent the message.

    `record` None: it is not decided yet, or the record was purged; `Silent`: that service did not answer.
    """

    tx_id: str
    view: MessageView
    record: Mapping[str, Any] | Silent | None

    @property
    def purpose(self) -> str:
        """What it is for: placing, closing, paying, taking in or buying."""
        return purpose_of(self.view)

    @property
    def order_ids(self) -> Sequence[str]:
        """Its orders, or the requests and purchases that became some: a batch has many."""
        return self.view.message.keys

    @property
    def leads_to(self) -> str:
        """The address that one of `order_ids` leads to, but for the id itself."""
        return "/orders/" if self.view.message.topic in {ROLLBACK_TOPIC, PAYMENT_TOPIC} else "/find?q="


@dataclass(frozen=True, slots=True)
class TransactionPage:
    """Transactions, newest first; `next_cursor` goes on after them, None at the end."""

    items: Sequence[Transaction]
    next_cursor: str | None


class Transactions:
    """Asks the broker for half messages, and the services that sent them for what was decided."""

    def __init__(self, search: Search, services: Services) -> None:
        """Take who is asked."""
        self._search, self._services = search, services

    def undecided(self, token: str) -> TransactionPage:
        """Return those whose message is not resolved yet: of each state the newest. Raise `BrokerError`."""
        pages = [
            self._search.page({"topic": topic, "state": state.value}) for state in _UNDECIDED for topic in OF.values()
        ]
        views = [view for page in pages for view in page.items]
        more = next((page.next_cursor for page in pages if page.next_cursor), None)
        return self._told(token, Page(tuple(views), more))

    def recent(self, token: str, of: str, cursor: str | None) -> TransactionPage:
        """Return a page of all that the broker still has, `OF` one kind. Raise `BrokerError`, `Malformed`."""
        if of not in OF:
            raise Malformed(f"Transactions are of {' or '.join(OF)}.")
        asked = {"topic": OF[of]} | ({} if cursor is None else {"cursor": cursor})
        return self._told(token, self._search.page(asked))

    def called(self, token: str, tx_id: int) -> Sequence[Transaction]:
        """Return the transactions of this id, whatever they were for, as far as the broker still has their messages.

        There is one at most, unless services happened to give the same id. A broker finds no message by its
        transaction, and records do not name orders. But an id tells when it was given, and the message is sent then: of
        those that were born around that time some are looked at, so that one may be missed where very many were.
        Raise `BrokerError`.
        """
        given_at = issued_at(tx_id)
        for before, after in _AROUND:
            views = [
                view
                for topic in OF.values()
                for view in self._search.around(topic, given_at - before, given_at + after, most=_LOOKED_AT)
                if view.message.properties.get(TX_ID) == str(tx_id)
            ]
            if views:
                return self._told(token, Page(tuple(views), None)).items
        return ()

    def sweep(self, token: str) -> None:
        """Have order finish now what no message will finish any more. Raise as `Services.post` does."""
        self._services.post("order", "/sweep", token)

    def _told(self, token: str, page: Page) -> TransactionPage:
        """Return the transactions of messages; a plain rollback, which is sent without one, is none."""
        views = [view for view in page.items if TX_ID in view.message.properties]
        told = {topic: self._told_by(token, topic, views) for topic in {view.message.topic for view in views}}
        return TransactionPage([_transaction(view, told[view.message.topic]) for view in views], page.next_cursor)

    def _told_by(
        self, token: str, topic: str, views: Sequence[MessageView]
    ) -> Mapping[str, Mapping[str, Any]] | Silent:
        tx_ids = [view.message.properties[TX_ID] for view in views if view.message.topic == topic]
        if topic not in RECORDS_AT:
            return _UNTOLD
        return tried(lambda: self._records(token, RECORDS_AT[topic], tx_ids))

    def _records(self, token: str, service: str, tx_ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        known = [tx_id for tx_id in dict.fromkeys(tx_ids) if tx_id.isascii() and tx_id.isdecimal()]
        for first in range(0, len(known), _MOST_RECORDS):
            some = ",".join(known[first : first + _MOST_RECORDS])
            told = self._services.get(service, "/admin/records", token, tx_ids=some)["records"]
            found |= {record["tx_id"]: record for record in told}
        return found


def _transaction(view: MessageView, records: Mapping[str, Mapping[str, Any]] | Silent) -> Transaction:
    tx_id = view.message.properties[TX_ID]
    return Transaction(tx_id, view, records if isinstance(records, Silent) else records.get(tx_id))
