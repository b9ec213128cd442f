"""Flash is a participant: pieces of a sale an order, here each for a purchase of its own."""

from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

import pytest
from sqlalchemy import Connection, delete, insert, select

from common.db import Database
from common.reservations.routes import install_reservations
from common.web import Api
from flash import model
from flash.model import purchases, sale_user, sale_users, sales
from flash.model import reservations as headers
from flash.pieces.in_database import DatabasePieces
from flash.schema import OrderIn, PurchaseDecision, PurchaseReservation
from flash.service.holding import Holding, Want
from halfmessage.participant.effect import Refusal, Taker
from halfmessage.participant.reservations import Reservations
from tests.contract.participants import Case, ParticipantContract

pytestmark = [pytest.mark.P3, pytest.mark.P6]

T = TypeVar("T")

ANN, BOB = "ann", "bob"
PIECES = {1: 1, 2: 4, 3: 99}
PER_USER = 99
LAST = Want(1, 1, ANN, 1)


class _Own(Taker[Want]):
    """Has each order be of a purchase that has its id: the contract knows orders alone."""

    def __init__(self, taker: Taker[Want]) -> None:
        self._taker = taker

    def begin(self, connection: Connection, wants: Mapping[int, Want]) -> None:
        self._taker.begin(connection, _own(wants))

    def take(self, connection: Connection, order_id: int, want: Want) -> Refusal | None:
        return self._taker.take(connection, order_id, replace(want, purchase_id=order_id))

    def take_all(self, connection: Connection, wants: Mapping[int, Want]) -> dict[int, Refusal]:
        return self._taker.take_all(connection, _own(wants))


class _Holding(Holding):
    def run(self, wants: Mapping[int, Want], transact: Callable[[Taker[Want]], T]) -> T:
        return super().run(_own(wants), lambda taker: transact(_Own(taker)))

    def forget(self, connection: Connection, order_ids: Collection[int]) -> None:
        super().forget(connection, order_ids)
        connection.execute(delete(purchases).where(purchases.c.purchase_id.in_(order_ids)))


def _own(wants: Mapping[int, Want]) -> dict[int, Want]:
    return {order_id: replace(want, purchase_id=order_id) for order_id, want in wants.items()}


class Sales(Case[Want]):
    """Three sales: of one piece, of four, and of many."""

    metadata = model.metadata
    refusal = "sold-out"
    on_postgresql = False
    last: ClassVar = LAST
    wants: ClassVar = tuple(
        replace(LAST, sale_id=n, user_id=user, quantity=m) for n, m in ((2, 2), (3, 5)) for user in (ANN, BOB)
    )

    def prepare(self, database: Database) -> None:
        rows = [
            {
                "sale_id": sale_id, "state": "open", "goods_id": 1, "name": "Tea", "brief": "", "unit_price": 1,
                "currency": "EUR", "quantity": pieces, "per_user": PER_USER, "starts_at": 0, "ends_at": 1,
                "created_at": 0, "allotted": pieces,
            }
            for sale_id, pieces in PIECES.items()
        ]  # fmt: skip
        database.transact(lambda connection: connection.execute(insert(sales), rows))

    def reservations(self, database: Database) -> Reservations[Want]:
        return Reservations("flash", database, headers, _Holding(DatabasePieces(database, model.pieces)))

    def install(self, api: Api, reservations: Reservations[Want]) -> None:
        install_reservations(
            api, reservations, want=OrderIn, decision=PurchaseDecision, reservation=PurchaseReservation
        )

    def body(self, want: Want) -> dict[str, Any]:
        return {
            "sale_id": str(want.sale_id), "purchase_id": str(want.purchase_id), "user_id": want.user_id,
            "quantity": want.quantity,
        }  # fmt: skip

    def free(self, database: Database) -> dict[Hashable, int]:
        with database.read() as connection:
            rows = connection.execute(select(sales)).all()
            held = dict(connection.execute(select(sale_users.c.sale_user, sale_users.c.held)).all())  # type: ignore[arg-type]
        users = {sale_user(n, user): PER_USER for n in PIECES for user in (ANN, BOB)}
        left: dict[Hashable, int] = {row.sale_id: row.allotted - row.held for row in rows}
        return left | {key: limit - held.get(key, 0) for key, limit in users.items()}

    def takes(self, want: Want) -> Mapping[Hashable, int]:
        return {want.sale_id: want.quantity, want.user: want.quantity}


class TestFlash(ParticipantContract):
    """Flash keeps the contract."""

    case = Sales()
