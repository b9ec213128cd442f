"""The saga that returns a paid order: money back, pieces back, the coupon back.

Each step is one word to a participant that holds something for the order: the order is void. A reservation that is
released stays so, whichever process says it again, so that it is the step's barrier, and the step is never refused.
None can be undone: money is gone, and pieces may have been sold to others. So a return goes forward only
(docs/decisions/0045).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from common.errors import PeerUnavailable
from halfmessage.saga.definition import Call, Outside, Saga
from order.clients.pay import PayClient, PaymentStatus
from order.model import Order
from order.service.participants import Participant
from order.service.reading import OrderReader

RETURN: Final = "return"
"""The saga's name; a run's key is the order's id."""
REFUND: Final = "refund"
_STEPS: Final = (REFUND, "restock", "coupon")
_STEP_AT: Final = {"pay": REFUND, "stock": "restock", "flash": "restock", "coupon": "coupon"}
"""At which step a participant is told; one that a deployment has added has a step of its own name."""
_DEADLINE: Final = 24 * 3600.0  # seconds; of no consequence, as nothing turns back
_UNTOLD: Final = "Pay knows of no money of this order, which was paid: have the provider send its events again."


def return_sagas(
    reader: OrderReader, participants: Sequence[Participant], payments: PayClient | None, *, within: float
) -> list[Saga]:
    """Return the definitions of returns, that of new ones first; a try of a step takes `within` seconds at most.

    Beside the deployment's own there is that without added participants: of returns from before they were added.
    """
    added = tuple(one.name for one in participants if one.name not in _STEP_AT)

    def step(name: str) -> Outside:
        told = [one for one in participants if _STEP_AT.get(one.name, one.name) == name]
        do: Callable[[Call], Any] = partial(_void, reader=reader, participants=told)
        if name == REFUND:
            do = partial(_refund, void=do, reader=reader, payments=payments)
        return Outside(name, do=do, undo=None, needs=(), within=within)

    shapes = [(*_STEPS, *added), _STEPS] if added else [_STEPS]
    return [Saga(RETURN, [step(name) for name in shape], deadline=_DEADLINE) for shape in shapes]


def _void(call: Call, *, reader: OrderReader, participants: Sequence[Participant]) -> None:
    """Tell those participants that the order needs that it is void. Raise `PeerUnavailable`: tell them again."""
    order = reader.get(int(call.key), owner=None)
    for participant in participants:
        if participant.needs(order):
            _tell(participant, order)


def _tell(participant: Participant, order: Order) -> None:
    states = participant.settle([(order.order_id, order.tx_id, "void")])
    if states.get(order.order_id) != "released":
        raise PeerUnavailable(f"The {participant.name} service has not let go of the order.")


def _refund(
    call: Call, *, void: Callable[[Call], None], reader: OrderReader, payments: PayClient | None
) -> dict[str, str] | None:
    """Have the money sent back, and see that it was: pay sends it, and tries again by itself.

    Return what became of the payment; None: no provider took money. Raise `PeerUnavailable`: the money is on its way,
    or pay, restored from a backup, has not heard of it again; look again.
    """
    void(call)
    order = reader.get(int(call.key), owner=None)
    if payments is None:
        return None
    payment = payments.look_up([order.order_id]).get(order.order_id)
    if payment is None or payment.status is PaymentStatus.CLOSED:
        if order.paid_through is not None:
            raise PeerUnavailable(_UNTOLD)
        return None
    if payment.status is not PaymentStatus.REFUNDED:
        raise PeerUnavailable(f"The money is on its way back: the payment is {payment.status}.")
    return {"payment": payment.status.value}
