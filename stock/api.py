"""The stock service over REST."""

from common.idempotency import key_of
from common.reservations.routes import install_reservations
from common.web import Api, Reply, current_identity, replayed
from halfmessage.participant.reservations import Reservations
from stock.model import BelowReserved
from stock.schema import LevelOut, OrderIn, PiecesDecision, PiecesReservation, Restock, SetTotal
from stock.service.levels import Levels
from stock.service.strategies.port import Lines


def install(api: Api, levels: Levels, reservations: Reservations[Lines]) -> None:
    """Declare the routes."""
    _install_levels(api, levels)
    install_reservations(api, reservations, want=OrderIn, decision=PiecesDecision, reservation=PiecesReservation)


def _install_levels(api: Api, levels: Levels) -> None:
    @api.get("/stock/{goods_id}", returns={200: LevelOut})
    def show_level(goods_id: int) -> Reply:
        """Show the stock of one goods; goods that never had any have 0."""
        return Reply(LevelOut.of(levels.get(goods_id)))

    @api.put("/stock/{goods_id}", scopes=("admin",), body=SetTotal, returns={200: LevelOut}, errors=[BelowReserved])
    def set_total(goods_id: int, body: SetTotal) -> Reply:
        """Set how many pieces there are, reserved ones included."""
        return Reply(LevelOut.of(levels.set_total(goods_id, body.total)))

    @api.post("/stock/{goods_id}/restock", scopes=("admin",), body=Restock, returns={200: LevelOut}, idempotent=True)
    def restock(goods_id: int, body: Restock, idempotency_key: str | None) -> Reply:
        """Add pieces."""
        call = f"POST /stock/{goods_id}/restock"
        key = key_of(current_identity().user_id, idempotency_key, call, body)
        added = levels.restock(goods_id, body.quantity, key)
        return Reply(LevelOut.of(added.answer), headers=replayed(added.replayed))
