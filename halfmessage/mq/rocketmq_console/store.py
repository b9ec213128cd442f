"""What a broker has stored, read through its remoting protocol: the requests that RocketMQ's admin tool sends too.

A read takes a millisecond; RocketMQ's own tool (mqadmin) needs 4 to 7 s for each, nearly all of it for its JVM.
Source of the requests: RequestCode.java and ResponseCode.java, see `halfmessage.mq.rocketmq_console.remoting`.
"""

import json
from collections.abc import Collection, Iterator
from typing import Any, Protocol

from halfmessage.errors import BrokerError
from halfmessage.mq.rocketmq_console import remoting
from halfmessage.mq.rocketmq_console.message import StoredMessage, decode
from halfmessage.mq.rocketmq_console.remoting import Address, Refused

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


class Store:
    """Reads the topics of one broker. Every method raises `BrokerError`; a topic that isn't there has nothing."""

    def __init__(self, broker: Address, namesrv: Address) -> None:
        """Take where both listen."""
        self._broker, self._namesrv = broker, namesrv
        self._queues: dict[str, int] = {}

    def messages_by_key(self, topic: str, key: str) -> list[StoredMessage]:
        """Return the messages of a topic with a key (or an id), of many the newest."""
        fields = {"topic": topic, "key": key, "maxNum": _FOUND_AT_MOST, "beginTimestamp": 0, "endTimestamp": _FOR_EVER}
        try:
            found = self._decoded(self._call(_QUERY, fields)[1])
        except Refused as error:
            if error.code in {_NO_ROUTE, _NOTHING_FOUND}:
                return []
            raise
        # the index knows keys by their hash
        return [message for message in found if message.topic == topic and key in {*message.keys, message.message_id}]

    def messages_by_id(self, topic: str, message_id: str) -> list[StoredMessage]:
        """Return the messages of a topic with an id, which is indexed as a key is."""
        return [m for m in self.messages_by_key(topic, message_id) if m.message_id == message_id]

    def queues(self, topic: str) -> range:
        """Return the queues of a topic."""
        if topic not in self._queues:
            try:
                route = remoting.route(self._namesrv, topic)
            except Refused as error:
                if error.code != _NO_ROUTE:
                    raise
                return range(0)  # perhaps there is one the next time
            self._queues[topic] = max((int(queue["readQueueNums"]) for queue in route["queueDatas"]), default=0)
        return range(self._queues[topic])

    def end(self, topic: str, queue: int) -> int:
        """Return the offset of the next message."""
        return self._offset(_MAX_OFFSET, topic, queue)

    def consumed(self, group: str, topic: str, queue: int) -> int:
        """Return the offset of the next message for a group."""
        try:
            return self._offset(_QUERY_OFFSET, topic, queue, consumerGroup=group)
        except Refused as error:
            if error.code != _NOTHING_FOUND:
                raise
            return 0  # it never consumed

    def since(self, topic: str, queue: int, time: int) -> int:
        """Return the offset of the first message stored at that time (ms since the epoch) or later."""
        return self._offset(_SEARCH_OFFSET, topic, queue, timestamp=max(0, time))

    def read(
        self, topic: str, queue: int, begin: int, end: int | None = None, *, tags: Collection[str] = ()
    ) -> Iterator[StoredMessage]:
        """Yield messages from one offset to before another; what is deleted already is left out.

        Those with other tags than `tags`, if any are named, may be left out too.
        """
        end = self.end(topic, queue) if end is None else end
        at = max(begin, self._offset(_MIN_OFFSET, topic, queue)) if begin < end else end
        while at < end:
            try:
                answer = self._pull(topic, queue, at)
            except Refused as error:
                if error.code != _NO_ROUTE:
                    raise
                yield from self._viewed(topic, queue, range(at, end), tags)
                return
            if answer is None:
                return
            fields, body = answer
            yield from (message for message in self._decoded(body) if message.offset < end)
            following = int(fields["nextBeginOffset"])
            if following <= at:
                return
            at = following

    def tail(self, topic: str, count: int) -> Iterator[StoredMessage]:
        """Yield the newest messages of each queue."""
        for queue in self.queues(topic):
            end = self.end(topic, queue)
            yield from self.read(topic, queue, max(0, end - count), end)

    def _pull(self, topic: str, queue: int, at: int) -> tuple[Any, bytes] | None:
        fields = {
            "consumerGroup": _READER, "topic": topic, "queueId": queue, "queueOffset": at, "maxMsgNums": _AT_ONCE,
            "sysFlag": _BY_SUBSCRIPTION, "commitOffset": 0, "suspendTimeoutMillis": 0, "subscription": "*",
            "subVersion": 0, "expressionType": "TAG",
        }  # fmt: skip
        try:
            return self._call(_PULL, fields)
        except Refused as error:
            if error.code in _NOTHING_NEW:
                return None
            raise

    def _viewed(self, topic: str, queue: int, offsets: range, tags: Collection[str]) -> Iterator[StoredMessage]:
        """Yield messages of a topic that a broker keeps and lets no client pull, as 5.2.0 its timers: one a request."""
        wanted = {_java_hash(tag) for tag in tags}
        for begin in range(offsets.start, offsets.stop, _PLACES_AT_ONCE):
            count = min(_PLACES_AT_ONCE, offsets.stop - begin)
            fields = {"topic": topic, "queueId": queue, "index": begin, "count": count}
            for place in json.loads(self._call(_QUERY_QUEUE, fields)[1])["queueData"]:
                if not wanted or place["tagsCode"] in wanted:
                    yield from self._decoded(self._call(_VIEW, {"offset": place["physicOffset"]})[1])

    def _offset(self, code: int, topic: str, queue: int, **fields: object) -> int:
        return int(self._call(code, {"topic": topic, "queueId": queue, **fields})[0]["offset"])

    def _call(self, code: int, fields: dict[str, object]) -> tuple[Any, bytes]:
        return remoting.call(self._broker, code, fields)

    def _decoded(self, octets: bytes) -> list[StoredMessage]:
        try:
            return list(decode(octets))
        except ValueError as error:
            raise BrokerError(f"The broker's messages are in a form that is not known: {error}.") from error


def _java_hash(text: str) -> int:
    """Return Java's hash of a string, under which a queue keeps a message's tag."""
    hashed = 0
    for character in text:
        hashed = (31 * hashed + ord(character)) & 0xFFFFFFFF
    return hashed - (hashed >> 31 << 32)
