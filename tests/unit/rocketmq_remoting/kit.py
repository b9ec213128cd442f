"""What the tests of the adapter for RocketMQ 4 share."""

from collections.abc import Callable, Sequence

from halfmessage.mq.port import (
    Checker,
    Delivery,
    Message,
    Verdict,
)
from halfmessage.mq.rocketmq_remoting.broker import RemotingBroker

ROLLBACK = Message(
    "order_rollback",
    b'{"tx_id":"t1"}\x00\xff',
    tag="rollback",
    keys=("7001", "7002"),
    properties={"tx_id": "t1", "deliver_if": "aborted", "said": "grüezi 你好", "odd": "a\x01b\x02c", "KEYS": "no keys"},
)
COMMITS, ROLLS_BACK, UNKNOWN = range(3)
CONSUMED, LATER = range(2)
Open = Callable[..., RemotingBroker]


class Inbox:
    """A handler that keeps what it gets."""

    def __init__(self, answer: Callable[[Delivery], object] = lambda _: Verdict.ACK) -> None:
        self.answer = answer
        self.got: list[Delivery] = []

    def __call__(self, deliveries: Sequence[Delivery]) -> list[Verdict]:
        self.got += deliveries
        return [self.answer(delivery) for delivery in deliveries]  # type: ignore[misc]

    @property
    def bodies(self) -> list[bytes]:
        return [delivery.message.body for delivery in self.got]


def says(answer: object) -> Checker:
    return lambda _half: answer  # type: ignore[return-value]
