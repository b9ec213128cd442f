"""The flash service for the order service's tests: pieces of sales by purchase, kept in memory by its rules."""

from collections import Counter
from typing import Any

from halfmessage.errors import NotFound
from order.clients.flash import FlashClient, Purchase
from order.clients.participant import Deduction
from order.model import AlreadyBought, Order, SoldOut
from tests.faults import Faults
from tests.participants import InMemoryParticipant


class InMemoryFlash(InMemoryParticipant):
    """Holds a purchase's pieces for each order of a sale, and knows purchases whose messages are on their way."""

    name = "flash"
    needed = FlashClient.needed
    hears_of_payment = False
    made_when_paid = False

    def __init__(self, faults: Faults) -> None:
        super().__init__(faults)
        self.left = 10
        self.holders: Counter[int] = Counter()
        self.held_by: dict[int, Order] = {}
        self.limited: set[str] = set()
        """Users that have bought as much as they may."""
        self.young: dict[int, str] = {}
        """Whose purchases are which, as it tells them."""

    def needs(self, order: Order) -> bool:
        return order.sale_id is not None

    def take(self, order: Order) -> Deduction | None:
        purchase_id = order.purchase_id or 0
        if order.user_id in self.limited:
            return Deduction("already-bought", AlreadyBought())
        quantity = sum(line.quantity for line in order.lines)
        if not self.holders[purchase_id]:
            if quantity > self.left:
                return Deduction("sold-out", SoldOut())
            self.left -= quantity
        self.holders[purchase_id] += 1
        self.held_by[order.order_id] = order
        return None

    def give_back(self, order_id: int) -> None:
        order = self.held_by[order_id]
        self.holders[order.purchase_id or 0] -= 1
        if not self.holders[order.purchase_id or 0]:
            self.left += sum(line.quantity for line in order.lines)

    def held(self, order_id: int) -> dict[str, Any]:
        order = self.held_by[order_id]
        return {"sale_id": str(order.sale_id), "purchase_id": str(order.purchase_id)}

    def purchase(self, purchase_id: int) -> Purchase:
        self._faults.passing("flash.purchase", "before")
        if purchase_id not in self.young:
            raise NotFound
        return Purchase(purchase_id, self.young[purchase_id])
