"""What the broker keeps of an order while the order service does not answer: why nothing goes on, and what will.

The story needs the order service, which has the order's row and the transactions' records. The broker is a witness of
its own, and says alone what is still open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from common.registry import PAYMENT_TOPIC, PURCHASE_TOPIC, REQUEST_TOPIC
from console.clients.broker import Messages
from console.story.words import plain, times, when
from halfmessage.clock import now_ms
from halfmessage.mq.port import MessageView, State
from halfmessage.tx.coordinator import DELIVER_IF
from halfmessage.tx.record import Outcome

_PURPOSES: Final[Mapping[str, str]] = MappingProxyType(
    {PAYMENT_TOPIC: "paying", REQUEST_TOPIC: "taking in", PURCHASE_TOPIC: "buying"}
)
_ASKED: Final[Mapping[str, str]] = MappingProxyType({PAYMENT_TOPIC: "pay", PURCHASE_TOPIC: "flash"})
_MOST: Final = 50  # messages of one order that a page shows; an order has about five


@dataclass(frozen=True, slots=True)
class Kept:
    """Messages of an order, newest first, and in one sentence what they wait for; `is_stuck`: for an operator."""

    views: Sequence[MessageView]
    sentence: str
    is_stuck: bool


def kept_of(messages: Messages, order_id: int) -> Kept:
    """Return what the broker keeps of an order. Raise `BrokerError`."""
    views = messages.console().find(key=str(order_id), limit=_MOST)
    for state, say in ((State.DEAD, _dead), (State.PARKED, _parked), (State.HALF, _half)):
        found = next((view for view in views if view.state is state), None)
        if found is not None:
            return Kept(views, say(found), state is not State.HALF)
    if not views:
        return Kept((), "The broker keeps no message of it: what becomes of it the order service alone knows.", False)
    return Kept(views, "No half message of it is open, and none of its messages is dead.", False)


def purpose_of(view: MessageView) -> str:
    """Return what a half message is for: an aborted placement has its rollback delivered, a committed closing has."""
    if view.message.topic in _PURPOSES:
        return _PURPOSES[view.message.topic]
    return "placing" if view.message.properties.get(DELIVER_IF) == Outcome.ABORTED.value else "closing"


def _dead(view: MessageView) -> str:
    return (
        f"Stuck: message {plain(view.message_id)} ({plain(view.message.topic)}) is a dead letter, which is delivered "
        "again only when an operator resends it."
    )


def _parked(view: MessageView) -> str:
    return (
        f"Stuck: the broker asked {times(view.check_count)} how {purpose_of(view)} ended and got no answer that "
        "decides, so it asks again only when an operator resumes the half message, once its service is there."
    )


def _half(view: MessageView) -> str:
    service = _ASKED.get(view.message.topic, "the order service")
    asked = f"asked {times(view.check_count)} so far; " if view.check_count else ""
    begun = f"{purpose_of(view).capitalize()} has begun, and the broker has not heard how it ended ({asked}"
    if view.next_check_at is None:
        return (
            f"{begun}it asks again at a time that it does not tell): {service} answers once a process of it is there."
        )
    due = when(view.next_check_at, now_ms())
    if view.next_check_at <= now_ms():
        return f"{begun}the next check was due {due}): it asks {service} as soon as a process of it is there."
    return f"{begun}the next check is due {due}): it asks {service} then, or once a process of it is there after that."
