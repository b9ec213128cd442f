"""The pay service: a payment for each order that costs something, and the tries to pay it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

from common.answers import by_id, readable
from common.errors import Invalid, PeerUnavailable
from common.peer import Peer
from halfmessage.errors import HalfMessageError, NotFound
from order.clients.participant import Deduction, ParticipantClient
from order.model import Order, Status, UnknownProvider, orders

_LOOK_UP_WITHIN: Final = 1.0  # seconds that an order is shown later, at most, for the sake of its payment
_ATTEMPT_WITHIN: Final = 10.0  # seconds; as long as a provider may take to say where one pays
_PROVIDERS_WITHIN: Final = 32.0  # seconds; more than a call that waits for a provider may ever take
_MARGIN: Final = 0.5  # seconds beside those in which pay asks providers: for the call itself
_NOT_KNOWN: Final = (
    "It is not known whether the money was taken: pay again; an order whose money came is paid soon, or the money goes "
    "back."
)


class PaymentStatus(StrEnum):
    """Where a payment stands, in pay's words."""

    OPEN = "open"
    CLOSED = "closed"
    SUCCEEDED = "succeeded"
    REFUNDING = "refunding"
    REFUNDED = "refunded"


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment as it stands; `provider`: who took the money; None where none did."""

    status: PaymentStatus
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of a try to pay.

    `pay_url`: where the customer goes, `refusal`: the provider's words, each None where there is none.
    """

    payment: Payment
    pay_url: str | None = None
    refusal: str | None = None


class PayClient(ParticipantClient):
    """Reservations of payments, and what becomes of them.

    An order of the release before there was a pay service has none until it is paid; one that was paid then needs none.
    """

    refusals = frozenset({"refused"})
    needed = (orders.c.total_amount > 0) & ((orders.c.status != Status.PAID.value) | orders.c.paid_through.is_not(None))
    hears_of_payment = True
    made_when_paid = True

    def __init__(self, peer: Peer, name: str) -> None:
        """Take the pay service, and its name.

        What takes as long as a provider does goes over a link of its own: one that fails stops no order from being
        placed.
        """
        super().__init__(peer, name)
        self._providers = peer.beside("providers", timeout=_PROVIDERS_WITHIN)

    def needs(self, order: Order) -> bool:
        """See `Participant`."""
        return order.total_amount > 0 and (order.status is not Status.PAID or order.paid_through is not None)

    def deduct(self, tx_id: int, orders: Sequence[Order], *, revive: bool = False) -> dict[int, Deduction]:
        """See `Participant`. What was released is not revived: its money went back, or goes.

        A payment that a restored database lacks is opened anew, of a paid order too: until it is there, pay would send
        back what the provider tells of it once more.
        """
        del revive
        return super().deduct(tx_id, orders)

    def want(self, order: Order) -> dict[str, Any]:
        """Return who owes how much until when."""
        return {
            "user_id": order.user_id,
            "amount": order.total_amount,
            "currency": order.currency,
            "expires_at": order.expires_at,
        }

    def refusal(self, item: Mapping[str, Any]) -> HalfMessageError:  # noqa: ARG002 - there is but one
        """Return that pay takes no payment of what the order costs."""
        message = "No payment can be taken of this amount in this currency"
        return Invalid(errors=[{"pointer": "", "message": message}])

    def attempt(self, order: Order, provider: str, scenario: str | None) -> Attempt:
        """Try to pay an order. Raise `UnknownProvider`, `Invalid`, or `PeerUnavailable`: it may have been paid."""
        asked = {"provider": provider, "scenario": scenario, "tx_id": str(order.tx_id), **self.want(order)}
        try:
            path = f"/payments/{order.order_id}/attempts"
            status, answer = self._providers.call("POST", path, asked, within=_ATTEMPT_WITHIN)
            if status == HTTPStatus.UNPROCESSABLE_ENTITY:
                raise self._refused(answer)
            return self._attempt(order.order_id, self._expect(status, answer))
        except PeerUnavailable as error:
            raise PeerUnavailable(_NOT_KNOWN) from error

    def _refused(self, answer: Mapping[str, Any]) -> Invalid:
        """Return why no try was begun: what an order of ours tells of itself is never refused, only how to pay it."""
        with readable(self.name):
            if answer["type"].endswith(UnknownProvider.slug):
                message = "Input should be a provider through which this deployment takes payments"
                return UnknownProvider(errors=[{"pointer": "/provider", "message": message}])
        return Invalid(errors=[{"pointer": "/scenario", "message": "Input should be a scenario of the provider"}])

    def _attempt(self, order_id: int, answer: Mapping[str, Any]) -> Attempt:
        with readable(self.name):
            if int(answer["payment_id"]) != order_id:
                raise ValueError("another payment than was asked for")
            return Attempt(_payment(answer), _text(answer["pay_url"]), _text(answer["refusal"]))

    def ask(self, order_ids: Sequence[int], within: float) -> dict[int, Payment]:
        """Have providers asked about orders that are to be closed; return the payments that exist.

        It may ask them for `within` seconds. An order that is missing, or open, was not paid as far as is known in
        time. Raise `PeerUnavailable`.
        """
        return self._payments(self._providers, "/payments/ask", order_ids, within + _MARGIN)

    def look_up(self, order_ids: Sequence[int]) -> dict[int, Payment]:
        """Return those of the orders' payments that exist, within a second. Raise `PeerUnavailable`."""
        return self._payments(self._peer, "/payments/lookup", order_ids, _LOOK_UP_WITHIN)

    def _payments(self, peer: Peer, path: str, order_ids: Collection[int], within: float) -> dict[int, Payment]:
        asked = {"order_ids": [str(order_id) for order_id in order_ids]}
        answer = self._expect(*peer.call("POST", path, asked, within=within))
        with readable(self.name):
            found = by_id(answer["payments"], "order_id")
            if not found.keys() <= set(order_ids):
                raise ValueError("payments that were not asked for")
            return {order_id: _payment(item) for order_id, item in found.items()}

    def payment(self, order_id: int) -> dict[str, Any]:
        """Return one payment as pay tells it. Raise `NotFound`."""
        status, answer = self._peer.call("GET", f"/payments/{order_id}")
        if status == HTTPStatus.NOT_FOUND:
            raise NotFound
        return self._expect(status, answer)


def _payment(item: Mapping[str, Any]) -> Payment:
    status, provider = PaymentStatus(item["status"]), _text(item["provider"])
    if status is PaymentStatus.SUCCEEDED and provider is None:
        raise ValueError("a success of no order")
    return Payment(status, provider)


def _text(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError("no text")
    return value
