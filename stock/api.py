"""The stock service over REST."""

from common.errors import NotFound
from common.idempotency import key_of
from common.web import Api, Reply, current_identity, replayed
from stock.model import BelowReserved
from stock.schema import (
    LONGEST_BODY,
    Decisions,
    Deduct,
    LevelOut,
    ReservationOut,
    Restock,
    Settle,
    Settled,
    SetTotal,
    StatesQuery,
    UnverifiedOut,
    UnverifiedQuery,
)
from stock.service.levels import Levels
from stock.service.reservations import Reservations, Wanted


def install(api: Api, levels: Levels, reservations: Reservations) -> None:
    """Declare the routes."""
    _install_levels(api, levels)
    _install_reservations(api, reservations)


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


def _install_reservations(api: Api, reservations: Reservations) -> None:
    @api.post("/reservations", scopes=("service",), body=Deduct, returns={200: Decisions}, body_at_least=LONGEST_BODY)
    def deduct(body: Deduct) -> Reply:
        """Deduct orders, each whole or not at all; asked again, answers the same and takes nothing more."""
        wanted = [
            Wanted(order.order_id, {item.goods_id: item.quantity for item in order.items}) for order in body.orders
        ]
        return Reply(Decisions.of(reservations.deduct(body.tx_id, wanted, revive=body.revive)))

    @api.get("/reservations", scopes=("service", "admin"), query=UnverifiedQuery, returns={200: UnverifiedOut})
    def list_unverified(query: UnverifiedQuery) -> Reply:
        """List live reservations that the order service has not confirmed, or all."""
        found = reservations.unverified(
            older_than=query.older_than, after=query.after, limit=query.limit, or_verified=query.verified == "any"
        )
        return Reply(UnverifiedOut.of(found))

    @api.get("/reservations/{order_id}", scopes=("service", "admin"), returns={200: ReservationOut}, errors=[NotFound])
    def show_reservation(order_id: int) -> Reply:
        """Show the reservation of one order."""
        return Reply(ReservationOut.of(reservations.get(order_id)))

    @api.post(
        "/reservations/states",
        scopes=("service", "admin"),
        body=StatesQuery,
        returns={200: Settled},
        body_at_least=LONGEST_BODY,
    )
    def show_states(body: StatesQuery) -> Reply:
        """Show the states of orders' reservations."""
        return Reply(Settled.of(body.order_ids, reservations.states(body.order_ids)))

    @api.post(
        "/reservations/settle", scopes=("service",), body=Settle, returns={200: Settled}, body_at_least=LONGEST_BODY
    )
    def settle(body: Settle) -> Reply:
        """Take the order service's word: verify the reservations of orders that stand, release those of void ones."""
        states = reservations.settle({order.order_id: (order.tx_id, order.fate) for order in body.orders})
        return Reply(Settled.of([order.order_id for order in body.orders], states))
