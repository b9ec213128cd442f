"""The internal REST calls of a participant, for the order service: reservations taken, listed, shown and settled."""

from typing import Any

from common.reservations.schema import (
    LONGEST_BODY,
    DecisionOut,
    Deduct,
    ReservationOut,
    Settle,
    Settled,
    StatesQuery,
    UnverifiedOut,
    UnverifiedQuery,
    WantIn,
    decisions_answer,
    deduct_body,
)
from common.web import Api, Reply
from halfmessage.errors import NotFound
from halfmessage.participant.reservations import Reservations


def install_reservations(
    api: Api,
    reservations: Reservations[Any],
    *,
    want: type[WantIn],
    decision: type[DecisionOut],
    reservation: type[ReservationOut],
) -> None:
    """Declare the routes; the participant's schemas say what an order wants, what it got, and what it holds."""
    _install_deducting(api, reservations, want, decision)
    _install_looks(api, reservations, reservation)
    _install_settling(api, reservations)


def _install_deducting(
    api: Api, reservations: Reservations[Any], want: type[WantIn], decision: type[DecisionOut]
) -> None:
    answer = decisions_answer(decision)

    @api.post(
        "/reservations", scopes=("service",), body=deduct_body(want), returns={200: answer}, body_at_least=LONGEST_BODY
    )
    def deduct(body: Deduct) -> Reply:
        """Deduct orders, each whole or not at all; asked again, answers the same and takes nothing more."""
        decisions = reservations.deduct(body.tx_id, body.wants(), revive=body.revive)
        return Reply(answer(orders=[decision.of(each) for each in decisions]))


def _install_looks(api: Api, reservations: Reservations[Any], reservation: type[ReservationOut]) -> None:
    @api.get("/reservations", scopes=("service", "admin"), query=UnverifiedQuery, returns={200: UnverifiedOut})
    def list_unverified(query: UnverifiedQuery) -> Reply:
        """List live reservations that the order service has not confirmed, or all."""
        found = reservations.unverified(
            older_than=query.older_than, after=query.after, limit=query.limit, or_verified=query.verified == "any"
        )
        return Reply(UnverifiedOut.of(found))

    @api.get("/reservations/{order_id}", scopes=("service", "admin"), returns={200: reservation}, errors=[NotFound])
    def show_reservation(order_id: int) -> Reply:
        """Show the reservation of one order."""
        return Reply(reservation.of(reservations.get(order_id)))


def _install_settling(api: Api, reservations: Reservations[Any]) -> None:
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
        """Take the order service's word: orders that stand or are paid are verified, void ones released."""
        states = reservations.settle({order.order_id: (order.tx_id, order.fate) for order in body.orders})
        return Reply(Settled.of([order.order_id for order in body.orders], states))
