"""A few words of RocketMQ's remoting protocol: enough to create topics and groups, and to see that a broker works.

A frame is: its length (4 bytes), one byte for the header's encoding (0 = JSON) and its length (3 bytes), the header,
the body. Source: RemotingCommand.java and RequestCode.java in https://github.com/apache/rocketmq/tree/rocketmq-all-5.2.0
One call takes a millisecond; a start of the admin tool a second.
"""

import json
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from halfmessage.clock import now_ms
from halfmessage.errors import BrokerError
from halfmessage.mq.rocketmq_console.defaults import MAX_REDELIVERIES, QUEUES, Kind

_SEND, _CREATE_TOPIC, _UPDATE_CONFIG, _ROUTE, _CREATE_GROUP = 10, 17, 25, 105, 200
_DELETE_GROUP, _DELETE_TOPIC, _DELETE_ROUTE = 207, 215, 216
_ALL_TOPICS, _KNOWN_TOPICS, _CLUSTERS, _ALL_GROUPS = 21, 206, 106, 201
_WIPE_WRITE_PERM, _ADD_WRITE_PERM = 205, 327
_SUCCESS = 0
_MASTER = "0"  # its id among the brokers of one name
_VERSION = 453  # V5_2_0 in MQVersion.java: newer than 4.9.4, so that answers are proper JSON
_SHORTEST_FRAME = 4  # bytes: the length of the header
_LARGEST_FRAME = 16 * 1024 * 1024
_READABLE_WRITABLE = 6
PATIENCE = 3.0  # seconds in which a server sends nothing

Answer = tuple[Mapping[str, Any], bytes]
"""Its fields and its body."""


class Refused(BrokerError):
    """The server answered that it won't; `code` says why, in RocketMQ's ResponseCode.java, `fields` more of it."""

    def __init__(self, detail: str, code: int, fields: Mapping[str, Any] | None = None) -> None:
        """Take the line to show, the code and the fields."""
        super().__init__(detail)
        self.code, self.fields = code, fields or {}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int


def address(named: str) -> Address:
    """Read host:port. Raise `ValueError`."""
    host, _, port = named.rpartition(":")
    if not host:
        raise ValueError(f"{named!r} is no HOST:PORT")
    return Address(host, int(port))


def register(broker: Address) -> None:
    """Have a broker tell its name servers all it has, now. Raise `BrokerError`.

    One that starts on a busy machine misses its first registration (it looks for name servers at the same time), and
    the next comes `registerNameServerPeriod` later. Setting its permission, to what it is, makes it register.
    """
    _call(broker, _UPDATE_CONFIG, {}, f"brokerPermission={_READABLE_WRITABLE}\n".encode())


def unregistered(broker: Address, namesrv: Address) -> set[str]:
    """Return the topics of a broker that its name server does not know yet, nor therefore any client.

    Raise `BrokerError`.
    """
    known = _loads(_call(namesrv, _KNOWN_TOPICS, {})[1])["topicList"]
    return set(topics(broker)) - set(known)


def topics(broker: Address) -> dict[str, str]:
    """Return the topics of a broker with the kind of each, empty where it has none. Raise `BrokerError`."""
    table: dict[str, Any] = _loads(_call(broker, _ALL_TOPICS, {})[1])["topicConfigTable"]
    return {topic: str(told.get("attributes", {}).get("message.type", "")) for topic, told in table.items()}


def groups(broker: Address) -> set[str]:
    """Return the consumer groups of a broker. Raise `BrokerError`."""
    return set(_loads(_call(broker, _ALL_GROUPS, {})[1])["subscriptionGroupTable"])


def masters(namesrv: Address) -> dict[str, Address]:
    """Return the brokers that take messages, by name, as a name server knows them. Raise `BrokerError`."""
    table = _loads(_call(namesrv, _CLUSTERS, {})[1]).get("brokerAddrTable") or {}
    told = {name: broker["brokerAddrs"].get(_MASTER) for name, broker in table.items()}
    return {name: address(where) for name, where in told.items() if where}


def create_topic(broker: Address, topic: str, kind: Kind, *, queues: int = QUEUES) -> None:
    """Create a topic, or bring it up to date. Its kind can't be changed later. Raise `BrokerError`."""
    fields = {
        "topic": topic,
        "defaultTopic": "TBW102",
        "readQueueNums": queues,
        "writeQueueNums": queues,
        "perm": _READABLE_WRITABLE,
        "topicFilterType": "SINGLE_TAG",
        "topicSysFlag": 0,
        "order": False,
        "attributes": f"+message.type={kind}",
    }
    _call(broker, _CREATE_TOPIC, fields)


def create_group(broker: Address, group: str, *, redeliveries: int = MAX_REDELIVERIES) -> None:
    """Create a consumer group, or bring it up to date; after `redeliveries` it dead-letters. Raise `BrokerError`."""
    document = {
        "groupName": group,
        "consumeEnable": True,
        "consumeFromMinEnable": True,
        "retryQueueNums": 1,
        "retryMaxTimes": redeliveries,
    }
    _call(broker, _CREATE_GROUP, {}, json.dumps(document).encode())


def set_writable(namesrv: Address, broker: str, *, writable: bool) -> None:
    """Take write permission from all topics of a broker, by its name, or give it back: as a name server tells clients.

    As `mqadmin wipeWritePerm` and `addWritePerm`. Raise `BrokerError`.
    """
    _call(namesrv, _ADD_WRITE_PERM if writable else _WIPE_WRITE_PERM, {"brokerName": broker})


def delete_topic(broker: Address, namesrv: Address, topic: str, cluster: str) -> None:
    """Delete a topic with its messages, if there is one. Raise `BrokerError`."""
    _call(broker, _DELETE_TOPIC, {"topic": topic})
    _call(namesrv, _DELETE_ROUTE, {"topic": topic, "clusterName": cluster})


def delete_group(broker: Address, group: str) -> None:
    """Delete a consumer group and how far it came, if there is one. Raise `BrokerError`."""
    _call(broker, _DELETE_GROUP, {"groupName": group, "cleanOffset": True})


def route(server: Address, topic: str) -> dict[str, Any]:
    """Return where a topic is, asked of a name server or of a proxy's remoting port. Raise `BrokerError`."""
    return read_route(_call(server, *route_request(topic)))


def route_request(topic: str) -> tuple[int, Mapping[str, object]]:
    """Return how a name server is asked where a topic is."""
    return _ROUTE, {"topic": topic}


def read_route(answer: Answer) -> dict[str, Any]:
    """Return where a topic is, as a name server answered."""
    return _loads(answer[1])


def send(
    server: Address,
    topic: str,
    body: bytes,
    *,
    properties: str = "",
    queue: int = 0,
    flags: int = 0,
    group: str = "stack",
) -> str:
    """Store one message on a broker; return its id. Raise `BrokerError`.

    `properties` as `message.pack` writes them, `flags` as MessageSysFlag.java names them.
    """
    fields = {
        "producerGroup": group,
        "topic": topic,
        "defaultTopic": "TBW102",
        "defaultTopicQueueNums": QUEUES,
        "queueId": queue,
        "sysFlag": flags,
        "bornTimestamp": now_ms(),
        "flag": 0,
        "properties": properties,
        "reconsumeTimes": 0,
        "unitMode": False,
        "batch": False,
    }
    return str(_call(server, _SEND, fields, body)[0].get("msgId", ""))


def encoded(code: int, fields: Mapping[str, object], body: bytes = b"", *, number: int = 1) -> bytes:
    """Return a request as it is sent; `number` comes back with its answer."""
    header = {
        "code": code,
        "language": "PYTHON",
        "version": _VERSION,
        "opaque": number,
        "flag": 0,
        "extFields": {name: _java(value) for name, value in fields.items()},
        "serializeTypeCurrentRPC": "JSON",
    }
    head = json.dumps(header).encode()
    return b"".join(((4 + len(head) + len(body)).to_bytes(4), len(head).to_bytes(4), head, body))


def received(read: Callable[[int], bytes]) -> tuple[dict[str, Any], bytes]:
    """Return the header and the body of the next answer; `read` returns so many bytes, or fewer at the end of all.

    Raise `ConnectionResetError`, `ValueError` for what is no answer, and what `read` does.
    """
    length = int.from_bytes(_exactly(read, 4))
    if not _SHORTEST_FRAME <= length <= _LARGEST_FRAME:
        raise ValueError(f"a frame of {length} bytes")
    frame = _exactly(read, length)
    encoding, head_length = frame[0], int.from_bytes(frame[1:4])
    if encoding != 0:
        raise ValueError(f"a header in encoding {encoding}")
    header: dict[str, Any] = json.loads(frame[4 : 4 + head_length])
    return header, frame[4 + head_length :]


def answered(server: Address, header: Mapping[str, Any], body: bytes) -> Answer:
    """Return what a server answered: its fields and the body. Raise `Refused`."""
    if header.get("code") != _SUCCESS:
        told = int(header.get("code", -1))
        remark = f"{server.host}:{server.port} refused: {header.get('remark')} (code {told})."
        raise Refused(remark, told, header.get("extFields"))
    return header.get("extFields") or {}, body


def _call(
    server: Address, code: int, fields: Mapping[str, object], body: bytes = b"", *, within: float = PATIENCE
) -> Answer:
    """Ask once on a connection of its own; return the answer's fields and body. Raise `BrokerError`."""
    try:
        with socket.create_connection((server.host, server.port), timeout=within) as connection:
            connection.sendall(encoded(code, fields, body))
            with connection.makefile("rb") as answers:
                header, payload = received(answers.read)
    except (OSError, ValueError) as error:
        raise unanswered(server, error) from error
    return answered(server, header, payload)


def unanswered(server: Address, error: Exception) -> BrokerError:
    """Return what to raise where a server did not answer."""
    return BrokerError(f"{server.host}:{server.port} does not answer: {error}.")


def _exactly(read: Callable[[int], bytes], count: int) -> bytes:
    octets = read(count)
    if len(octets) < count:
        raise ConnectionResetError("the connection was closed")
    return octets


def _loads(text: bytes) -> dict[str, Any]:
    """Read the JSON of RocketMQ, whose route has numbers as keys: fastjson writes `{0:"127.0.0.1:10911"}`."""
    document: dict[str, Any] = json.loads(re.sub(rb"([{,])(-?\d+):", rb'\1"\2":', text))
    return document


def _java(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
