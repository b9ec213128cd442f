"""Our messages as RocketMQ's gRPC messages, and back. Source: rocketmq-apis, apache/rocketmq/v2/definition.proto.

The client's own `Message` is passed by: it refuses empty bodies, loses the order of keys, knows whole seconds only.
"""

import gzip
import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rocketmq.grpc_protocol import Encoding, MessageType, SendMessageRequest

from halfmessage.clock import now_ms
from halfmessage.mq.port import Message
from halfmessage.mq.rocketmq_grpc.names import BORN_AT, DELIVER_AT, EMPTY, FIRST_ID, GROUP, HOP_ENDS, OWN, PLAIN

__all__ = [
    "BORN_AT",
    "CHECKS",
    "DELIVER_AT",
    "EMPTY",
    "FIRST_ID",
    "GROUP",
    "HOP_ENDS",
    "PLAIN",
    "Received",
    "read",
    "send_request",
]

CHECKS = "TRANSACTION_CHECK_TIMES"  # RocketMQ's own: how often it has asked
_FOREIGN = frozenset({CHECKS, "__transactionId__"})
_NOTHING = b"\x00"
_NUMBERS = frozenset({BORN_AT, DELIVER_AT, HOP_ENDS})
_LARGEST: Final = 16 * 1024 * 1024  # bytes of a body unpacked: four times what RocketMQ takes packed (maxMessageSize)


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came, with the adapter's own properties apart."""

    message_id: str
    message: Message
    born_at: int
    attempt: int
    receipt: str
    own: Mapping[str, str]
    raw_id: str
    damage: str = ""  # why it can't be read; empty: it was read


def send_request(
    message: Message,
    *,
    message_id: str,
    kind: int,
    own: Mapping[str, str],
    namespace: str = "",
    deliver_at: int | None = None,
) -> Any:
    """Write a message; `deliver_at` in ms since the epoch goes with kind DELAY."""
    request = SendMessageRequest()
    sent = request.messages.add()
    sent.topic.name, sent.topic.resource_namespace = message.topic, namespace
    sent.body = message.body or _NOTHING
    sent.user_properties.update(message.properties)
    sent.user_properties.update(own if message.body else {**own, EMPTY: "1"})
    system = sent.system_properties
    system.message_id, system.message_type = message_id, kind
    if message.tag:
        system.tag = message.tag
    system.keys.extend(message.keys)
    system.body_encoding = Encoding.IDENTITY
    system.born_timestamp.FromMilliseconds(now_ms())
    if kind == MessageType.DELAY:
        system.delivery_timestamp.FromMilliseconds(now_ms() if deliver_at is None else deliver_at)
    return request


def read(sent: Any) -> Received:
    """Read a message. One that can't be read says so (`damage`) and has no body: those that came with it are read."""
    system, properties = sent.system_properties, dict(sent.user_properties)
    own = {name: properties.pop(name) for name in OWN | _FOREIGN if name in properties}
    damage, body = "", b""
    if any(not own[name].isdecimal() for name in _NUMBERS & own.keys()) or (HOP_ENDS in own and DELIVER_AT not in own):
        damage, own = "its times are no numbers", {}
    elif EMPTY not in own:
        try:
            body = _unpacked(sent.body) if system.body_encoding == Encoding.GZIP else sent.body
        except (OSError, EOFError, zlib.error) as error:
            damage = f"its body can't be unpacked: {error}"
    message = Message(sent.topic.name, bytes(body), system.tag, tuple(system.keys), properties)
    return Received(
        message_id=own.get(FIRST_ID, system.message_id),
        message=message,
        born_at=int(own.get(BORN_AT) or system.born_timestamp.ToMilliseconds()),
        attempt=max(1, system.delivery_attempt),
        receipt=system.receipt_handle,
        own=own,
        raw_id=system.message_id,
        damage=damage,
    )


def _unpacked(packed: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        body = file.read(_LARGEST + 1)
    if len(body) > _LARGEST:
        raise OSError(f"it is larger than {_LARGEST} bytes")
    return body
