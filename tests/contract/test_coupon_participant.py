"""Coupon is a participant: a use of a coupon an order, of which each user has so many."""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from sqlalchemy import select

from common.db import Database
from common.reservations.routes import install_reservations
from common.web import Api
from coupon import model
from coupon.model import coupon_users, coupon_uses, coupons
from coupon.schema import OrderIn, UseDecision, UseReservation
from coupon.service.rules import Coupons, NewCoupon
from coupon.service.uses import Want, coupon_reservations
from halfmessage.participant.model import use_of
from halfmessage.participant.reservations import Reservations
from tests.contract.participants import Case, ParticipantContract
from tests.fakes import Ids

pytestmark = [pytest.mark.P3, pytest.mark.P6]

ANN, BOB = "ann", "bob"
PER_USER = {1: 1, 2: 3, 3: 2}
LAST = Want(1, ANN, 1000, "EUR", 1)
OFF = NewCoupon(
    code="", kind="amount", value=500, currency="EUR", minimum_amount=0, user_id=None, uses=1, uses_per_user=1,
    starts_at=None, ends_at=None,
)  # fmt: skip


class _Numbered(Ids):
    """The coupons of a case are 1, 2 and 3."""

    def next(self) -> int:
        return super().next() & 3


class Uses(Case[Want]):
    """Three coupons: of one use, of four, and of a hundred of which each user may have two."""

    metadata = model.metadata
    refusal = "refused"
    last: ClassVar = LAST
    wants = tuple(replace(LAST, thing_id=n, user_id=user) for n in (2, 3) for user in (ANN, BOB))

    def prepare(self, database: Database) -> None:
        rules = Coupons(database, _Numbered())
        for coupon_id, uses in ((1, 1), (2, 4), (3, 100)):
            made = rules.make(replace(OFF, uses=uses, uses_per_user=PER_USER[coupon_id])).answer
            assert made.coupon_id == coupon_id

    def reservations(self, database: Database) -> Reservations[Want]:
        return coupon_reservations(database)

    def install(self, api: Api, reservations: Reservations[Want]) -> None:
        install_reservations(api, reservations, want=OrderIn, decision=UseDecision, reservation=UseReservation)

    def body(self, want: Want) -> dict[str, Any]:
        return {
            "coupon_id": str(want.thing_id), "user_id": want.user_id, "goods_amount": want.goods_amount,
            "currency": want.currency, "version": want.version,
        }  # fmt: skip

    def free(self, database: Database) -> dict[Hashable, int]:
        with database.read() as connection:
            rows = connection.execute(select(coupons)).all()
            taken = dict(connection.execute(select(coupon_users.c.coupon_user, coupon_users.c.taken)).all())  # type: ignore[arg-type]
        left: dict[Hashable, int] = {row.coupon_id: row.uses - row.held - row.used for row in rows}
        users = {use_of(n, user): limit for n, limit in PER_USER.items() for user in (ANN, BOB)}
        return left | {key: limit - taken.get(key, 0) for key, limit in users.items()}

    def takes(self, want: Want) -> Mapping[Hashable, int]:
        return {want.thing_id: 1, want.user: 1}

    def used(self, database: Database) -> dict[Hashable, int]:
        with database.read() as connection:
            found: dict[Hashable, int] = dict(connection.execute(select(coupons.c.coupon_id, coupons.c.used)).all())  # type: ignore[arg-type]
            users = connection.execute(select(coupon_uses).where(coupon_uses.c.state == "used")).all()
        mine = [use_of(row.coupon_id, row.user_id) for row in users]
        return found | {use_of(n, user): mine.count(use_of(n, user)) for n in PER_USER for user in (ANN, BOB)}


class TestCoupon(ParticipantContract):
    """Coupon keeps the contract."""

    case = Uses()
