"""The pay service for the order service's tests: payments in memory, and a provider that does as it is told."""

from collections.abc import Callable, Sequence
from typing import Any

from common.errors import PeerUnavailable
from halfmessage.errors import NotFound
from order.clients.participant import Deduction
from order.clients.pay import Attempt, PayClient, Payment, PaymentStatus
from order.model import Order, UnknownProvider
from tests.faults import Faults
from tests.participants import InMemoryParticipant

PAGE = "https://pay.example/1"


class InMemoryPay(InMemoryParticipant, PayClient):
    """`order.clients.pay.PayClient` without the network.

    A try succeeds at once, unless its scenario is `page` or `declined`; `at_provider` are orders whose payment the
    provider took and that we were not told of.
    """

    name = "pay"

    def __init__(self, faults: Faults) -> None:
        super().__init__(faults)
        self.payments: dict[int, Payment] = {}
        self.at_provider: dict[int, str] = {}
        self.questions: list[list[int]] = []
        self.look_ups: list[list[int]] = []
        self.story: dict[str, Any] = {}
        self.while_asked: Callable[[], object] = lambda: None

    def deduct(self, tx_id: int, orders: Sequence[Order], *, revive: bool = False) -> dict[int, Deduction]:
        del revive  # see `PayClient`
        return super().deduct(tx_id, orders)

    def take(self, order: Order) -> None:
        self.payments.setdefault(order.order_id, Payment(PaymentStatus.OPEN))

    def give_back(self, order_id: int) -> None:
        was = self.payments[order_id]
        paid = was.status is PaymentStatus.SUCCEEDED
        self.payments[order_id] = Payment(PaymentStatus.REFUNDING if paid else PaymentStatus.CLOSED, was.provider)

    def held(self, order_id: int) -> dict[str, Any]:
        return {"amount": 1, "status": self.payments[order_id].status} if order_id in self.payments else {}

    def succeed(self, order_id: int, provider: str = "sandbox") -> Payment:
        """Take the money, if it is not too late."""
        payment = self.payments.get(order_id, Payment(PaymentStatus.OPEN))
        if payment.status is PaymentStatus.OPEN:
            self.payments[order_id] = Payment(PaymentStatus.SUCCEEDED, provider)
        elif payment.status is PaymentStatus.CLOSED:
            self.payments[order_id] = Payment(PaymentStatus.REFUNDING)
        return self.payments[order_id]

    def attempt(self, order: Order, provider: str, scenario: str | None) -> Attempt:
        self._faults.passing("pay.attempt", "before")
        if provider != "sandbox":
            raise UnknownProvider
        if not self.deduct(order.tx_id, [order])[order.order_id].is_held:
            return Attempt(self.payments.get(order.order_id, Payment(PaymentStatus.CLOSED)))
        if scenario == "declined":
            return Attempt(Payment(PaymentStatus.OPEN), refusal="card declined")
        if scenario == "page":
            return Attempt(Payment(PaymentStatus.OPEN), pay_url=PAGE)
        if scenario == "slow":
            return Attempt(Payment(PaymentStatus.OPEN))
        attempt = Attempt(self.succeed(order.order_id, provider))
        self._faults.passing("pay.attempt", "after")
        return attempt

    def ask(self, order_ids: Sequence[int], within: float) -> dict[int, Payment]:
        assert 0 < within < 10
        self.questions.append(list(order_ids))
        self._faults.passing("pay.ask", "before")
        for order_id in order_ids:
            if order_id in self.at_provider:
                self.succeed(order_id, self.at_provider.pop(order_id))
        self.while_asked()
        return {order_id: self.payments[order_id] for order_id in order_ids if order_id in self.payments}

    def look_up(self, order_ids: Sequence[int]) -> dict[int, Payment]:
        self.look_ups.append(list(order_ids))
        self._faults.passing("pay.look_up", "before")
        return {order_id: self.payments[order_id] for order_id in order_ids if order_id in self.payments}

    def payment(self, order_id: int) -> dict[str, Any]:
        self._faults.passing("pay.payment", "before")
        if order_id not in self.payments:
            raise NotFound
        return {"attempts": [], "events": [], "charges": []} | self.story


PAY_DOWN = PeerUnavailable("The pay service is unavailable.")
