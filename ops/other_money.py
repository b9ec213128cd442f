"""Other money than there should be: a provider says otherwise than pay knows, or took otherwise than was owed.

Of the first kind are a part that it sent back by itself, or another amount of a charge. The second went back whole.
"""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func, select

from ops.findings import Finding, OtherCharge, SentBack, wrong
from pay.model import ChargeState, charges, payment_events, payments
from pay.providers.port import Kind

_EVENTS = payment_events.c
_IS_KEPT = charges.c.state.in_([ChargeState.KEPT.value, ChargeState.REFUSED.value])
"""One that is on its way back whole, or went, says more than any part of it."""
_TOLD = (
    select(charges.c.order_id, charges.c.provider, charges.c.charge_id, charges.c.amount, charges.c.currency)
    .add_columns(_EVENTS.kind, _EVENTS.amount.label("told"), _EVENTS.currency.label("told_currency"))
    .join_from(
        charges,
        payment_events,
        (_EVENTS.provider == charges.c.provider) & (_EVENTS.charge_id == charges.c.charge_id),
    )
    .where((_EVENTS.kind == Kind.SUCCEEDED.value) | ((_EVENTS.kind == Kind.REFUNDED.value) & _IS_KEPT))
    .where((_EVENTS.amount != charges.c.amount) | (_EVENTS.currency != charges.c.currency))
    .distinct()  # a callback and a poll may say the same
)
# told by its money, not by its reason: what came late may have been another amount as well
_IS_OTHER_AND_BACK = (charges.c.state == ChargeState.REFUNDED.value) & (
    (charges.c.amount != payments.c.amount) | (charges.c.currency != payments.c.currency)
)
_OF_ITS_PAYMENT = charges.c.order_id == payments.c.order_id
_NUMBER_BACK = select(func.count()).join_from(charges, payments, _OF_ITS_PAYMENT).where(_IS_OTHER_AND_BACK)
_BACK = (
    select(charges, payments.c.amount.label("owed"), payments.c.currency.label("owed_currency"))
    .join_from(charges, payments, _OF_ITS_PAYMENT)
    .where(_IS_OTHER_AND_BACK)
    .order_by(charges.c.refund_since.desc(), charges.c.provider, charges.c.charge_id)
)
MOST_BACK: Final = 20
"""Charges of other money that are told one by one; all are counted."""
_BY_HAND: Final = (
    "look at the charge at the provider, and settle the rest with the customer: pay sends back whole charges"
)


def other_money(connection: Connection, which: ColumnElement[bool]) -> Iterator[Finding]:
    """Yield what providers say otherwise of these charges; `connection`: to pay's database."""
    for row in connection.execute(_TOLD.where(which)):
        yield wrong("payment", "none" if row.order_id is None else str(row.order_id), _what(row), _BY_HAND)


def sent_back(connection: Connection) -> SentBack:
    """Return what was taken otherwise than was owed, and went back; `connection`: to pay's database."""
    count = int(connection.scalar(_NUMBER_BACK) or 0)
    return SentBack(count, tuple(map(_other_charge, connection.execute(_BACK.limit(MOST_BACK)))))


def _other_charge(row: Any) -> OtherCharge:
    took, owed = f"{row.amount} {row.currency}", f"{row.owed} {row.owed_currency}"
    return OtherCharge(row.order_id, row.provider, row.charge_id, took, owed, row.reason, row.refunded_at)


def _what(row: Any) -> str:
    did = "took" if row.kind == Kind.SUCCEEDED else "sent back"
    of = f"of {row.charge_id}, which is {row.amount} {row.currency} here"
    return f"{row.provider} says that it {did} {row.told} {row.told_currency} {of}"
