"""What the clients of all participants have in common: an order becomes what is wanted, a refusal an error."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlalchemy import ColumnElement

from common.answers import readable
from common.reservations.client import ReservationClient
from halfmessage.errors import HalfMessageError, Unavailable
from order.model import Order

DEDUCTED = "deducted"
RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Deduction:
    """A participant's verdict on one order; without a refusal it holds what the order needs."""

    verdict: str
    refusal: HalfMessageError | None = None

    @property
    def is_held(self) -> bool:
        """Whether the participant holds something for the order."""
        return self.verdict == DEDUCTED


class ParticipantClient(ReservationClient):
    """Reservations at one participant, for orders; see `order.service.participants.Participant`."""

    needed: ClassVar[ColumnElement[bool]]
    hears_of_payment: ClassVar[bool] = False
    made_when_paid: ClassVar[bool] = False

    @abstractmethod
    def needs(self, order: Order) -> bool:
        """See `Participant`."""

    @abstractmethod
    def want(self, order: Order) -> dict[str, Any]:
        """Return what is wanted for an order, as the participant's body has it beside the id."""

    @abstractmethod
    def refusal(self, item: Mapping[str, Any]) -> HalfMessageError:
        """Return the error that an order gets by a verdict of the participant's own words."""

    def deduct(self, tx_id: int, orders: Sequence[Order], *, revive: bool = False) -> dict[int, Deduction]:
        """See `Participant`. Raise `PeerUnavailable`: it may have been done."""
        found = self.reserve(tx_id, {order.order_id: self.want(order) for order in orders}, revive=revive)
        with readable(self.name):
            return {order_id: self._deduction(item) for order_id, item in found.items()}

    def _deduction(self, item: Mapping[str, Any]) -> Deduction:
        verdict = str(item["verdict"])
        if verdict == DEDUCTED:
            return Deduction(verdict)
        if verdict == RELEASED:
            detail = f"The order was given up before its {self.name} was deducted; nothing was created, try again."
            return Deduction(verdict, Unavailable(detail))
        return Deduction(verdict, self.refusal(item))
