"""The stock service over REST."""

from common.idempotency import key_of
from common.web import Api, Reply, current_identity, replayed
from halfmessage.errors import NotFound
from stock.model import BelowReserved, InsufficientStock
from stock.schema import AllotmentIn, AllotmentOut, LevelOut, Restock, SetTotal, Withdraw
from stock.service.allotments import Allotment, Allotments
from stock.service.levels import Levels


def install(api: Api, levels: Levels, allotments: Allotments) -> None:
    """Declare the routes beside those of every participant."""
    _install_levels(api, levels)

    @api.get(
        "/internal/allotments/{sale_id}",
        scopes=("service",),
        returns={200: AllotmentOut},
        errors=[NotFound],
    )
    def show_allotment(sale_id: int) -> Reply:
        """Show how many pieces a flash sale owns."""
        return Reply(AllotmentOut.of_attributes(allotments.get(sale_id)))

    @api.put(
        "/internal/allotments/{sale_id}",
        scopes=("service",),
        body=AllotmentIn,
        returns={200: AllotmentOut},
        errors=[InsufficientStock],
    )
    def put_allotment(sale_id: int, body: AllotmentIn) -> Reply:
        """Have a flash sale own so many pieces; a word that comes late, or again, changes nothing."""
        wanted = Allotment(sale_id, body.goods_id, body.quantity, body.version)
        return Reply(AllotmentOut.of_attributes(allotments.put(wanted)))


def _install_levels(api: Api, levels: Levels) -> None:

    @api.get("/stock/{goods_id}", returns={200: LevelOut})
    def show_level(goods_id: int) -> Reply:
        """Show the stock of one goods; goods that never had any have 0."""
        return Reply(LevelOut.of_attributes(levels.get(goods_id)))

    @api.put("/stock/{goods_id}", scopes=("admin",), body=SetTotal, returns={200: LevelOut}, errors=[BelowReserved])
    def set_total(goods_id: int, body: SetTotal) -> Reply:
        """Set how many pieces there are, reserved ones included."""
        return Reply(LevelOut.of_attributes(levels.set_total(goods_id, body.total)))

    @api.post("/stock/{goods_id}/restock", scopes=("admin",), body=Restock, returns={200: LevelOut}, idempotent=True)
    def restock(goods_id: int, body: Restock, idempotency_key: str | None) -> Reply:
        """Add pieces."""
        call = f"POST /stock/{goods_id}/restock"
        key = key_of(current_identity().user_id, idempotency_key, call, body)
        added = levels.restock(goods_id, body.quantity, key)
        return Reply(LevelOut.of_attributes(added.answer), headers=replayed(added.replayed))

    @api.post(
        "/stock/{goods_id}/withdraw",
        scopes=("admin",),
        body=Withdraw,
        returns={200: LevelOut},
        errors=[BelowReserved],
        idempotent=True,
    )
    def withdraw(goods_id: int, body: Withdraw, idempotency_key: str | None) -> Reply:
        """Take pieces out that no order holds."""
        call = f"POST /stock/{goods_id}/withdraw"
        key = key_of(current_identity().user_id, idempotency_key, call, body)
        taken = levels.withdraw(goods_id, body.quantity, key)
        return Reply(LevelOut.of_attributes(taken.answer), headers=replayed(taken.replayed))
