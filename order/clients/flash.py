"""The flash service: the pieces of orders that were bought in a sale, and purchases that no order is known of yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from common.answers import readable
from halfmessage.errors import HalfMessageError, NotFound
from order.clients.participant import ParticipantClient
from order.model import AlreadyBought, Order, SoldOut, orders


@dataclass(frozen=True, slots=True)
class Purchase:
    """A purchase that got its pieces."""

    purchase_id: int
    user_id: str


class FlashClient(ParticipantClient):
    """Reservations of a sale's pieces."""

    refusals = frozenset({"sold-out", "already-bought"})
    needed = orders.c.sale_id.is_not(None)
    seldom_needed = True

    def needs(self, order: Order) -> bool:
        """See `Participant`."""
        return order.sale_id is not None

    def want(self, order: Order) -> dict[str, Any]:
        """Return the purchase, and which transaction took its pieces where that is known."""
        purchased_in = None if order.purchased_in is None else str(order.purchased_in)
        return {
            "sale_id": str(order.sale_id),
            "purchase_id": str(order.purchase_id),
            "user_id": order.user_id,
            "quantity": sum(line.quantity for line in order.lines),
            "purchased_in": purchased_in,
        }

    def refusal(self, item: Mapping[str, Any]) -> HalfMessageError:
        """Return why the purchase has no pieces."""
        return AlreadyBought() if item["verdict"] == "already-bought" else SoldOut()

    def purchase(self, purchase_id: int) -> Purchase:
        """Return a purchase whose order may be still to come. Raise `NotFound` or `PeerUnavailable`."""
        status, answer = self._peer.call("GET", f"/internal/purchases/{purchase_id}")
        if status == HTTPStatus.NOT_FOUND:
            raise NotFound
        found = self._expect(status, answer)
        with readable(self.name):
            if int(found["purchase_id"]) != purchase_id:
                raise ValueError("another purchase than was asked for")
            return Purchase(purchase_id, str(found["user_id"]))
