"""The pay service wired in one process, on a real database and the real embedded broker, with a scripted provider."""

import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from common.config import Settings
from common.db import Database
from common.errors import Invalid, Malformed
from common.payments import PaymentEvent
from common.registry import PAYMENT_TOPIC
from halfmessage.clock import now_ms
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import BrokerOptions, CheckAnswer, HalfMessage, MessageView, Resolution, State
from halfmessage.tx.coordinator import Checker, Coordinator
from halfmessage.tx.record import Records
from pay import model
from pay.model import Via, attempts, charges, payment_events, payments, transaction_records
from pay.providers.port import (
    Asked,
    BadSignature,
    Begun,
    Kind,
    ProviderEvent,
    ProviderUnavailable,
    Refund,
    RefundState,
)
from pay.service.asking import LastQuestion
from pay.service.attempts import AttemptRequest, Attempts, Tried
from pay.service.crew import Crew
from pay.service.events import Handling
from pay.service.inbox import EventKey, Inbox
from pay.service.ledger import Tally
from pay.service.payments import Want, payment_reservations
from pay.service.polling import Pace, Polling
from pay.service.posting import Times
from pay.service.reading import Payment, PaymentReader
from pay.service.refunding import Refunding, SendingBack
from pay.service.telling import Telling
from tests.fakes import DEADLINE, RETENTION, FaultyProducer, Ids, open_database
from tests.faults import Faults

OWED = Want("ann", 500, "EUR", 2_000_000_000_000)
TX = 77
"""The transaction that placed the orders."""
GOOD = "good"
_POLL_UNTIL = 3600.0


@dataclass
class Session:
    """One try at the provider, and what there is to say of it."""

    asked: Asked
    is_closed: bool = False
    events: list[ProviderEvent] = field(default_factory=list)


class FakeProvider:
    """Takes money as it is told, in a ledger of its own, and sends it back once for each key. Thread-safe."""

    def __init__(self, settings: Settings | None = None, name: str = "fake") -> None:  # noqa: ARG002 - as all are made
        self.name = name
        self.faults = Faults()
        self.sessions: dict[str, Session] = {}
        self.taken: dict[str, tuple[int | None, int, str]] = {}
        """By charge: payment, amount, currency."""
        self.returned: Counter[str] = Counter()
        """How often each charge went back."""
        self.asked_back: Counter[str] = Counter()
        self.begun: list[int] = []
        self.closed: list[str] = []
        self.questions: list[str] = []
        self.refunds: Callable[[str], RefundState] = lambda _: RefundState.DONE
        self._keys: set[str] = set()
        self._numbers = itertools.count(1)
        self._guard = threading.RLock()

    def begin(self, asked: Asked) -> Begun:
        self.faults.passing("begin", "before")
        with self._guard:
            self.begun.append(asked.attempt_id)
            reference = f"s{asked.attempt_id}"
            is_new = reference not in self.sessions
            session = self.sessions.setdefault(reference, Session(asked))
            if asked.scenario == "nonsense":
                raise Invalid(errors=[{"pointer": "/scenario", "message": "unknown"}])
            if is_new and asked.scenario == "refuse":
                self.no(reference, Kind.FAILED, "card declined")
            elif is_new and asked.scenario is None:
                self.take(reference)
            begun = Begun(reference, None if session.events else f"https://pay.example/{reference}")
            if session.events:
                begun = replace(begun, event=replace(session.events[0], reference=None))
        self.faults.passing("begin", "after")
        return begun

    def take(self, reference: str, amount: int | None = None, currency: str | None = None) -> ProviderEvent:
        """Take money in a session; return what a callback says."""
        with self._guard:
            asked = self.sessions[reference].asked
            number = next(self._numbers)
            event = success(
                f"c{number}", asked.payment_id, amount or asked.amount, currency or asked.currency, reference=reference
            )
            self.taken[f"c{number}"] = (asked.payment_id, event.amount or 0, event.currency or "")
            self.sessions[reference].events.append(event)
            return event

    def no(self, reference: str, kind: Kind, reason: str | None = None) -> ProviderEvent:
        """End a session without money; return what a callback says."""
        with self._guard:
            asked = self.sessions[reference].asked
            event = ProviderEvent(
                f"{kind}-{reference}", kind, asked.payment_id, b"no", reason=reason, reference=reference
            )
            self.sessions[reference].events.append(event)
            return event

    def ask(self, reference: str) -> Sequence[ProviderEvent]:
        self.faults.passing("ask", "before")
        with self._guard:
            self.questions.append(reference)
            return list(self.sessions[reference].events)

    def close(self, reference: str) -> None:
        self.faults.passing("close", "before")
        with self._guard:
            self.closed.append(reference)
            self.sessions[reference].is_closed = True

    def refund(self, charge_id: str, amount: int, currency: str, key: str) -> Refund:
        self.faults.passing("refund", "before")
        with self._guard:
            assert self.taken[charge_id][1:] == (amount, currency), "a refund is of all that was taken"
            self.asked_back[charge_id] += 1
            state = self.refunds(charge_id)
            if state is RefundState.REFUSED:
                return Refund(state, reason="account closed")
            if state is RefundState.DONE and key not in self._keys:
                self._keys.add(key)
                self.returned[charge_id] += 1
        self.faults.passing("refund", "after")
        return Refund(state, f"r-{charge_id}")

    def read(self, headers: Mapping[str, str], raw: bytes) -> ProviderEvent:
        if headers.get("fake-signature") != GOOD:
            raise BadSignature
        try:
            said = json.loads(raw)
            return ProviderEvent(**{**said, "kind": Kind(said["kind"]), "raw": raw})
        except (ValueError, KeyError, TypeError) as error:
            raise Malformed from error

    def thanks(self) -> tuple[bytes, str]:
        return b"ok", "text/plain; charset=utf-8"


def success(
    charge_id: str, payment_id: int | None, amount: int = 500, currency: str = "EUR", *, reference: str | None = None
) -> ProviderEvent:
    """Return the news that money was taken."""
    return ProviderEvent(
        f"taken-{charge_id}", Kind.SUCCEEDED, payment_id, b"raw", charge_id, amount, currency, reference=reference
    )


class Till:
    """Everything of pay but Flask; close it."""

    def __init__(
        self,
        directory: Path,
        *,
        last_question: float = 2.0,
        per_second: float = 1000.0,
        database: Database | None = None,
    ) -> None:
        self.ids, self.faults = Ids(), Faults()
        self.database: Database = database or open_database(directory / "pay.db", model.metadata)
        self.provider = FakeProvider()
        self.other = FakeProvider(name="other")
        self.providers = {"fake": self.provider, "other": self.other}
        self.broker = open_broker(f"embedded:///{directory}/broker.db", BrokerOptions(retry_first_after=0.02))
        self.console = self.broker.console()
        self._plain_producer = self.broker.producer("pay")
        self.producer = FaultyProducer(self._plain_producer, self.faults)
        self.records = Records(transaction_records, retention=RETENTION)
        self.checker = Checker(self.database, self.records, deadline=DEADLINE)
        self.coordinator = Coordinator(self.producer, self.database, self.records, self.ids)
        self.tallies: list[Tally] = []
        times = Times(tell_after=30_000, refused_again_after=600_000, poll_until=int(_POLL_UNTIL * 1000))
        self.inbox = Inbox(self.database)
        self.handling = Handling(self.database, self.coordinator, times, self.tallies.append)
        self.reservations = payment_reservations(self.database, _POLL_UNTIL)
        self.attempts = Attempts(
            self.database, self.reservations, self.providers, self.inbox, self.handle, self.ids, first_poll_after=5.0
        )
        self.crew = Crew("calls", 4)
        pace = Pace(first=5.0, longest=600.0, until=_POLL_UNTIL, per_second=per_second)
        handle = self.handling.handle
        self.polled = 0
        self.polls = Counter[tuple[str, str]]()
        self.polling = Polling(
            self.database, self.providers, self.inbox, self.attempts.carry_out, handle, self.crew, pace, self._count
        )
        self.refunding = Refunding(
            self.database, self.providers, self.crew, first=1.0, longest=600.0, tell=self.tallies.append
        )
        self.telling = Telling(self.database, self.producer, self.ids, first=30.0)
        self.sending_back = SendingBack(self.database)
        self.last_question = LastQuestion(self.database, self.providers, self.inbox, handle, self.crew, last_question)
        self.reader = PaymentReader(self.database)

    def close(self) -> None:
        self.crew.close()
        self.broker.close()
        self.database.close()

    def _count(self, provider: str, result: str) -> None:
        self.polled += 1
        self.polls[provider, result] += 1

    def handle(self, key: EventKey) -> None:
        self.handling.handle([key])

    @staticmethod
    def crew_waits(provider: FakeProvider) -> threading.Event:
        """Have the next question wait until the event is set."""
        event = threading.Event()
        provider.faults.hooks["ask"] = event.wait
        return event

    def owe(self, *order_ids: int, want: Want = OWED) -> None:
        """Have orders owe something."""
        self.reservations.deduct(TX, dict.fromkeys(order_ids, want))

    def release(self, *order_ids: int) -> None:
        """Have orders closed."""
        self.reservations.release(dict.fromkeys(order_ids, TX))

    def pay(self, order_id: int, scenario: str | None = None, *, provider: str = "fake", want: Want = OWED) -> Tried:
        """Begin a try."""
        return self.attempts.begin(AttemptRequest(order_id, TX, want, provider, scenario))

    def page(self, order_id: int, **options: Any) -> str:
        """Begin a try on a page; return the provider's name of it."""
        tried = self.pay(order_id, "page", **options)
        assert tried.pay_url is not None
        return tried.pay_url.rpartition("/")[2]

    def hear(self, *events: ProviderEvent, provider: str = "fake", via: Via = Via.CALLBACK) -> None:
        """Store events, and handle them together."""
        for event in events:
            self.inbox.store(provider, event, via)
        self.handling.handle([(provider, event.event_id) for event in events])

    def payment(self, order_id: int) -> Payment:
        return self.reader.get(order_id, owner=None)

    def state(self, order_id: int) -> str:
        return self.payment(order_id).status.value

    def charge_states(self, order_id: int | None = None) -> dict[str, str]:
        """Return the states of charges, of one order or of all."""
        query = select(charges.c.charge_id, charges.c.state)
        if order_id is not None:
            query = query.where(charges.c.order_id == order_id)
        with self.database.read() as connection:
            return {row.charge_id: row.state for row in connection.execute(query)}

    def effects(self) -> dict[str, tuple[str | None, str | None]]:
        """Return what each event did, and why."""
        with self.database.read() as connection:
            rows = connection.execute(select(payment_events)).all()
        return {row.event_id: (row.effect, row.reason) for row in rows}

    def tries(self, order_id: int) -> list[Any]:
        with self.database.read() as connection:
            query = select(attempts).where(attempts.c.order_id == order_id).order_by(attempts.c.attempt_id)
            return list(connection.execute(query))

    def make_due(self, database: Database | None = None) -> None:
        """Have everything that is due some time be due now; over another connection, where one says so."""
        for column in (attempts.c.next_poll_at, charges.c.next_try_at, payments.c.tell_at, payment_events.c.handle_at):
            due = update(column.table).where(column.is_not(None)).values({column.name: now_ms() - 1})
            (database or self.database).transact(lambda connection, due=due: connection.execute(due))

    def told(self) -> list[PaymentEvent]:
        """Return the messages that were sent to the order service and that it may see, oldest first."""
        views = self.console.find(topic=PAYMENT_TOPIC)[::-1]
        seen = [view for view in views if view.state is not State.HALF and view.resolution != Resolution.ROLLBACK]
        return [PaymentEvent.from_body(view.message.body) for view in seen]

    def halves(self) -> list[MessageView]:
        return self.console.find(topic=PAYMENT_TOPIC, state=State.HALF)

    def check_back(self) -> list[CheckAnswer]:
        """Answer every open half message, as the broker's check-back would have it done."""
        answers = []
        for view in reversed(self.halves()):
            half = HalfMessage(view.message_id, view.message, view.born_at, 1)
            answers.append(self.checker(half))
            if answers[-1] is not CheckAnswer.UNKNOWN:
                self._plain_producer.resolve(half, Resolution(answers[-1].value))
        return answers

    def counted(self) -> tuple[Counter[str], Counter[str]]:
        """Return what was counted as taken and as refunded, by currency."""
        taken, refunded = Counter[str](), Counter[str]()
        for tally in self.tallies:
            taken.update(tally.taken)
            refunded.update(tally.refunded)
        return taken, refunded

    def unasked(self) -> int:
        """Return how often money of a paid order was counted as sent back by its provider itself."""
        return sum(tally.unasked for tally in self.tallies)


DOWN = ProviderUnavailable("down")
