"""What a broker has stored, read through its remoting protocol: the requests that RocketMQ's admin tool sends too.

A read takes a millisecond; RocketMQ's own tool (mqadmin) needs 4 to 7 s for each, nearly all of it for its JVM.
Source of the requests: RequestCode.java and ResponseCode.java, see `halfmessage.mq.rocketmq_console.remoting`.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from halfmessage.errors import BrokerError
from halfmessage.mq.rocketmq_console import remoting
from halfmessage.mq.rocketmq_console.connections import Connections
from halfmessage.mq.rocketmq_console.message import StoredMessage, decode
from halfmessage.mq.rocketmq_console.remoting import Address, Answer, Refused

_PULL, _QUERY, _QUERY_OFFSET, _SEARCH_OFFSET, _MAX_OFFSET, _MIN_OFFSET = 11, 12, 14, 29, 30, 31
_VIEW, _QUERY_QUEUE = 33, 321
_NOTHING_NEW = frozenset({19, 20, 21})  # PULL_NOT_FOUND, PULL_RETRY_IMMEDIATELY, PULL_OFFSET_MOVED
_NO_ROUTE, _NOTHING_FOUND = 17, 22
_READER = "TOOLS_CONSUMER"  # the admin tool's own group (MixAll.java)
_AT_ONCE = 32  # messages of one pull: the broker gives no more from disk
_PLACES_AT_ONCE = 512  # of messages, 100 bytes each
_BY_SUBSCRIPTION = 0x4  # PullSysFlag.java: the request says what it subscribes to
_FOUND_AT_MOST = 64
_FOR_EVER = 2**62


class Reader(Protocol):
    """Finds messages by what they are indexed by. RocketMQ's own tool may be one, too."""

    def messages_by_key(self, topic: str, key: str) -> list[StoredMessage]:
        """Return the messages of a topic with a key."""

    def messages_by_id(self, topic: str, message_id: str) -> list[StoredMessage]:
        """Return the messages of a topic with an id: a half message lies in its topic again for each check."""


Queue = tuple[str, int]
"""A topic and the number of one of its queues."""


class Store:
    """Reads the topics of one broker. Every method raises `BrokerError`; a topic that isn't there has nothing.

    What is asked for together is asked at once. Which topics there are, and which are empty, is looked at once.
    """

    def __init__(self, broker: Address, namesrv: Address, connections: Connections) -> None:
        """Take where both listen, and the connections to them."""
        self._broker, self._namesrv, self._connections = broker, namesrv, connections
        self._queues: dict[str, int] = {}
        self._holds: dict[str, bool] = {}

    def lookups(self, wanted: Sequence[tuple[str, str]], *, by_id: bool) -> list[list[StoredMessage]]:
        """Return what each of some topics has with a key, or with an id, which is indexed as a key is.

        Of many the newest `_FOUND_AT_MOST`. `wanted`: the topics, each with what is looked for.
        """
        asked = [
            {"topic": topic, "key": key, "maxNum": _FOUND_AT_MOST, "beginTimestamp": 0, "endTimestamp": _FOR_EVER}
            for topic, key in wanted
        ]
        found: list[list[StoredMessage]] = []
        for (topic, key), answer in zip(wanted, self._all(_QUERY, asked), strict=True):
            if isinstance(answer, Refused) and answer.code in {_NO_ROUTE, _NOTHING_FOUND}:
                found.append([])
                continue
            # the index knows keys by their hash
            mine = (message for message in self._decoded(_given(answer)[1]) if message.topic == topic)
            found.append([m for m in mine if m.message_id == key or (not by_id and key in m.keys)])
        return found

    def queues_of(self, topics: Iterable[str]) -> list[Queue]:
        """Return the queues of some topics."""
        named = list(topics)
        unknown = [topic for topic in named if topic not in self._queues]
        routes = self._connections.ask(self._namesrv, [remoting.route_request(topic) for topic in unknown])
        for topic, answer in zip(unknown, routes, strict=True):
            if isinstance(answer, Refused) and answer.code == _NO_ROUTE:
                continue  # perhaps there is one the next time
            told = remoting.read_route(_given(answer))["queueDatas"]
            self._queues[topic] = max((int(queue["readQueueNums"]) for queue in told), default=0)
        return [(topic, queue) for topic in named for queue in range(self._queues.get(topic, 0))]

    def holding(self, topics: Iterable[str]) -> list[str]:
        """Return those topics that have, or had, a message when they were first asked about."""
        named = list(topics)
        unknown = [topic for topic in named if topic not in self._holds]
        ends = self.ends(self.queues_of(unknown))
        self._holds |= dict.fromkeys(unknown, False) | {topic: True for (topic, _), end in ends.items() if end}
        return [topic for topic in named if self._holds[topic]]

    def ends(self, queues: Iterable[Queue]) -> dict[Queue, int]:
        """Return the offset of the next message of each queue."""
        return self._offsets(_MAX_OFFSET, queues)

    def end(self, topic: str, queue: int) -> int:
        """Return the offset of the next message."""
        return self.ends([(topic, queue)])[topic, queue]

    def consumed_by(self, wanted: Iterable[tuple[str, str, int]]) -> dict[tuple[str, str, int], int]:
        """Return the offset of the next message for each group at a topic's queue; 0: it never consumed."""
        asked = list(wanted)
        fields = [{"consumerGroup": group, "topic": topic, "queueId": queue} for group, topic, queue in asked]
        found = {}
        for one, answer in zip(asked, self._all(_QUERY_OFFSET, fields), strict=True):
            nothing = isinstance(answer, Refused) and answer.code == _NOTHING_FOUND
            found[one] = 0 if nothing else int(_given(answer)[0]["offset"])
        return found

    def consumed(self, group: str, topic: str, queue: int) -> int:
        """Return the offset of the next message for a group."""
        return self.consumed_by([(group, topic, queue)])[group, topic, queue]

    def since(self, queues: Iterable[Queue], time: int) -> dict[Queue, int]:
        """Return the offset of the first message of each queue stored at that time (ms since the epoch) or later."""
        return self._offsets(_SEARCH_OFFSET, queues, timestamp=max(0, time))

    def read(
        self, topic: str, queue: int, begin: int, end: int | None = None, *, tags: Collection[str] = ()
    ) -> Iterator[StoredMessage]:
        """Yield messages from one offset to before another; what is deleted already is left out.

        Those with other tags than `tags`, if any are named, may be left out too.
        """
        end = self.end(topic, queue) if end is None else end
        at = max(begin, self.begins([(topic, queue)])[topic, queue]) if begin < end else end
        while at < end:
            (answer,) = self._all(_PULL, [_pull(topic, queue, at, tags=tags)])
            if isinstance(answer, Refused) and answer.code == _NO_ROUTE:
                yield from self._viewed(topic, queue, range(at, end), tags)
                return
            if isinstance(answer, Refused) and answer.code in _NOTHING_NEW:
                following = int(answer.fields.get("nextBeginOffset", at))  # beyond all that have another tag
            else:
                fields, body = _given(answer)
                yield from (message for message in self._decoded(body) if message.offset < end)
                following = int(fields["nextBeginOffset"])
            if following <= at:
                return
            at = following

    def at(self, places: Iterable[tuple[str, int, int]]) -> list[StoredMessage | None]:
        """Return what lies at each place (topic, queue, offset); None: it is deleted."""
        asked = list(places)
        answers = self._all(_PULL, [_pull(*place, count=1) for place in asked])
        return [self._first(place, answer) for place, answer in zip(asked, answers, strict=True)]

    def between(self, begin: Mapping[Queue, int], end: Mapping[Queue, int]) -> dict[Queue, list[StoredMessage]]:
        """Return the messages from one offset to before another of each queue, in the order of storing.

        `begin` is not before the first that is kept (`begins`).
        """
        found: dict[Queue, list[StoredMessage]] = {queue: [] for queue in end}
        left = [
            (topic, queue, at, min(at + _AT_ONCE, last))
            for (topic, queue), last in end.items()
            for at in range(begin[topic, queue], last, _AT_ONCE)
        ]
        while left:  # a broker gives fewer than asked where they are long, or not in its memory
            answers = self._all(_PULL, [_pull(topic, queue, at, count=stop - at) for topic, queue, at, stop in left])
            asked, left = left, []
            for (topic, queue, at, stop), answer in zip(asked, answers, strict=True):
                if isinstance(answer, Refused) and answer.code in _NOTHING_NEW:
                    continue
                fields, body = _given(answer)
                found[topic, queue] += [m for m in self._decoded(body) if at <= m.offset < stop]
                if at < (following := int(fields["nextBeginOffset"])) < stop:
                    left.append((topic, queue, following, stop))
        return {queue: sorted(those, key=lambda message: message.offset) for queue, those in found.items()}

    def begins(self, queues: Iterable[Queue]) -> dict[Queue, int]:
        """Return the offset of the first message of each queue that is kept."""
        return self._offsets(_MIN_OFFSET, queues)

    def _first(self, place: tuple[str, int, int], answer: Answer | Refused) -> StoredMessage | None:
        if isinstance(answer, Refused) and answer.code in _NOTHING_NEW:
            return None
        there = self._decoded(_given(answer)[1])
        return next((message for message in there if message.place == place), None)

    def _viewed(self, topic: str, queue: int, offsets: range, tags: Collection[str]) -> Iterator[StoredMessage]:
        """Yield messages of a topic that a broker keeps and lets no client pull, as 5.2.0 its timers: one a request."""
        wanted = {_java_hash(tag) for tag in tags}
        for begin in range(offsets.start, offsets.stop, _PLACES_AT_ONCE):
            count = min(_PLACES_AT_ONCE, offsets.stop - begin)
            fields = {"topic": topic, "queueId": queue, "index": begin, "count": count}
            (places,) = self._all(_QUERY_QUEUE, [fields])
            told = json.loads(_given(places)[1])["queueData"]
            mine = [{"offset": place["physicOffset"]} for place in told if not wanted or place["tagsCode"] in wanted]
            for answer in self._all(_VIEW, mine):
                yield from self._decoded(_given(answer)[1])

    def _offsets(self, code: int, queues: Iterable[Queue], **fields: object) -> dict[Queue, int]:
        asked = list(queues)
        answers = self._all(code, [{"topic": topic, "queueId": queue, **fields} for topic, queue in asked])
        return {queue: int(_given(answer)[0]["offset"]) for queue, answer in zip(asked, answers, strict=True)}

    def _all(self, code: int, asked: Sequence[Mapping[str, object]]) -> list[Answer | Refused]:
        return self._connections.ask(self._broker, [(code, fields) for fields in asked])

    def _decoded(self, octets: bytes) -> list[StoredMessage]:
        try:
            return list(decode(octets))
        except ValueError as error:
            raise BrokerError(f"The broker's messages are in a form that is not known: {error}.") from error


def _given(answer: Answer | Refused) -> Answer:
    """Return an answer. Raise what it was refused with."""
    if isinstance(answer, Refused):
        raise answer
    return answer


def _pull(topic: str, queue: int, at: int, *, count: int = _AT_ONCE, tags: Collection[str] = ()) -> dict[str, object]:
    wanted = " || ".join(tags) or "*"
    return {
        "consumerGroup": _READER, "topic": topic, "queueId": queue, "queueOffset": at, "maxMsgNums": count,
        "sysFlag": _BY_SUBSCRIPTION, "commitOffset": 0, "suspendTimeoutMillis": 0, "subscription": wanted,
        "subVersion": 0, "expressionType": "TAG",
    }  # fmt: skip


def _java_hash(text: str) -> int:
    """Return Java's hash of a string, under which a queue keeps a message's tag."""
    hashed = 0
    for character in text:
        hashed = (31 * hashed + ord(character)) & 0xFFFFFFFF
    return hashed - (hashed >> 31 << 32)
