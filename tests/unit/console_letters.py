"""A broker's file with messages that lie still, dead or parked, for tests of the console."""

from collections.abc import Sequence
from pathlib import Path

from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import (
    BrokerOptions,
    CheckAnswer,
    Console,
    Delivery,
    HalfMessage,
    Message,
    MessageView,
    State,
    Verdict,
)
from tests.support import eventually

TOPIC, GROUP = "order_rollback", "stock"
_SOON = BrokerOptions(
    check_first_after=0.02,
    check_interval=0.5,
    check_max=1,
    retry_first_after=0.01,
    retry_longest=0.02,
    max_deliveries=2,
)


class Lying:
    """Makes messages lie still, and takes them once `answer` and `check` say so."""

    def __init__(self, folder: Path) -> None:
        self.answer, self.check = Verdict.RETRY, CheckAnswer.UNKNOWN
        self.broker = open_broker(f"embedded:///{folder}/broker.db", _SOON)
        self.got: list[str] = []
        self.producer = self.broker.producer("order", self._check, topics=(TOPIC,))
        self.broker.consumer(GROUP, TOPIC, self._handle)

    @property
    def console(self) -> Console:
        return self.broker.console()

    def view(self, message_id: str) -> MessageView:
        (found,) = self.console.find(message_id=message_id)
        return found

    def until(self, message_id: str, state: State) -> None:
        eventually(lambda: self.view(message_id).state is state, within=20)

    def dead(self, body: bytes = b"{}", **fields: object) -> str:
        """Return the id of a message that has died."""
        message_id = self.producer.send(Message(TOPIC, body, keys=("7",), **fields))  # type: ignore[arg-type]
        self.until(message_id, State.DEAD)
        return message_id

    def parked(self) -> str:
        """Return the id of a half message that is parked."""
        message_id = self.producer.begin(Message(TOPIC, b"{}", keys=("8",))).message_id
        self.until(message_id, State.PARKED)
        return message_id

    def close(self) -> None:
        self.broker.close()

    def _check(self, _: HalfMessage) -> CheckAnswer:
        return self.check

    def _handle(self, deliveries: Sequence[Delivery]) -> list[Verdict]:
        self.got += [delivery.message_id for delivery in deliveries]
        return [self.answer] * len(deliveries)
