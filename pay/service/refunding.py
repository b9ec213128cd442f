"""Money goes back: each charge once, under its own id as the provider's key, again and again until that says done.

A refusal is kept with the provider's words, and asked about again, slowly: some have done it all the same.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog
from sqlalchemy import Connection, bindparam, update

from common.db import Database
from common.idempotency import Answered, IdempotencyKey, Keys
from halfmessage import failpoints
from halfmessage.clock import now_ms
from halfmessage.errors import NotFound
from pay.model import LONGEST_NAME, ChargeState, NothingToRefund, PaymentState, Reason, charges, cut, idempotency_keys
from pay.providers.port import Provider, Refund, RefundState
from pay.service.claims import CALLS_WITHIN, Claims, distance
from pay.service.crew import Crew
from pay.service.events import Tell
from pay.service.ledger import Tally, Values
from pay.service.payments import move, owed_by, send_back_kept
from pay.service.posting import finish, read_charges

TOGETHER: Final = 100  # charges that are claimed, and written, together

_GOING: Final = frozenset({ChargeState.REFUNDING, ChargeState.REFUSED})
_CHARGE = (charges.c.provider == bindparam("its_provider")) & (charges.c.charge_id == bindparam("its_id"))
_COLUMNS = ("state", "refund_id", "refusal", "tries", "next_try_at", "refunded_at")
_TRIED = (
    update(charges)
    .where(_CHARGE & (charges.c.state == bindparam("was")))
    .values({name: bindparam(f"to_{name}") for name in _COLUMNS})
)

log = structlog.get_logger()


class Refunding:
    """Sends back what is due."""

    def __init__(
        self,
        database: Database,
        providers: Mapping[str, Provider],
        crew: Crew,
        *,
        first: float,
        longest: float,
        tell: Tell = lambda _: None,
    ) -> None:
        """Take what refunding needs; a try that failed is made again after `first` seconds, `longest` at most."""
        self._database = database
        self._providers = providers
        self._crew = crew
        self._first, self._longest = first, longest
        self._tell = tell
        self._due = Claims(database, charges.c.next_try_at, longest=max(first, longest))

    def run(self) -> int:
        """Ask for what is due, so many charges together; return how many were asked about.

        Raise what the database raises: what was asked for is asked for again, under the same keys.
        """
        claim = self._due.take(TOGETHER)
        if not claim.rows:
            return 0
        answers = self._crew.each(self._ask, claim.rows, within=CALLS_WITHIN)
        tally = self._database.transact(partial(self._write, answers=answers))
        failpoints.hit("refund.stored")
        self._tell(tally)
        return len(answers)

    def _ask(self, charge: Any) -> Refund | None:
        provider = self._providers.get(charge.provider)
        if provider is None:
            log.error("money is to go back through a provider that is not configured", provider=charge.provider)
            return None
        refund = provider.refund(charge.charge_id, charge.amount, charge.currency, charge.charge_id)
        failpoints.hit("refund.asked")
        return refund

    def _write(self, connection: Connection, answers: Collection[tuple[Any, Refund | None]]) -> Tally:
        """Write what the providers answered, on charges that did not move meanwhile: an event may have said more.

        Of a charge that had gone back already an event said that it did not: then the provider was asked for the truth.
        """
        orders = {row.order_id for row, _ in answers if row.order_id is not None}
        owed_by(connection, orders)
        of_charge = {(row.provider, row.charge_id): refund for row, refund in answers}
        doubted = {(row.provider, row.charge_id) for row, _ in answers if row.state == ChargeState.REFUNDED}
        rows = [
            row
            for row in read_charges(connection, of_charge, lock=True)
            if row.state in _GOING or (row.state == ChargeState.REFUNDED and (row.provider, row.charge_id) in doubted)
        ]
        after = [(row, self._after(row, of_charge[row.provider, row.charge_id])) for row in rows]
        tally = Tally()
        for row, values in after:
            _count(tally, row, values)
        if after:
            connection.execute(_TRIED, [_named(row, values) for row, values in after])
        undone = [row.order_id for row, values in after if row.state == ChargeState.REFUNDED != values["state"]]
        move(connection, [*filter(None, undone)], PaymentState.REFUNDED, PaymentState.REFUNDING)
        finish(connection, orders)
        return tally

    def _after(self, row: Any, refund: Refund | None) -> Values:
        """Return what a charge is after an answer; None: there was none."""
        now = now_ms()
        again = now + distance(self._first, self._longest, row.tries)
        values: Values = {name: getattr(row, name) for name in _COLUMNS}
        values |= {"tries": row.tries + 1, "next_try_at": again}
        if refund is None:
            return values
        values["refund_id"] = cut(refund.refund_id, LONGEST_NAME) or row.refund_id
        if refund.state is RefundState.DONE:
            done_at = now if row.state != ChargeState.REFUNDED else row.refunded_at
            return values | {"state": ChargeState.REFUNDED.value, "next_try_at": None, "refunded_at": done_at}
        if refund.state is RefundState.PENDING:
            return values | {"state": ChargeState.REFUNDING.value}
        slowly = now + int(self._longest * 1000)
        refused = {"state": ChargeState.REFUSED.value, "refusal": cut(refund.reason), "next_try_at": slowly}
        return values | refused


def _count(tally: Tally, row: Any, values: Values) -> None:
    """Count what an answer did to a charge; tell of a refusal, which somebody has to see to."""
    if values["state"] == ChargeState.REFUNDED and row.refunded_at is None:
        tally.refunded[row.currency] += row.amount
    elif values["state"] == ChargeState.REFUSED and row.state != ChargeState.REFUSED:
        tally.refused += 1
        log.error("a refund was refused", provider=row.provider, charge_id=row.charge_id, reason=values["refusal"])


def _named(row: Any, values: Values) -> Values:
    named = {"its_provider": row.provider, "its_id": row.charge_id, "was": row.state}
    return named | {f"to_{name}": values[name] for name in _COLUMNS}


@dataclass(frozen=True, slots=True)
class SentBack:
    """A payment whose money an admin has sent back, and where it stood then."""

    order_id: int
    state: PaymentState


class SendingBack:
    """Sends back the money of a payment, because an admin says so."""

    def __init__(self, database: Database) -> None:
        """Take the pay service's database."""
        self._database = database
        self._answered = Keys(
            database, idempotency_keys, lambda answer: SentBack(answer["order_id"], PaymentState(answer["state"]))
        )

    def send_back(self, order_id: int, reason: str, key: IdempotencyKey | None) -> Answered[SentBack]:
        """Have the kept charge refunded, once; again: where it stands.

        Raise `NotFound`, `NothingToRefund`, `IdempotencyMismatch`, `Unavailable` or `OutcomeUnknown`.
        """

        def work(connection: Connection) -> SentBack:
            payment = next(iter(owed_by(connection, [order_id])), None)
            if payment is None:
                raise NotFound
            if payment.state in {PaymentState.REFUNDING, PaymentState.REFUNDED}:
                return SentBack(order_id, PaymentState(payment.state))
            if not move(connection, [order_id], PaymentState.SUCCEEDED, PaymentState.REFUNDING, tell_at=None):
                raise NothingToRefund
            send_back_kept(connection, [order_id], Reason.BY_ADMIN, now_ms(), note=reason)
            return SentBack(order_id, PaymentState.REFUNDING)

        return self._answered.once(key, work)
