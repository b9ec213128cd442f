"""The order service's side of a participant's internal REST calls."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, Final

from common.answers import of_orders, one_of, readable
from common.errors import PeerUnavailable
from common.peer import Peer
from halfmessage.errors import NotFound
from halfmessage.participant.model import Fate, ReservationState

_STATES: Final = frozenset({*(state.value for state in ReservationState), None})


@dataclass(frozen=True, slots=True)
class LiveReservation:
    """A reservation that holds something."""

    order_id: int
    tx_id: int


class ReservationClient:
    """Reservations at one participant. Every call may be repeated; `PeerUnavailable` means: maybe done."""

    refusals: ClassVar[frozenset[str]] = frozenset()
    """The participant's own words for what it refuses, beside `released`."""

    def __init__(self, peer: Peer, name: str) -> None:
        """Take the participant's service, and its name."""
        self._peer = peer
        self.name = name

    def reserve(
        self, tx_id: int, wants: Mapping[int, Mapping[str, Any]], *, revive: bool = False
    ) -> dict[int, Mapping[str, Any]]:
        """Reserve for orders (order id → what it wants, as the participant's body has it beside the id).

        Return for each order the item of the answer, of which `verdict` was checked: `deducted`, `released`, or one of
        `refusals`. `revive`: also those that were released, which only the audit may say.
        """
        asked = [{"order_id": str(order_id), **want} for order_id, want in wants.items()]
        body = {"tx_id": str(tx_id), "orders": asked} | ({"revive": True} if revive else {})
        answer = self._call("POST", "/reservations", body)
        with readable(self.name):
            found = of_orders(answer["orders"], wants)
            words = {*ReservationState, *self.refusals}
            for item in found.values():
                one_of(words, item["verdict"])
        return found

    def unverified(self, *, older_than: int, after: int, limit: int) -> list[LiveReservation]:
        """Return live reservations made before `older_than` (ms) that are not confirmed, ids above `after`."""
        return self._live(f"older_than={older_than}&after={after}&limit={limit}", after, limit)

    def live(self, *, older_than: int, after: int, limit: int) -> list[LiveReservation]:
        """Return the same, and those that are confirmed."""
        return self._live(f"older_than={older_than}&after={after}&limit={limit}&verified=any", after, limit)

    def _live(self, query: str, after: int, limit: int) -> list[LiveReservation]:
        answer = self._call("GET", f"/reservations?{query}")
        with readable(self.name):
            found = [LiveReservation(int(item["order_id"]), int(item["tx_id"])) for item in answer["items"]]
            order_ids = [after, *(reservation.order_id for reservation in found)]
            if len(found) > limit or order_ids != sorted(set(order_ids)):  # or the next page could be this one again
                raise ValueError("no page of what was asked for")
            return found

    def settle(self, fates: Sequence[tuple[int, int, Fate]]) -> dict[int, str | None]:
        """Tell the fate of orders (order id, tx id, fate); return the state of each order's reservation."""
        asked = [{"order_id": str(o), "tx_id": str(t), "fate": fate} for o, t, fate in fates]
        answer = self._call("POST", "/reservations/settle", {"orders": asked})
        return self._states(answer, [order_id for order_id, _, _ in fates])

    def states(self, order_ids: Collection[int]) -> dict[int, str | None]:
        """Return the state of each order's reservation, None where there is none, and change nothing."""
        answer = self._call("POST", "/reservations/states", {"order_ids": [str(order_id) for order_id in order_ids]})
        return self._states(answer, order_ids)

    def _states(self, answer: Mapping[str, Any], order_ids: Collection[int]) -> dict[int, str | None]:
        with readable(self.name):
            found = of_orders(answer["orders"], order_ids)
            return {order_id: one_of(_STATES, item["state"]) for order_id, item in found.items()}

    def reservation(self, order_id: int) -> dict[str, Any]:
        """Return one reservation as the participant tells it. Raise `NotFound`."""
        status, answer = self._peer.call("GET", f"/reservations/{order_id}")
        if status == HTTPStatus.NOT_FOUND:
            raise NotFound
        found = self._expect(status, answer)
        with readable(self.name):
            return dict(of_orders([found], [order_id])[order_id])

    def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        return self._expect(*self._peer.call(method, path, body))

    def _expect(self, status: int, answer: Any) -> dict[str, Any]:
        if status != HTTPStatus.OK or not isinstance(answer, dict):
            raise PeerUnavailable(f"The {self.name} service refused a call ({status}); nothing was changed, try again.")
        return answer
