"""The console of a RocketMQ that a name server knows, for a service that has its address and no more."""

from collections.abc import Sequence

from halfmessage.errors import ConsoleUnavailable
from halfmessage.mq.port import Backlog, BrokerStats, Cursor, MessageView, State
from halfmessage.mq.rocketmq_console import remoting
from halfmessage.mq.rocketmq_console.connections import Connections
from halfmessage.mq.rocketmq_console.console import RocketMQConsole
from halfmessage.mq.rocketmq_console.remoting import Address


class FoundConsole:
    """Implements `halfmessage.mq.port.Console`. The broker is looked for at each call: it may have moved.

    Each raises `ConsoleUnavailable` where the name server knows none, or several: a console looks into one broker.
    """

    def __init__(self, namesrv: Address, prefix: str, subscriptions: Sequence[tuple[str, str]]) -> None:
        """Take the name server, what begins the names of topics and groups, and the topics with their groups.

        The last are read at each call.
        """
        self._namesrv, self._prefix, self._subscriptions = namesrv, prefix, subscriptions
        self._connections = Connections()

    def find(
        self,
        *,
        topic: str | None = None,
        key: str | None = None,
        message_id: str | None = None,
        state: State | None = None,
        group: str | None = None,
        born_from: int | None = None,
        born_until: int | None = None,
        before: Cursor | None = None,
        limit: int = 100,
    ) -> list[MessageView]:
        """Return matching messages, newest first. Raise `BrokerError`."""
        return self._found().find(
            topic=topic,
            key=key,
            message_id=message_id,
            state=state,
            group=group,
            born_from=born_from,
            born_until=born_until,
            before=before,
            limit=limit,
        )

    def stats(self) -> BrokerStats:
        """Count what needs attention. Raise `BrokerError`."""
        return self._found().stats()

    def backlog(self) -> list[Backlog]:
        """Return what each group has before it. Raise `BrokerError`."""
        return self._found().backlog()

    def resend(self, message_id: str) -> None:
        """Store a dead message again for its groups. Raise `MessageNotFound`, `BrokerError`."""
        self._found().resend(message_id)

    def resume(self, message_id: str) -> None:
        """Store a parked half message again. Raise `MessageNotFound`, `BrokerError`."""
        self._found().resume(message_id)

    def check_now(self, message_id: str) -> None:
        """Raise `ConsoleUnavailable`: RocketMQ asks at times of its own."""
        self._found().check_now(message_id)

    def forget(self, group: str) -> None:
        """Raise `ConsoleUnavailable`: RocketMQ keeps nothing for the sake of a group."""
        self._found().forget(group)

    def _found(self) -> RocketMQConsole:
        brokers = remoting.masters(self._namesrv)
        if len(brokers) != 1:
            raise ConsoleUnavailable(
                f"The name server knows {len(brokers)} brokers that take messages; this console looks into one: "
                "use RocketMQ's dashboard or mqadmin."
            )
        (broker,) = brokers.values()
        return RocketMQConsole(
            broker,
            self._namesrv,
            self._prefix,
            subscriptions=tuple(self._subscriptions),
            connections=self._connections,
        )
