"""A producer of RocketMQ 4."""

import os
import threading
from collections.abc import Iterable

from halfmessage.clock import now_ms
from halfmessage.errors import BrokerError
from halfmessage.mq.port import Checker, HalfMessage, Message, Resolution
from halfmessage.mq.rocketmq_remoting.halves import HOLD, OpenHalf
from halfmessage.mq.rocketmq_remoting.levels import level_for
from halfmessage.mq.rocketmq_remoting.primer import AGAIN_AFTER, Primer
from halfmessage.mq.rocketmq_remoting.session import Link, Session
from halfmessage.mq.rocketmq_remoting.wire import Parcel, pack


class RemotingProducer:
    """Implements `halfmessage.mq.port.Producer`. After a fork the child gets a session of its own, at its first use."""

    def __init__(
        self,
        link: Link,
        group: str,
        checker: Checker | None,
        *,
        topics: Iterable[str] = (),
        hold: float = HOLD,
        prime_again_after: float = AGAIN_AFTER,
    ) -> None:
        """Send for `group`; with a checker, answer its check-backs from now on, on `topics`. Raise `BrokerError`.

        Seconds: `hold`, for which a half message is open at most, and `prime_again_after`.
        """
        self._link = link
        self._group = group
        self._checker = checker
        self._hold = hold
        self._opening = threading.Lock()
        self._closed = False
        self._session: Session | None = None
        if checker is not None:
            self._session = Session(link, group, checker)
        self._primer = Primer(topics if checker is not None else (), self._prime, prime_again_after)

    def send(self, message: Message) -> str:
        """Send a normal message."""
        return self._send(pack(message))

    def send_at(self, message: Message, deliver_at: int) -> str:
        """Send a delayed message: by the longest delay level that is not too long, then hop by hop."""
        parcel = pack(message, deliver_at)
        return self._send(Parcel(message, parcel.envelope, level_for(deliver_at - now_ms())))

    def forward(self, parcel: Parcel) -> None:
        """Send a parcel on as it is: the next hop of a delayed message. Raise `BrokerError`."""
        self._send(parcel)

    def begin(self, message: Message) -> HalfMessage:
        """Send a half message; a thread holds it open until it is resolved, at most `HOLD` seconds."""
        return self._begin(pack(message))

    def resolve(self, half: HalfMessage, resolution: Resolution) -> None:
        """Commit or roll back. Raise `BrokerError` where that is left to the check-back."""
        if not isinstance(half.handle, OpenHalf):
            raise BrokerError("Only the producer that began a half message can resolve it; its check-back decides.")
        half.handle.resolve(resolution, self._current().calls)

    def close(self) -> None:
        """Stop answering check-backs, leave what is open to them."""
        self._closed = True
        self._primer.close()
        session, self._session = self._session, None
        if session is not None and session.pid == os.getpid():
            session.close()

    def _begin(self, parcel: Parcel) -> HalfMessage:
        half = self._current().begin(parcel, self._hold)
        return HalfMessage(parcel.envelope.message_id, parcel.message, parcel.envelope.born_at, handle=half)

    def _send(self, parcel: Parcel) -> str:
        self._current().send(parcel)
        return parcel.envelope.message_id

    def _prime(self, topic: str) -> None:
        self.resolve(self._begin(pack(Message(topic, b"primer"), primer=True)), Resolution.ROLLBACK)

    def _current(self) -> Session:
        with self._opening:
            if self._closed:
                raise BrokerError("This producer was closed.")
            if self._session is None or self._session.pid != os.getpid():
                self._session = Session(self._link, self._group, self._checker)
            return self._session
