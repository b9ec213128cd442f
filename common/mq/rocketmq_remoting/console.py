"""There is no console on RocketMQ 4's client interface."""

from typing import NoReturn

from common.errors import BrokerError
from common.mq.port import BrokerStats, MessageView, State


class RemotingConsole:
    """Implements `common.mq.port.Console` by saying where to look instead."""

    def find(
        self,
        *,
        topic: str | None = None,
        key: str | None = None,
        message_id: str | None = None,
        state: State | None = None,
        limit: int = 100,
    ) -> list[MessageView]:
        """Raise `BrokerError`."""
        del topic, key, message_id, state, limit
        _refuse()

    def stats(self) -> BrokerStats:
        """Raise `BrokerError`."""
        _refuse()

    def resend(self, message_id: str) -> None:
        """Raise `BrokerError`."""
        del message_id
        _refuse()

    def resume(self, message_id: str) -> None:
        """Raise `BrokerError`."""
        del message_id
        _refuse()


def _refuse() -> NoReturn:
    raise BrokerError(
        "rocketmq4:// can't look at messages: use RocketMQ's admin tool (mqadmin queryMsgByKey -t TOPIC -k KEY finds "
        "them by order id and by message id), see docs/rocketmq4.md."
    )
