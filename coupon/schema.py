"""What comes in and goes out over REST."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from common.paging import Page, PageQuery
from common.reservations.schema import DecisionOut, ReservationOut, WantIn
from common.schema import MAX_MONEY, Currency, Id, Instant, Money, QueryFlag, Schema, UserId, Word, later_than
from coupon.service import rules
from coupon.service.uses import Want

MOST_USES = 10**9
_WHOLE = 100  # per cent
Kind = Literal["amount", "percent"]
Uses = Annotated[int, Field(ge=1, le=MOST_USES)]
Reason = Literal["used", "expired", "not-started", "withdrawn", "below-minimum", "other-currency"]


class NewCoupon(Schema):
    """A coupon to make: an amount off in minor units, or a percentage."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"properties": {"kind": {"const": "percent"}, "value": {"maximum": _WHOLE}}},
                {
                    "properties": {"kind": {"const": "amount"}, "currency": {"type": "string"}},
                    "required": ["currency"],
                },
            ]
        }
    )

    kind: Kind
    value: Annotated[int, Field(ge=1, le=MAX_MONEY)]
    uses: Uses
    code: Word | None = Field(default=None, description="made up where there is none")
    currency: Currency | None = Field(default=None, validate_default=True, description="required for an amount")
    minimum_amount: Money = 0
    user_id: UserId | None = Field(default=None, description="whose it is; null: every user's")
    uses_per_user: Uses = 1
    starts_at: Instant | None = None
    ends_at: Annotated[Instant, later_than("starts_at")] | None = Field(
        default=None, description="later than starts_at; from then on it is expired"
    )

    @field_validator("value")
    @classmethod
    def _not_more_than_all(cls, value: int, info: ValidationInfo) -> int:
        if info.data.get("kind") == "percent" and value > _WHOLE:
            raise ValueError(f"Input should be less than or equal to {_WHOLE}")
        return value

    @field_validator("currency")
    @classmethod
    def _of_an_amount(cls, currency: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("kind") == "amount" and currency is None:
            raise ValueError("An amount needs a currency")
        return currency

    def parsed(self) -> rules.NewCoupon:
        """Return it as the use case takes it."""
        return rules.NewCoupon(**{**dict(self), "code": self.code or ""})


class CouponOut(Schema):
    """A coupon; `uses = free + held + used`."""

    coupon_id: Id
    code: Word
    kind: Kind
    value: int
    currency: Currency | None
    minimum_amount: Money
    user_id: UserId | None
    uses: int
    uses_per_user: int
    free: int
    held: int
    used: int
    starts_at: Instant | None
    ends_at: Instant | None
    withdrawn: bool


class CouponFound(CouponOut):
    """A coupon, and the version of its rules."""

    version: int


class CouponsQuery(PageQuery):
    """Which coupons to list; `usable`: by an order of the caller's, now."""

    usable: QueryFlag | None = None


class CouponsPage(Page[CouponOut]):
    """Coupons, newest first."""


class OrderIn(WantIn):
    """The coupon of one order, and what was priced by it."""

    coupon_id: Id
    user_id: UserId
    goods_amount: Annotated[int, Field(ge=0, le=2**53)]
    currency: Currency
    version: Annotated[int, Field(ge=1, lt=2**63)]

    def want(self) -> Want:
        """Return it as the effect takes it."""
        return Want(self.coupon_id, self.user_id, self.goods_amount, self.currency, self.version)


class UseDecision(DecisionOut):
    """What one order got; `changed`: its coupon is not what it was priced by, `reason` where that is known."""

    verdict: Literal["deducted", "refused", "changed", "released"]
    reason: Reason | None = None


class UseReservation(ReservationOut):
    """A reservation; without a coupon it is a tombstone."""

    coupon_id: Id | None = None
    used: bool = False
