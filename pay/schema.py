"""What comes in and goes out over REST."""

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from common.paging import PageQuery
from common.reservations.schema import MAX_ORDERS, DecisionOut, ReservationOut, WantIn
from common.schema import LAST_INSTANT, Currency, Id, Instant, QueryInt, Schema, UserId, Word
from pay.model import AttemptState, ChargeState, EventEffect, PaymentState, Via
from pay.providers.port import Kind
from pay.service.attempts import AttemptRequest, Tried
from pay.service.payments import Want
from pay.service.refunding import SentBack

LONGEST_LOOKUP = 32 * 1024  # bytes that as many ids as one look-up takes have at most
Amount = Annotated[int, Field(ge=1, le=2**53, description="minor units")]
Scenario = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
_Ms = Annotated[int, Field(ge=0, le=LAST_INSTANT, description="ms since the epoch")]


class OrderIn(WantIn):
    """What one order owes."""

    user_id: UserId
    amount: Amount
    currency: Currency
    expires_at: _Ms

    def want(self) -> Want:
        """Return it as the effect takes it."""
        return Want(self.user_id, self.amount, self.currency, self.expires_at)


class PaymentDecision(DecisionOut):
    """What one order got; `refused` only what no order of ours can be."""

    verdict: Literal["deducted", "released", "refused"]


class PaymentReservation(ReservationOut):
    """A reservation and what its order owes; null: a tombstone."""

    amount: int | None = None
    currency: str | None = None


class AttemptIn(Schema):
    """A try to pay an order; what it owes, should there be no payment yet."""

    provider: Word
    scenario: Scenario | None = None
    tx_id: Id
    user_id: UserId
    amount: Amount
    currency: Currency
    expires_at: _Ms

    def parsed(self, order_id: int) -> AttemptRequest:
        """Return it as the use case takes it."""
        want = Want(self.user_id, self.amount, self.currency, self.expires_at)
        return AttemptRequest(order_id, self.tx_id, want, self.provider, self.scenario)


class AttemptOut(Schema):
    """Where the payment stands after a try; open with a `pay_url`: go there; with a `refusal`: it failed."""

    payment_id: Id
    status: PaymentState
    provider: str
    pay_url: str | None
    refusal: str | None

    @classmethod
    def of(cls, tried: Tried) -> Self:
        """Show it."""
        return cls(
            payment_id=tried.order_id,
            status=tried.state,
            provider=tried.provider,
            pay_url=tried.pay_url,
            refusal=tried.refusal,
        )


class OrderIds(Schema):
    """Whose payments are meant."""

    order_ids: tuple[Id, ...] = Field(min_length=1, max_length=MAX_ORDERS)


class StandingOut(Schema):
    """Where one payment stands."""

    order_id: Id
    status: PaymentState
    provider: str | None


class StandingsOut(Schema):
    """Where those of the payments asked for stand that exist."""

    payments: tuple[StandingOut, ...]

    @classmethod
    def of(cls, found: Iterable[tuple[int, PaymentState, str | None]]) -> Self:
        """Show them."""
        return cls(payments=tuple(StandingOut(order_id=o, status=s, provider=p) for o, s, p in found))


class RefundIn(Schema):
    """Why the money goes back."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=255)]


class SentBackOut(Schema):
    """A payment whose money goes back, or went."""

    payment_id: Id
    order_id: Id
    status: PaymentState

    @classmethod
    def of(cls, sent: SentBack) -> Self:
        """Show it."""
        return cls(payment_id=sent.order_id, order_id=sent.order_id, status=sent.state)


class EventOut(Schema):
    """What a provider said, and what that did; `effect` null: it is not handled yet."""

    event_id: str
    provider: str
    kind: Kind
    charge_id: str | None
    amount: int | None
    currency: str | None
    via: Via
    received_at: Instant
    handled_at: Instant | None
    effect: EventEffect | None
    reason: str | None
    tx_id: Id | None


class ChargeOut(Schema):
    """Money that a provider took."""

    charge_id: str
    provider: str
    amount: int
    currency: str
    status: ChargeState
    reason: str | None
    note: str | None
    refund_id: str | None
    refusal: str | None
    tries: int
    taken_at: Instant
    refunded_at: Instant | None


class TryOut(Schema):
    """One try to pay."""

    attempt_id: Id
    provider: str
    status: AttemptState
    refusal: str | None
    polls: int
    created_at: Instant


class PaymentSummary(Schema):
    """What an order owes, and where that stands."""

    payment_id: Id
    order_id: Id
    user_id: UserId
    amount: int
    currency: str
    status: PaymentState
    provider: str | None
    known: bool
    created_at: Instant
    expires_at: Instant
    succeeded_at: Instant | None
    closed_at: Instant | None


class PaymentOut(PaymentSummary):
    """What an order owes, what providers said about it, and what became of the money."""

    events: tuple[EventOut, ...]
    charges: tuple[ChargeOut, ...]
    attempts: tuple[TryOut, ...]


class PaymentsQuery(PageQuery):
    """Of which order; or, for admins, which of all users'."""

    order_id: Annotated[QueryInt, Field(ge=1, lt=2**63)] | None = None
    status: PaymentState | None = None

    @model_validator(mode="after")
    def _of_an_order_there_is_one(self) -> Self:
        if self.order_id is not None and self.model_fields_set != {"order_id"}:
            raise ValueError("An order has one payment: order_id goes with no other parameter")
        return self


class PaymentsOut(Schema):
    """The payment of an order, whole, if there is one; or a page of all users', newest first, without its parts."""

    items: tuple[PaymentOut, ...] | tuple[PaymentSummary, ...]
    next_cursor: str | None = Field(description="for the next page; null at the end")
