"""Messages as RocketMQ stores them, and its form of one in bytes.

Source: MessageDecoder.java and MessageSysFlag.java in https://github.com/apache/rocketmq/tree/rocketmq-all-5.2.0
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_HEAD = struct.Struct(">iiiiiqqiq")  # size, magic, CRC, queue, flag, queue offset, place in the log, system flag, born
_SHORT_TOPIC, _LONG_TOPIC = -626843481, -626843477  # magic numbers: the topic's length has one byte, or two
_COMPRESSED, _BORN_V6, _STORED_V6 = 0x1, 0x10, 0x20
_COMPRESSION = 0x7 << 8
_ZLIB = (0, 3 << 8)
_V4, _V6 = 8, 20  # bytes of an address with its port
_NAME_END, _VALUE_END = "\x01", "\x02"


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as the broker stores it; `properties` are RocketMQ's own (KEYS, TAGS, REAL_TOPIC, …) and ours.

    `redeliveries`: how often it was given again; `stored_at` in ms since the epoch, None where it is not told; with
    `queue` and `offset` its place in the topic.
    """

    message_id: str
    topic: str
    properties: Mapping[str, str]
    body: bytes
    redeliveries: int
    stored_at: int | None
    queue: int = 0
    offset: int = 0

    @property
    def keys(self) -> tuple[str, ...]:
        """What it is found by."""
        return tuple(self.properties.get("KEYS", "").split())

    @property
    def tag(self) -> str:
        """Its tag."""
        return self.properties.get("TAGS", "")

    @property
    def real_topic(self) -> str:
        """Where it belongs: half, parked and delayed messages, retries and dead letters lie elsewhere."""
        return self.properties.get("REAL_TOPIC", self.topic)

    @property
    def checks(self) -> int:
        """How many check-backs a half message had."""
        return int(self.properties.get("TRANSACTION_CHECK_TIMES", "0"))

    @property
    def born_at(self) -> int | None:
        """When it was sent (ms since the epoch)."""
        born = self.properties.get("BORN_TIMESTAMP")
        return None if born is None else int(born)

    @property
    def place(self) -> tuple[str, int, int]:
        """Where it lies: topic, queue, offset."""
        return self.topic, self.queue, self.offset


def decode(octets: bytes) -> Iterator[StoredMessage]:
    """Yield messages stored one behind the other. Raise `ValueError` for what is none."""
    begin = 0
    while begin < len(octets):
        (size,) = struct.unpack_from(">i", octets, begin)
        if not _HEAD.size < size <= len(octets) - begin:
            raise ValueError(f"a message of {size} bytes")
        yield _decode(octets[begin : begin + size])
        begin += size


def pack(properties: Mapping[str, str]) -> str:
    """Return properties as a message has them."""
    return "".join(f"{name}{_NAME_END}{value}{_VALUE_END}" for name, value in properties.items())


def _decode(octets: bytes) -> StoredMessage:
    _, magic, _, queue, _, offset, _, flags, born_at = _HEAD.unpack_from(octets)
    if magic not in {_SHORT_TOPIC, _LONG_TOPIC}:
        raise ValueError(f"a message that begins with {magic}")
    at = _HEAD.size + (_V6 if flags & _BORN_V6 else _V4)
    (stored_at,) = struct.unpack_from(">q", octets, at)
    at += 8 + (_V6 if flags & _STORED_V6 else _V4)
    redeliveries, _, length = struct.unpack_from(">iqi", octets, at)
    at += 16
    body, at = octets[at : at + length], at + length
    width = 1 if magic == _SHORT_TOPIC else 2
    length, at = int.from_bytes(octets[at : at + width]), at + width
    topic, at = octets[at : at + length].decode(), at + length
    length, at = int.from_bytes(octets[at : at + 2]), at + 2
    found = {"BORN_TIMESTAMP": str(born_at)} | _unpack(octets[at : at + length].decode())
    return StoredMessage(
        found.get("UNIQ_KEY", ""), topic, found, _plain(body, flags), redeliveries, stored_at, queue, offset
    )


def _unpack(text: str) -> dict[str, str]:
    pairs = (pair.partition(_NAME_END) for pair in text.split(_VALUE_END) if pair)
    return {name: value for name, _, value in pairs}


def _plain(body: bytes, flags: int) -> bytes:
    """Return a body as it was sent; one packed in a way that clients for Python never choose stays packed."""
    return zlib.decompress(body) if flags & _COMPRESSED and flags & _COMPRESSION in _ZLIB else body
