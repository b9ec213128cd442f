"""What the clients of all participants have in common: an order becomes what is wanted, a refusal an error."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Final, Self, TypeAlias

from sqlalchemy import ColumnElement, true

from common.answers import readable
from common.errors import OrdersError
from common.peer import Peer
from common.reservations.client import ReservationClient
from halfmessage.errors import HalfMessageError, Unavailable
from order.clients.lookups import LookUps
from order.model import Order

DEDUCTED = "deducted"
RELEASED = "released"
EVERY_ORDER: Final = true()

LookUpAt: TypeAlias = Callable[[type[LookUps[Any]], Peer], Any]
"""Makes what looks up items of a kind at a service, as the settings have it."""


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

    needed: ClassVar[ColumnElement[bool]] = EVERY_ORDER
    hears_of_payment: ClassVar[bool] = False
    made_when_paid: ClassVar[bool] = False
    seldom_needed: ClassVar[bool] = False
    """Whether orders can be placed, most of them, while it is down."""

    @classmethod
    def connect(cls, peer: Peer, name: str, look_up_at: LookUpAt) -> Self:  # noqa: ARG003 - for who prices by what it knows
        """Return the client of the participant `name`, which is called through `peer`."""
        return cls(peer, name)

    def needs(self, order: Order) -> bool:  # noqa: ARG002 - every order, unless a participant says otherwise
        """See `Participant`; says of an order what `needed` says of its row."""
        return True

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


def client_of(name: str) -> type[ParticipantClient]:
    """Return the client of a participant: `<Name>Client` of the module beside this one that is called as it is.

    Raise `OrdersError` where there is none.
    """
    module = f"order.clients.{name}"
    try:
        found = getattr(import_module(module), f"{name.capitalize()}Client", None)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        found = None
    if not (isinstance(found, type) and issubclass(found, ParticipantClient)):
        raise OrdersError(f"ORDERS_PARTICIPANTS names {name}, of which order/clients has no client.")
    return found
