"""The services that hold something for an order, none of them by name: asked at once, each with its own verdict."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sqlalchemy import ColumnElement

from common.aside import Aside, result
from common.reservations.client import LiveReservation
from halfmessage.errors import HalfMessageError
from halfmessage.participant.model import Fate
from order.clients.participant import Deduction
from order.model import Order


class Participant(Protocol):
    """A service that holds something for orders. Every call may be repeated; `PeerUnavailable` means: maybe done."""

    name: str

    @property
    def needed(self) -> ColumnElement[bool]:
        """Which rows of `orders` need it."""

    @property
    def hears_of_payment(self) -> bool:
        """Whether it has to be told that an order is paid."""

    @property
    def made_when_paid(self) -> bool:
        """Whether an unpaid order may stand without a reservation, which is made when it is paid."""

    def needs(self, order: Order) -> bool:
        """Tell whether this order needs it."""

    def deduct(self, tx_id: int, orders: Sequence[Order], *, revive: bool = False) -> dict[int, Deduction]:
        """Reserve for each of the orders whole or not at all; return a verdict for each, by order id.

        `revive`: also those that were released, which only the audit may say.
        """

    def unverified(self, *, older_than: int, after: int, limit: int) -> list[LiveReservation]:
        """Return live reservations made before `older_than` (ms) that are not confirmed, ids above `after`."""

    def live(self, *, older_than: int, after: int, limit: int) -> list[LiveReservation]:
        """Return the same, and those that are confirmed."""

    def settle(self, fates: Sequence[tuple[int, int, Fate]]) -> Mapping[int, str | None]:
        """Tell the fate of orders (order id, tx id, fate); return the state of each order's reservation."""

    def states(self, order_ids: Collection[int]) -> dict[int, str | None]:
        """Return the state of each order's reservation, None where there is none, and change nothing."""

    def reservation(self, order_id: int) -> dict[str, Any]:
        """Return one reservation as the participant tells it. Raise `NotFound`."""


# Seconds that a batch waits for an answer beside after the first one is there: calls have deadlines of their own, but
# they may wait for a thread; and a transaction that is as old is given up by its check-back.
_ANSWERED_WITHIN: Final = 5.0


@dataclass(frozen=True, slots=True)
class Reserved:
    """What the participants that an order needs said of it: held by all of them, unless one gave a `refusal`."""

    refusal: HalfMessageError | None
    is_held: bool
    """Whether any of them holds something for it."""


def reserve(
    participants: Sequence[Participant], aside: Aside, tx_id: int, orders: Sequence[Order]
) -> dict[int, Reserved]:
    """Ask all participants at once, each for the orders that need it; return what became of each order, by its id.

    A participant that no order needs is not asked. Raise `Unavailable` where one did not answer: any of them may hold
    something.
    """
    asked = [(one, needing) for one in participants if (needing := [order for order in orders if one.needs(order)])]
    beside = [aside.start(one.deduct, tx_id, needing) for one, needing in asked[1:]]
    answers = [one.deduct(tx_id, needing) for one, needing in asked[:1]]
    answers += [result(answer, _ANSWERED_WITHIN) for answer in beside]
    return {
        order.order_id: _merged([said[order.order_id] for said in answers if order.order_id in said])
        for order in orders
    }


def _merged(deductions: Sequence[Deduction]) -> Reserved:
    refusal = next((deduction.refusal for deduction in deductions if deduction.refusal is not None), None)
    return Reserved(refusal, any(deduction.is_held for deduction in deductions))
