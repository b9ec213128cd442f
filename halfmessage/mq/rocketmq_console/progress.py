"""How far RocketMQ is: which half messages are open, and what waits for its consumers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from halfmessage.mq.rocketmq_console.lanes import CHECKING_GROUP, HALF_TOPIC, RESOLVED_TOPIC, Lane, Lanes
from halfmessage.mq.rocketmq_console.message import StoredMessage
from halfmessage.mq.rocketmq_console.store import Queue, Store

_ONLY_QUEUE = 0
_OLDEST, _NEWEST = 1_000, 4_000  # open half messages that are read; where more are open, the others are only counted


class OpenHalves:
    """The half messages that were open when this was first asked about one.

    As the broker finds out itself (TransactionalMessageServiceImpl.check of 5.2.0): those from its own offset in the
    topic of half messages on, but for those whose offsets lie in the topic of resolved ones. With each check it stores
    a half message anew, so of several with one id the newest counts.
    """

    def __init__(self, store: Store, lanes: Lanes) -> None:
        """Take what to ask; nothing is asked yet."""
        self._store, self._lanes = store, lanes
        self._resolved_at: dict[int, int] = {}

    @cached_property
    def _open(self) -> "_Open":
        begin = self._store.consumed(CHECKING_GROUP, HALF_TOPIC, _ONLY_QUEUE)  # first: a check moves on what it checked
        end = self._store.end(HALF_TOPIC, _ONLY_QUEUE)
        # then, so that each was resolved for certain; most were, so just the others are read
        resolved = {at for at, _ in self._resolved(self._store.consumed(CHECKING_GROUP, RESOLVED_TOPIC, _ONLY_QUEUE))}
        left = [at for at in range(begin, end) if at not in resolved]
        looked_at = [*left[:_OLDEST], *left[_OLDEST:][-_NEWEST:]]
        lying = self._store.at((HALF_TOPIC, _ONLY_QUEUE, at) for at in looked_at)
        newest = {half.message_id: half for half in lying if half is not None and self._lanes.of(half)}
        return _Open(newest, frozenset(left).difference(looked_at), end)

    @property
    def messages(self) -> Mapping[str, StoredMessage]:
        """They, by id; of more than 5,000 the oldest 1,000 and the newest 4,000. Raise `BrokerError`, as all here."""
        return self._open.messages

    @property
    def unread(self) -> int:
        """How many more there are, of all deployments of the broker."""
        return len(self._open.unread)

    def has(self, halves: list[StoredMessage]) -> bool:
        """Whether a half message, found by one of its copies, is open; one that came later counts as open."""
        those = self._open
        return any(
            half.message_id in those.messages or half.offset in those.unread or half.offset >= those.end
            for half in halves
        )

    def learn(self, those: Iterable[Sequence[StoredMessage]]) -> None:
        """Look together when some half messages were resolved, each given by its copies: as `resolved_at` tells."""
        newest = [max(halves, key=_offset) for halves in those if halves]
        left = {half.offset for half in newest} - self._resolved_at.keys()
        if left:
            begin = self._since(min((half.stored_at or 0 for half in newest if half.offset in left), default=0))
            for offset, at in self._resolved(begin):
                self._resolved_at.setdefault(offset, at)
                left.discard(offset)
                if not left:
                    return

    def resolved_at(self, halves: list[StoredMessage]) -> int | None:
        """Return when the newest of a half message's copies was resolved, in ms since the epoch; None: it was not.

        Said by what RocketMQ stored for it. That no copy is open does not say it: a check stores the next copy, and
        for a moment no index knows that yet.
        """
        self.learn([halves])
        return self._resolved_at.get(max(halves, key=_offset).offset)

    def _since(self, time: int) -> int:
        queue = (RESOLVED_TOPIC, _ONLY_QUEUE)
        return self._store.since([queue], time)[queue]

    def _resolved(self, begin: int) -> Iterator[tuple[int, int]]:
        """Yield the offsets of half messages that were resolved, and when."""
        for message in self._store.read(RESOLVED_TOPIC, _ONLY_QUEUE, begin):
            for offset in message.body.decode("ascii").split(","):
                if offset:
                    yield int(offset), message.stored_at or 0


@dataclass(frozen=True, slots=True)
class _Open:
    """Open half messages by id, offsets of those that were not read, and the offset after all that were known."""

    messages: Mapping[str, StoredMessage]
    unread: frozenset[int]
    end: int


class Consumption:
    """How far each group is, and where each queue ends; each is asked once."""

    def __init__(self, store: Store) -> None:
        """Take what to ask; nothing is asked yet."""
        self._store = store
        self._known: dict[tuple[str, str, int], int] = {}
        self._ends: dict[Queue, int] = {}

    def learn(self, lanes: Iterable[Lane], queues: Iterable[Queue]) -> None:
        """Ask together how far some groups are at some queues: those of these that are theirs."""
        at = list(queues)
        wanted = dict.fromkeys((lane.real_group, *queue) for lane in lanes for queue in at if queue[0] in lane.consumed)
        if left := [key for key in wanted if key not in self._known]:
            self._known |= self._store.consumed_by(left)

    def passed(self, lane: Lane, message: StoredMessage) -> bool:
        """Whether a message was given to its group."""
        queue = (message.topic, message.queue)
        self.learn([lane], [queue])
        return message.offset < self._known[(lane.real_group, *queue)]

    def given(self, lanes: Sequence[Lane]) -> dict[Queue, int]:
        """Return for each queue of some groups the offset up to which all of them that consume it were given it."""
        queues = self._queues(lanes)
        self.learn(lanes, queues)
        return {
            queue: min(self._known[(lane.real_group, *queue)] for lane in lanes if queue[0] in lane.consumed)
            for queue in queues
        }

    def behind(self, lanes: Sequence[Lane]) -> dict[Lane, dict[Queue, range]]:
        """Return for each group the offsets of each queue that it was not given yet, of those that have some."""
        queues = self._queues(lanes)  # looked at once: a group's first retry makes a queue at any moment
        self.learn(lanes, queues)
        self._ends |= self._store.ends(queue for queue in queues if queue not in self._ends)
        found: dict[Lane, dict[Queue, range]] = {}
        for lane in lanes:
            waiting = {
                queue: range(self._known[(lane.real_group, *queue)], self._ends[queue])
                for queue in queues
                if queue[0] in lane.consumed
            }
            found[lane] = {queue: offsets for queue, offsets in waiting.items() if offsets}
        return found

    def _queues(self, lanes: Sequence[Lane]) -> list[Queue]:
        return self._store.queues_of(dict.fromkeys(topic for lane in lanes for topic in lane.consumed))


def _offset(half: StoredMessage) -> int:
    return half.offset
