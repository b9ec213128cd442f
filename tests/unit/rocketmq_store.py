"""A broker that exists in memory: what it stores and the remoting requests that read it, byte for byte."""

import json
import struct
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from halfmessage.mq.rocketmq_console.connections import Request
from halfmessage.mq.rocketmq_console.message import decode
from halfmessage.mq.rocketmq_console.remoting import Address, Refused

_SEND, _PREPARED = 10, 0x4
Answer = tuple[Mapping[str, Any], bytes]
HALF = "RMQ_SYS_TRANS_HALF_TOPIC"


def frame(header: Mapping[str, object], body: bytes = b"") -> bytes:
    """Return an answer as RemotingCommand.java writes it."""
    head = json.dumps(header).encode()
    return (4 + len(head) + len(body)).to_bytes(4) + len(head).to_bytes(4) + head + body


def encoded(
    topic: str,
    properties: Mapping[str, str],
    body: bytes,
    *,
    queue: int = 0,
    offset: int = 0,
    redeliveries: int = 0,
    flags: int = 0,
    stored_at: int = 0,
    born_at: int = 0,
    long_topic: bool = False,
) -> bytes:
    """Return a message as MessageDecoder.java writes it."""
    packed = "".join(f"{name}\x01{value}\x02" for name, value in properties.items()).encode()
    born_host, stored_host = (bytes(20) if flags & bit else bytes(8) for bit in (0x10, 0x20))
    name = len(topic.encode()).to_bytes(2 if long_topic else 1) + topic.encode()
    rest = b"".join(
        (
            struct.pack(">iiiqqiq", 0, queue, 0, offset, 0, flags, born_at),
            born_host,
            struct.pack(">q", stored_at),
            stored_host,
            struct.pack(">iqi", redeliveries, 0, len(body)),
            body,
            name,
            len(packed).to_bytes(2),
            packed,
        )
    )
    return struct.pack(">ii", len(rest) + 8, -626843477 if long_topic else -626843481) + rest


class Shelves:
    """Topics of one queue each; `consumed` is by group and topic."""

    def __init__(self) -> None:
        self.topics: dict[str, list[bytes]] = defaultdict(list)
        self.indexed: dict[str, list[tuple[set[str], bytes]]] = defaultdict(list)
        self.consumed: dict[tuple[str, str], int] = {}
        self.created: list[str] = []
        self.unlisted: set[str] = set()  # topics that are stored and can't be pulled
        self.viewed = 0
        self.asked: list[tuple[int, Mapping[str, Any]]] = []  # codes and fields, whatever was answered
        self.clock = 1_000

    def put(self, topic: str, message_id: str, body: bytes = b"", *, redeliveries: int = 0, **properties: str) -> int:
        """Store a message; return its offset."""
        self.clock += 1
        named = {"UNIQ_KEY": message_id} | {name.replace("__", "."): value for name, value in properties.items()}
        offset = len(self.topics[topic])
        octets = encoded(
            topic, named, body, offset=offset, redeliveries=redeliveries, stored_at=self.clock, born_at=self.clock
        )
        self.topics[topic].append(octets)
        self.indexed[topic].append(({message_id, *named.get("KEYS", "").split()}, octets))
        return offset

    def call(self, _server: Address, code: int, fields: Mapping[str, Any], body: bytes = b"", **_: object) -> Answer:
        """Answer as `halfmessage.mq.rocketmq_console.remoting._call` does."""
        self.asked.append((code, fields))
        topic = str(fields.get("topic", ""))
        if code == _SEND:
            return self._send(topic, fields, body)
        return {
            105: self._route, 29: self._since, 30: self._end, 31: self._begin, 14: self._consumed, 11: self._pull,
            12: self._query, 17: self._create, 33: self._view, 321: self._queue,
        }[code](topic, fields)  # fmt: skip

    def ask(self, server: Address, requests: Iterable[Request]) -> list[Answer | Refused]:
        """Answer as `halfmessage.mq.rocketmq_console.connections.Connections.ask` does."""
        return [self._answer(server, *request) for request in requests]

    def _answer(self, server: Address, code: int, fields: Mapping[str, Any]) -> Answer | Refused:
        try:
            return self.call(server, code, fields)
        except Refused as refusal:
            return refusal

    def _route(self, topic: str, _: Mapping[str, Any]) -> Answer:
        if topic not in self.topics:
            raise Refused("no route", 17)
        return {}, json.dumps({"queueDatas": [{"readQueueNums": 1}]}).encode()

    def _since(self, topic: str, fields: Mapping[str, Any]) -> Answer:
        times = [message.stored_at or 0 for message in decode(b"".join(self.topics.get(topic, [])))]
        return {"offset": str(bisect_left(times, int(fields["timestamp"])))}, b""

    def _end(self, topic: str, _: Mapping[str, Any]) -> Answer:
        return {"offset": str(len(self.topics.get(topic, [])))}, b""

    def _begin(self, _: str, __: Mapping[str, Any]) -> Answer:
        return {"offset": "0"}, b""

    def _consumed(self, topic: str, fields: Mapping[str, Any]) -> Answer:
        if (fields["consumerGroup"], topic) not in self.consumed:
            raise Refused("not found", 22)
        return {"offset": str(self.consumed[fields["consumerGroup"], topic])}, b""

    def _pull(self, topic: str, fields: Mapping[str, Any]) -> Answer:
        if topic in self.unlisted:
            raise Refused(f"topic[{topic}] not exist, apply first please!", 17)
        begin = int(fields["queueOffset"])
        page = self.topics.get(topic, [])[begin : begin + 2]
        if not page:
            raise Refused("nothing new", 19)
        following = {"nextBeginOffset": str(begin + len(page))}
        tags = str(fields["subscription"]).split(" || ")
        page = page if tags == ["*"] else [one for one in page if next(iter(decode(one))).tag in tags]
        if not page:
            raise Refused("no message has such a tag", 20, following)
        return following, b"".join(page)

    def _queue(self, topic: str, fields: Mapping[str, Any]) -> Answer:
        """Tell where messages are, with the hashes of their tags (queryConsumeQueue of AdminBrokerProcessor.java)."""
        known = {"ck": 3176, "ack": 96393, "bAck": 2985159}  # of 5.2.0's own
        places = [
            {"physicOffset": number, "tagsCode": known.get(message.tag, 0)}
            for number, message in enumerate(decode(b"".join(self.topics[topic])))
        ]
        return {}, json.dumps({"queueData": places[fields["index"] :][: fields["count"]]}).encode()

    def _view(self, _: str, fields: Mapping[str, Any]) -> Answer:
        (topic,) = self.unlisted
        self.viewed += 1
        return {}, self.topics[topic][fields["offset"]]

    def _query(self, topic: str, fields: Mapping[str, Any]) -> Answer:
        hits = [octets for keys, octets in self.indexed.get(topic, []) if fields["key"] in keys]
        if not hits:
            raise Refused("nothing found", 22)
        return {}, b"".join(hits)

    def _create(self, topic: str, _: Mapping[str, Any]) -> Answer:
        self.created.append(topic)
        self.topics.setdefault(topic, [])
        return {}, b""

    def _send(self, topic: str, fields: Mapping[str, Any], body: bytes) -> Answer:
        pairs = (pair.partition("\x01") for pair in str(fields["properties"]).split("\x02") if pair)
        properties = {name.replace(".", "__"): value for name, _, value in pairs}
        message_id = properties.pop("UNIQ_KEY")
        if fields["sysFlag"] & _PREPARED and properties.get("TRAN_MSG") == "true":
            properties |= {"REAL_TOPIC": topic, "REAL_QID": str(fields["queueId"])}
            topic = HALF
        self.put(topic, message_id, body, **properties)
        return {"msgId": message_id}, b""
