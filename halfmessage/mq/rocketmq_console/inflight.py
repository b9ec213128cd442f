"""What consumers were given and have not answered for, as RocketMQ stores it.

For each pop it keeps a checkpoint (which messages, until when they are invisible), and for each answer a mark. They are
timers like any other, and go to the topic of what is to be revived when that time is nearly over (PopCheckPoint.java,
AckMsg.java, BatchAckMsg.java, PopAckConstants.java; seen on 5.2.0 and 5.5.0). A checkpoint stays in memory before, for
up to 10 s, and less where messages are invisible for shorter (PopBufferMergeService.java: within a second at 5 s): what
is in flight for less is told by nothing.
"""

import json
from collections import defaultdict
from collections.abc import Iterator

from halfmessage.clock import now_ms
from halfmessage.errors import BrokerError
from halfmessage.mq.rocketmq_console.defaults import CLUSTER
from halfmessage.mq.rocketmq_console.lanes import TIMER_TOPIC, Lane
from halfmessage.mq.rocketmq_console.message import StoredMessage
from halfmessage.mq.rocketmq_console.store import Store

REVIVE_TOPIC = f"rmq_sys_REVIVE_LOG_{CLUSTER}"
REVIVE_GROUP = "CID_RMQ_SYS_REVIVE_GROUP"
_CHECKPOINT, _ANSWER, _ANSWERS = "ck", "ack", "bAck"  # tags
_TAGS = (_CHECKPOINT, _ANSWER, _ANSWERS)
_READ_AT_MOST = 1_000  # messages, to find the oldest of a group's
_REVIVED_AT_MOST = 5_000
_TIMERS_AT_MOST = 20_000  # of the newest: among them are the timeouts of orders, too
_ONLY_QUEUE = 0

Pop = tuple[str, str, int, int, int]
"""Group, topic, queue, the first offset, when (ms)."""


class InFlight:
    """What was in flight when this was made."""

    def __init__(self, store: Store) -> None:
        """Look. Raise `BrokerError`."""
        self._store = store
        given: dict[Pop, set[int]] = defaultdict(set)
        answered: dict[Pop, set[int]] = defaultdict(set)
        for message in _not_revived(store):
            _note(message, given, answered)
        now, end = now_ms(), store.end(TIMER_TOPIC, _ONLY_QUEUE)
        newest = store.read(TIMER_TOPIC, _ONLY_QUEUE, max(0, end - _TIMERS_AT_MOST), end, tags=_TAGS)
        for message in newest:
            if message.real_topic == REVIVE_TOPIC:
                _note(message, given, answered, after=now)
        self._places: dict[tuple[str, str], set[tuple[int, int]]] = defaultdict(set)
        for pop, offsets in given.items():
            group, topic, queue, *_ = pop
            self._places[group, topic].update((queue, offset) for offset in offsets - answered[pop])

    def count(self, lane: Lane) -> int:
        """Return how many messages a group has not answered for."""
        return sum(len(self._places[lane.real_group, topic]) for topic in lane.consumed)

    def messages(self, lane: Lane) -> Iterator[StoredMessage]:
        """Yield them, up to `_READ_AT_MOST`, the lowest offsets first."""
        for topic in lane.consumed:
            places = sorted(self._places[lane.real_group, topic], key=lambda at: at[1])[:_READ_AT_MOST]
            found = self._store.at((topic, queue, offset) for queue, offset in places)
            yield from (message for message in found if message is not None)


def _not_revived(store: Store) -> Iterator[StoredMessage]:
    """Yield what is to be revived and was not looked at yet, of each queue at most `_REVIVED_AT_MOST`, the oldest."""
    queues = store.queues_of([REVIVE_TOPIC])
    passed = store.consumed_by((REVIVE_GROUP, *queue) for queue in queues)
    ends = store.ends(queues)
    left = [queue for queue in queues if passed[(REVIVE_GROUP, *queue)] < ends[queue]]
    kept = store.begins(left)
    begins = {queue: max(passed[(REVIVE_GROUP, *queue)], kept[queue]) for queue in left}
    there = store.between(begins, {queue: min(ends[queue], begins[queue] + _REVIVED_AT_MOST) for queue in left})
    for messages in there.values():
        yield from messages


def _note(message: StoredMessage, given: dict[Pop, set[int]], answered: dict[Pop, set[int]], *, after: int = 0) -> None:
    """Note a checkpoint whose messages are invisible until `after` (ms), or an answer."""
    try:
        body = json.loads(message.body)
        pop = (body["c"], body["t"], body["q"], body["so"], body["pt"])
        if message.tag == _CHECKPOINT and body["pt"] + body["it"] > after:
            steps = body.get("d") or range(body["n"])
            given[pop] |= {body["so"] + step for index, step in enumerate(steps) if not body["bm"] >> index & 1}
        elif message.tag in {_ANSWER, _ANSWERS}:
            answered[pop] |= set(body["aol"] if message.tag == _ANSWERS else [body["ao"]])
    except (ValueError, KeyError, TypeError) as error:
        raise BrokerError(
            f"What RocketMQ keeps of messages in flight is in a form that is not known: {error}."
        ) from error
