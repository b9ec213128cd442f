"""Pay is a participant: its reservation is what an order owes."""

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from sqlalchemy import select

from common.db import Database
from common.reservations.routes import install_reservations
from common.web import Api
from halfmessage.participant.reservations import Reservations
from pay import model
from pay.model import PaymentState, payments
from pay.schema import OrderIn, PaymentDecision, PaymentReservation
from pay.service.payments import Want, payment_reservations
from tests.contract.participants import Case, ParticipantContract

pytestmark = [pytest.mark.P3, pytest.mark.P6, pytest.mark.P7]

OWED = Want("ann", 500, "EUR", 2_000_000_000_000)
CURRENCIES = ("EUR", "JPY", "KWD")


class Owed(Case[Want]):
    """What orders owe, by currency: as much as they like."""

    metadata = model.metadata
    refusal = None
    on_postgresql = False
    last: ClassVar = OWED
    wants = tuple(replace(OWED, currency=currency, amount=n) for n, currency in enumerate(CURRENCIES, 1))

    def prepare(self, database: Database) -> None:
        """Nothing has to be there."""

    def reservations(self, database: Database) -> Reservations[Want]:
        return payment_reservations(database, 60.0)

    def install(self, api: Api, reservations: Reservations[Want]) -> None:
        install_reservations(api, reservations, want=OrderIn, decision=PaymentDecision, reservation=PaymentReservation)

    def body(self, want: Want) -> dict[str, Any]:
        return {
            "user_id": want.user_id, "amount": want.amount, "currency": want.currency, "expires_at": want.expires_at
        }  # fmt: skip

    def free(self, database: Database) -> dict[Hashable, int]:
        return {currency: -amount for currency, amount in _owed(database).items()}

    def takes(self, want: Want) -> Mapping[Hashable, int]:
        return {want.currency: want.amount}

    def used(self, database: Database) -> dict[Hashable, int]:
        return _owed(database, known=True)


def _owed(database: Database, *, known: bool = False) -> dict[Hashable, int]:
    """Return what open payments come to by currency; or what those do of which the order service said: paid."""
    with database.read() as connection:
        rows = connection.execute(select(payments).where(payments.c.state == PaymentState.OPEN.value)).all()
    found = Counter[Hashable](dict.fromkeys(CURRENCIES, 0))
    for row in rows:
        if row.known or not known:
            found[row.currency] += row.amount
    return dict(found)


class TestPay(ParticipantContract):
    """Pay keeps the contract."""

    case = Owed()
