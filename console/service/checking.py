"""Half messages asked about now: by the broker where it can be told to, else by the service that answers check-backs.

Nothing is decided here. A check-back is answered by the transaction's record alone, and so is this, with the same code;
a transaction that may still be under way is left to it.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from common.registry import PAYMENT_TOPIC, REQUEST_TOPIC, ROLLBACK_TOPIC
from console.clients.broker import Messages
from console.clients.services import Services
from halfmessage.errors import ConsoleUnavailable, MessageNotFound
from halfmessage.mq.port import MessageView, State
from halfmessage.tx.coordinator import TX_ID

RECORDS_AT: Final[Mapping[str, str]] = MappingProxyType(
    {ROLLBACK_TOPIC: "order", REQUEST_TOPIC: "order", PAYMENT_TOPIC: "pay"}
)
"""Which service tells the record that a half message of a topic is decided by; those of purchases none does."""
_MOST: Final = 50  # half messages of one order: it has one or two
_DECIDED: Final[Mapping[Any, str]] = MappingProxyType(
    {
        None: "not decided, as it may still be under way: past its deadline it is",
        "committed": "committed",
        "aborted": "given up for good",
        "expired": "older than its record is kept, so that its message is dropped",
    }
)


class Checking:
    """Has half messages of orders asked about now."""

    def __init__(self, messages: Messages, services: Services) -> None:
        """Take the broker, and the services that answer check-backs."""
        self._messages, self._services = messages, services

    def check(self, token: str, order_id: int) -> str:
        """Have every open half message of an order asked about; return what was done, as one reads it.

        Raise `MessageNotFound` where none is open, `BrokerError`, or as `Services.post` does.
        """
        found = self._messages.console().find(key=str(order_id), state=State.HALF, limit=_MOST)
        if not found:
            raise MessageNotFound("No half message of this order is open: there is nothing to ask about.")
        try:
            asked = sum(self._asked(view) for view in found)
        except ConsoleUnavailable as error:
            return f"{error.detail} {self._decided(token, found)}"
        return f"The broker asks now about {_half_messages(asked)}: the answer is a step below, once it is there."

    def _asked(self, view: MessageView) -> bool:
        """Return whether the broker asks about it; not where it has ended meanwhile."""
        try:
            self._messages.console().check_now(view.message_id)
        except MessageNotFound:
            return False
        return True

    def _decided(self, token: str, found: Sequence[MessageView]) -> str:
        """Have the services that are asked in check-backs decide now, and order finish what hangs on it."""
        told = [self._decision(token, view) for view in found]
        self._services.post("order", "/sweep", token)
        return " ".join((*told, "Order has swept; the message itself ends when it is asked about."))

    def _decision(self, token: str, view: MessageView) -> str:
        tx_id, service = view.message.properties.get(TX_ID, ""), RECORDS_AT.get(view.message.topic)
        if service is None or not (tx_id.isascii() and tx_id.isdecimal()):
            return f"Message {view.message_id} has no transaction of ours."
        outcome = self._services.post(service, f"/admin/records/{tx_id}/check", token).get("outcome")
        return f"So {service} was asked itself: transaction {tx_id} is {_DECIDED.get(outcome, outcome)}."


def _half_messages(number: int) -> str:
    return "its half message" if number == 1 else f"{number} half messages of it"
