"""How far RocketMQ is: which half messages are open, and what waits for its consumers."""

from collections.abc import Iterator
from itertools import islice

from halfmessage.mq.rocketmq_console.lanes import CHECKING_GROUP, HALF_TOPIC, RESOLVED_TOPIC, Lane, Lanes
from halfmessage.mq.rocketmq_console.message import StoredMessage
from halfmessage.mq.rocketmq_console.store import Store

_ONLY_QUEUE = 0


class OpenHalves:
    """The half messages that were open when this was made.

    As the broker finds out itself (TransactionalMessageServiceImpl.check of 5.2.0): those from its own offset in the
    topic of half messages on, but for those whose offsets lie in the topic of resolved ones. With each check it stores
    a half message anew, so of several with one id the newest counts.
    """

    def __init__(self, store: Store, lanes: Lanes) -> None:
        """Look. Raise `BrokerError`."""
        self._store = store
        begin = store.consumed(CHECKING_GROUP, HALF_TOPIC, _ONLY_QUEUE)  # first: a check moves on what it checked
        self.end = store.end(HALF_TOPIC, _ONLY_QUEUE)
        halves = [m for m in store.read(HALF_TOPIC, _ONLY_QUEUE, begin, self.end) if lanes.of(m)]
        begin = store.consumed(CHECKING_GROUP, RESOLVED_TOPIC, _ONLY_QUEUE)
        resolved = {offset for offset, _ in self._resolved(begin)}  # after them: each was resolved for certain
        newest = {message.message_id: message for message in halves}
        self.messages = {key: m for key, m in newest.items() if m.offset not in resolved}

    def has(self, halves: list[StoredMessage]) -> bool:
        """Whether a half message, found by one of its copies, is open; one that came later counts as open."""
        return any(half.message_id in self.messages or half.offset >= self.end for half in halves)

    def resolved_at(self, halves: list[StoredMessage]) -> int | None:
        """Return when the newest of a half message's copies was resolved, in ms since the epoch; None: it was not.

        Said by what RocketMQ stored for it. That no copy is open does not say it: a check stores the next copy, and
        for a moment no index knows that yet.
        """
        newest = max(halves, key=lambda half: half.offset)
        begin = self._store.since(RESOLVED_TOPIC, _ONLY_QUEUE, newest.stored_at or 0)
        return next((at for offset, at in self._resolved(begin) if offset == newest.offset), None)

    def _resolved(self, begin: int) -> Iterator[tuple[int, int]]:
        """Yield the offsets of half messages that were resolved, and when."""
        for message in self._store.read(RESOLVED_TOPIC, _ONLY_QUEUE, begin):
            for offset in message.body.decode("ascii").split(","):
                if offset:
                    yield int(offset), message.stored_at or 0


class Consumption:
    """How far each group is, asked once for each of its queues."""

    def __init__(self, store: Store) -> None:
        """Take what to ask; nothing is asked yet."""
        self._store = store
        self._known: dict[tuple[str, str, int], int] = {}

    def passed(self, lane: Lane, message: StoredMessage) -> bool:
        """Whether a message was given to its group."""
        return message.offset < self._consumed(lane, message.topic, message.queue)

    def waiting(self, lane: Lane) -> Iterator[StoredMessage]:
        """Yield what the group was not given yet."""
        for topic in lane.consumed:
            for queue in self._store.queues(topic):
                yield from self._store.read(topic, queue, self._consumed(lane, topic, queue))

    def oldest(self, lane: Lane) -> Iterator[StoredMessage]:
        """Yield the first message of each queue that the group was not given yet."""
        for topic in lane.consumed:
            for queue in self._store.queues(topic):
                begin = self._consumed(lane, topic, queue)
                yield from islice(self._store.read(topic, queue, begin), 1)

    def behind(self, lane: Lane) -> int:
        """Count what the group was not given yet."""
        return sum(
            max(0, self._store.end(topic, queue) - self._consumed(lane, topic, queue))
            for topic in lane.consumed
            for queue in self._store.queues(topic)
        )

    def _consumed(self, lane: Lane, topic: str, queue: int) -> int:
        key = (lane.real_group, topic, queue)
        if key not in self._known:
            self._known[key] = self._store.consumed(*key)
        return self._known[key]
