"""What comes in and goes out over REST."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints
from sqlalchemy import Row

from common.paging import Page, PageQuery
from common.schema import Currency, Id, Instant, Schema, Word
from sandbox.model import SessionState
from sandbox.service import reading
from sandbox.service.books import NewSession, Refund
from sandbox.service.faults import Fault, FaultPlan
from sandbox.service.refunding import NewRefund
from sandbox.service.scenarios import DEFAULT, PATTERN

Amount = Annotated[int, Field(ge=1, le=2**53)]
BaseUrl = Annotated[str, StringConstraints(pattern=r"^https?://[A-Za-z0-9.:\[\]-]{1,200}$")]
RefundKey = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,255}$")]
Probability = Annotated[float, Field(ge=0, le=1)]


class SessionIn(Schema):
    """Money that a merchant asks for; `attempt_id` is the idempotency key."""

    attempt_id: Id
    payment_id: Id
    amount: Amount
    currency: Currency
    callback_url: BaseUrl
    expires_at: Instant
    scenario: Annotated[str, StringConstraints(pattern=PATTERN)] | None = None

    def parsed(self) -> NewSession:
        """Return it as the use case takes it."""
        return NewSession(**{**dict(self), "scenario": self.scenario or DEFAULT})


class EventOut(Schema):
    """What happened; a callback says the same."""

    event_id: Id
    kind: Literal["succeeded", "failed", "refunded", "refund-refused"]
    charge_id: Id | None
    refund_id: Id | None
    amount: Amount | None
    currency: Currency | None
    reason: str | None
    created_at: Instant


class RefundOut(Schema):
    """An asking for a refund; only `done` means that the money went back."""

    refund_id: Id
    charge_id: Id
    key: str
    amount: Amount
    currency: Currency
    state: Literal["done", "pending", "refused"]
    reason: str | None
    asked: int
    created_at: Instant
    done_at: Instant | None

    @classmethod
    def of(cls, row: Row[Any] | Refund) -> "RefundOut":
        """Write a refund."""
        return cls(**_shown(row, cls, "key"), key=row.refund_key)


class ChargeOut(Schema):
    """Money that was taken, and each asking for it back."""

    charge_id: Id
    amount: Amount
    currency: Currency
    created_at: Instant
    refunds: tuple[RefundOut, ...]

    @classmethod
    def of(cls, charge: reading.Charge) -> "ChargeOut":
        """Write a charge."""
        return cls(**_shown(charge.row, cls, "refunds"), refunds=tuple(RefundOut.of(row) for row in charge.refunds))


class SessionOut(Schema):
    """A session. `events` is empty while the sandbox behaves as if nothing had happened yet."""

    session_id: Id
    reference: Word
    attempt_id: Id
    payment_id: Id
    amount: Amount
    currency: Currency
    scenario: str
    state: Literal["open", "paid", "declined", "closed"]
    reason: str | None
    expires_at: Instant
    created_at: Instant
    page: str
    charges: tuple[ChargeOut, ...]
    events: tuple[EventOut, ...]

    @classmethod
    def of(cls, session: reading.Session, page: str, *, told: bool = True) -> "SessionOut":
        """Write a session whose page is at `page`; unless `told`, without what happened in it."""
        charges = tuple(ChargeOut.of(charge) for charge in session.charges if told)
        events = tuple(EventOut(**_shown(row, EventOut)) for row in session.events if told)
        row = _shown(session.row, cls, "page", "charges", "events", "state")
        state = session.state if told else SessionState.OPEN
        return cls(**row, state=state.value, page=page, charges=charges, events=events)


class LedgerPage(Page[SessionOut]):
    """Sessions, oldest first, with all that was taken and sent back."""


class LedgerQuery(PageQuery):
    """Which page of the ledger."""


class RefundIn(Schema):
    """A charge that is to be sent back, all of it; `key` is the idempotency key."""

    key: RefundKey
    amount: Amount
    currency: Currency

    def parsed(self, charge_id: int) -> NewRefund:
        """Return it as the use case takes it."""
        return NewRefund(charge_id, self.key, self.amount, self.currency)


class FaultsIn(Schema):
    """The faults to have from now on, each with its probability; `longest`: seconds that one may delay something."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    longest: Annotated[float, Field(gt=0, le=3600)] = 2.0
    delay: Probability = 0
    duplicate: Probability = 0
    reorder: Probability = 0
    lost: Probability = 0
    wrong_amount: Probability = 0
    wrong_currency: Probability = 0
    begin_fails: Probability = 0
    begin_fails_done: Probability = 0
    ask_fails: Probability = 0
    refund_fails: Probability = 0
    refund_fails_done: Probability = 0
    refund_pending: Probability = 0
    refund_refused: Probability = 0
    refund_refused_done: Probability = 0

    def probabilities(self) -> dict[Fault, float]:
        """Return the probability of each fault."""
        return {fault: getattr(self, fault.value) for fault in Fault}


class FaultOut(Schema):
    """A fault, and how often it might have struck and did since faults were set."""

    name: str
    probability: float
    drawn: int
    struck: int


class FaultsOut(Schema):
    """The faults that are set; `longest` in seconds."""

    seed: int
    longest: float
    faults: tuple[FaultOut, ...]

    @classmethod
    def of(cls, plan: FaultPlan) -> "FaultsOut":
        """Write them."""
        rows = tuple(
            FaultOut(name=one.name.value, probability=one.probability, drawn=one.drawn, struck=one.struck)
            for one in plan.reports
        )
        return cls(seed=plan.seed, longest=plan.longest / 1000, faults=rows)


def _shown(row: Row[Any] | Refund, schema: type[Schema], *but: str) -> dict[str, Any]:
    return {name: getattr(row, name) for name in schema.model_fields if name not in but}
