"""Tries to pay: begun at a provider, once for each that is open, and what it says at once handled before the answer.

A try is stored before the provider hears of it. One whose answer was lost is begun again under its own id, which is the
provider's idempotency key: by the customer who tries again, or by the polling.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog
from sqlalchemy import Connection, func, insert, select, update

from common.db import Database
from common.errors import Invalid
from halfmessage import failpoints
from halfmessage.clock import now_ms
from halfmessage.ids import IdSource
from halfmessage.participant.model import ReservationState
from halfmessage.participant.reservations import Reservations
from pay.model import AttemptState, PaymentState, UnknownProvider, Via, attempts, cut, payments
from pay.providers.port import Asked, Provider
from pay.service.inbox import EventKey, Inbox
from pay.service.payments import Want, owed_by

MOST_TRIES: Final = 50
"""Of one payment; a further one is refused."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AttemptRequest:
    """A try to pay an order: what it owes and who placed it, should there be no payment yet."""

    order_id: int
    tx_id: int
    want: Want
    provider: str
    scenario: str | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """Where a payment stands after a try: `pay_url` is where the customer goes, `refusal` why the try failed."""

    order_id: int
    state: PaymentState
    provider: str
    pay_url: str | None = None
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Try:
    """An open try, and what its provider is asked for."""

    provider: str
    asked: Asked


class Attempts:
    """Begins tries."""

    def __init__(
        self,
        database: Database,
        reservations: Reservations[Want],
        providers: Mapping[str, Provider],
        inbox: Inbox,
        handle: Callable[[EventKey], object],
        ids: IdSource,
        first_poll_after: float,
    ) -> None:
        """Take what tries need; `handle` handles a stored event before it returns.

        `first_poll_after`: seconds until a try of which nothing more was heard is asked about.
        """
        self._database = database
        self._reservations = reservations
        self._providers = providers
        self._inbox = inbox
        self._handle = handle
        self._ids = ids
        self._first_poll_after = int(first_poll_after * 1000)

    def begin(self, request: AttemptRequest) -> Tried:
        """Begin a try, or answer again what an open one at this provider was answered.

        Raise `UnknownProvider`, `Invalid` (the provider knows no such scenario), `ProviderUnavailable` (it may have
        been begun), `Unavailable` or `OutcomeUnknown`: try again, it is the same try.
        """
        if request.provider not in self._providers:
            raise UnknownProvider(f"Orders can't be paid through {request.provider}.")
        found = self._database.transact(lambda connection: self._open(connection, request))
        if found is None and self._is_made(request):
            found = self._database.transact(lambda connection: self._open(connection, request))
        if found is None:
            return Tried(request.order_id, PaymentState.CLOSED, request.provider)
        if isinstance(found, Tried):
            return found
        failpoints.hit("attempt.stored")
        self.carry_out(found)
        return self._outcome(found)

    def carry_out(self, attempt: Try) -> None:
        """Begin a stored try at its provider, or again; store and handle what it says. Raise as `begin` does."""
        try:
            begun = self._providers[attempt.provider].begin(attempt.asked)
        except Invalid as error:  # it will never be begun
            self._note(attempt, state=AttemptState.OVER.value, refusal=cut(error.detail), next_poll_at=None)
            raise
        failpoints.hit("attempt.begun")
        self._note(attempt, reference=begun.reference, pay_url=begun.pay_url)
        if begun.event is not None:
            self._inbox.store(attempt.provider, replace(begun.event, reference=begun.reference), Via.ANSWER)
            self._handle((attempt.provider, begun.event.event_id))

    def _note(self, attempt: Try, **values: Any) -> None:
        is_it = attempts.c.attempt_id == attempt.asked.attempt_id
        self._database.transact(lambda connection: connection.execute(update(attempts).where(is_it).values(**values)))

    def _is_made(self, request: AttemptRequest) -> bool:
        """Whether a payment could be made, for an order that was placed when there were none: unless it was closed."""
        (decision,) = self._reservations.deduct(request.tx_id, {request.order_id: request.want})
        return decision.verdict == ReservationState.DEDUCTED

    def _open(self, connection: Connection, request: AttemptRequest) -> Try | Tried | None:
        """Return the try to begin, stored if it is new; or what there is to answer without one; None: no payment."""
        payment = next(iter(owed_by(connection, [request.order_id])), None)
        if payment is None:
            return None
        state = PaymentState(payment.state)
        if state is not PaymentState.OPEN:
            return Tried(request.order_id, state, payment.provider or request.provider)
        found = connection.execute(_open_try(request)).first()
        if found is not None and found.pay_url is not None:
            return Tried(request.order_id, state, request.provider, pay_url=found.pay_url)
        if found is None and connection.scalar(_tries(request.order_id)) >= MOST_TRIES:
            return Tried(request.order_id, state, request.provider, refusal="This order was tried too often.")
        attempt_id = self._store(connection, request) if found is None else found.attempt_id
        return Try(request.provider, asked_of(payment, attempt_id, request.scenario))

    def _store(self, connection: Connection, request: AttemptRequest) -> int:
        now, attempt_id = now_ms(), self._ids.next()
        row = {
            "attempt_id": attempt_id,
            "order_id": request.order_id,
            "provider": request.provider,
            "scenario": request.scenario,
            "state": AttemptState.OPEN.value,
            "next_poll_at": now + self._first_poll_after,
            "created_at": now,
        }
        connection.execute(insert(attempts).values(row))
        return attempt_id

    def _outcome(self, attempt: Try) -> Tried:
        order_id = attempt.asked.payment_id
        is_it = attempts.c.attempt_id == attempt.asked.attempt_id
        query = select(payments.c.state, payments.c.provider, attempts.c.pay_url, attempts.c.refusal)
        joined = query.join_from(attempts, payments, attempts.c.order_id == payments.c.order_id).where(is_it)
        with self._database.read() as connection:
            row = connection.execute(joined).one()
        state = PaymentState(row.state)
        if state is not PaymentState.OPEN:
            return Tried(order_id, state, row.provider or attempt.provider)
        return Tried(order_id, state, attempt.provider, row.pay_url, row.refusal)


def _open_try(request: AttemptRequest) -> Any:
    of_order = (attempts.c.order_id == request.order_id) & (attempts.c.provider == request.provider)
    is_alike = attempts.c.scenario.is_(None) if request.scenario is None else attempts.c.scenario == request.scenario
    is_open = (attempts.c.state == AttemptState.OPEN.value) & ~attempts.c.to_close
    return select(attempts).where(of_order & is_alike & is_open).order_by(attempts.c.attempt_id).limit(1)


def _tries(order_id: int) -> Any:
    return select(func.count()).where(attempts.c.order_id == order_id)


def asked_of(payment: Any, attempt_id: int, scenario: str | None) -> Asked:
    """Return what a provider is asked for, of the row of a payment."""
    return Asked(payment.order_id, attempt_id, payment.amount, payment.currency, payment.expires_at, scenario)
