"""A producer of the embedded broker."""

from halfmessage.errors import BrokerError
from halfmessage.mq.embedded import messages
from halfmessage.mq.embedded.checkback import CheckBack
from halfmessage.mq.embedded.store import Store, in_ms
from halfmessage.mq.port import Checker, HalfMessage, Message, Resolution


class EmbeddedProducer:
    """Implements `halfmessage.mq.port.Producer`."""

    def __init__(self, store: Store, group: str, checker: Checker | None) -> None:
        """Send for `group`; with a checker, answer its check-backs too."""
        self._store = store
        self._group = group
        self._closed = False
        self._check_back = CheckBack(store, group, checker) if checker is not None else None

    def send(self, message: Message) -> str:
        """Send a normal message."""
        message_id, _ = self._insert(messages.Draft(self._group, message))
        self._store.wakeup.ring()
        return message_id

    def send_at(self, message: Message, deliver_at: int) -> str:
        """Send a delayed message; `deliver_at` in ms since the epoch, as far ahead as you like."""
        message_id, _ = self._insert(messages.Draft(self._group, message, deliver_at=deliver_at))
        return message_id

    def begin(self, message: Message) -> HalfMessage:
        """Send a half message."""
        first_check_after = in_ms(self._store.options.check_first_after)
        draft = messages.Draft(self._group, message, first_check_after=first_check_after)
        message_id, born_at = self._insert(draft)
        return HalfMessage(message_id, message, born_at, handle=messages.number_of(message_id))

    def resolve(self, half: HalfMessage, resolution: Resolution) -> None:
        """Commit or roll back; a parked message still takes it."""
        self._refuse_if_closed()
        number = messages.number_of(half.message_id)
        self._store.writer.do_with_others(messages.resolve, (number, resolution))
        if resolution is Resolution.COMMIT:
            self._store.wakeup.ring()

    def close(self) -> None:
        """Stop answering check-backs."""
        self._closed = True
        if self._check_back is not None:
            self._check_back.close()

    def _insert(self, draft: messages.Draft) -> tuple[str, int]:
        self._refuse_if_closed()
        number, born_at = self._store.writer.do_with_others(messages.insert, draft, weight=draft.size)
        return messages.public_id(number), born_at

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise BrokerError("This producer was closed.")
