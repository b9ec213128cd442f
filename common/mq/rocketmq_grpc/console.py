"""The console that RocketMQ's gRPC protocol allows for: none."""

from typing import NoReturn

from common.errors import BrokerError
from common.mq.port import BrokerStats, MessageView, State

_UNKNOWN = (
    "Not known through the gRPC client: RocketMQ tells it to its admin tool only (mqadmin queryMsgByKey, "
    "queryMsgById, consumerProgress, statsAll)."
)


class RocketMQConsole:
    """Implements `common.mq.port.Console` by saying that it does not know."""

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
        _unknown(topic, key, message_id, state, limit)

    def stats(self) -> BrokerStats:
        """Raise `BrokerError`."""
        _unknown()

    def resend(self, message_id: str) -> None:
        """Raise `BrokerError`."""
        _unknown(message_id)

    def resume(self, message_id: str) -> None:
        """Raise `BrokerError`."""
        _unknown(message_id)


def _unknown(*_asked: object) -> NoReturn:
    raise BrokerError(_UNKNOWN)
