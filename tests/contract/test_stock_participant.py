"""Stock is a participant: pieces of goods, by lines."""

from collections.abc import Hashable, Mapping
from typing import Any, ClassVar

import pytest
from sqlalchemy import select

from common.db import Database
from common.reservations.routes import install_reservations
from common.web import Api
from halfmessage.participant.reservations import Reservations
from stock import model
from stock.schema import OrderIn, PiecesDecision, PiecesReservation
from stock.service.levels import Levels
from stock.service.pieces import stock_reservations
from stock.service.strategies.port import Lines
from tests.contract.participants import Case, ParticipantContract

pytestmark = [pytest.mark.P1, pytest.mark.P3, pytest.mark.P6]


class Pieces(Case[Lines]):
    """Three goods: one piece, five, and a hundred of them."""

    metadata = model.metadata
    refusal = "insufficient"
    last: ClassVar = {1: 1}
    wants = ({2: 2}, {2: 1, 3: 4}, {3: 2}, {2: 6}, {1: 1, 3: 1}, {9: 1})

    def prepare(self, database: Database) -> None:
        levels = Levels(database)
        for goods_id, total in ((1, 1), (2, 5), (3, 100)):
            levels.set_total(goods_id, total)

    def reservations(self, database: Database) -> Reservations[Lines]:
        return stock_reservations(database)

    def install(self, api: Api, reservations: Reservations[Lines]) -> None:
        install_reservations(api, reservations, want=OrderIn, decision=PiecesDecision, reservation=PiecesReservation)

    def body(self, want: Lines) -> dict[str, Any]:
        return {"items": [{"goods_id": str(goods_id), "quantity": quantity} for goods_id, quantity in want.items()]}

    def free(self, database: Database) -> dict[Hashable, int]:
        with database.read() as connection:
            return dict(connection.execute(select(model.stock.c.goods_id, model.stock.c.available)).all())  # type: ignore[arg-type]

    def takes(self, want: Lines) -> Mapping[Hashable, int]:
        return dict(want)


class TestStock(ParticipantContract):
    """Stock keeps the contract."""

    case = Pieces()
