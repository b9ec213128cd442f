"""Money of which a provider says otherwise than pay knows: a part that it sent back by itself, another amount taken."""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, select

from ops.findings import Finding, wrong
from pay.model import ChargeState, charges, payment_events
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
_BY_HAND: Final = (
    "look at the charge at the provider, and settle the rest with the customer: pay sends back whole charges"
)


def other_money(connection: Connection, which: ColumnElement[bool]) -> Iterator[Finding]:
    """Yield what providers say otherwise of these charges; `connection`: to pay's database."""
    for row in connection.execute(_TOLD.where(which)):
        yield wrong("payment", "none" if row.order_id is None else str(row.order_id), _what(row), _BY_HAND)


def _what(row: Any) -> str:
    did = "took" if row.kind == Kind.SUCCEEDED else "sent back"
    of = f"of {row.charge_id}, which is {row.amount} {row.currency} here"
    return f"{row.provider} says that it {did} {row.told} {row.told_currency} {of}"
