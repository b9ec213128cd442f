"""A message of ours as one of RocketMQ's, and back.

The C interface reads a property by name and can't list them, cuts a body at its first NUL byte and refuses an empty
one. So an *envelope* travels along: one property, ASCII JSON, that holds everything the rest can't carry. What can be
carried in the open is there as well, for RocketMQ's admin tool and for other clients: properties, keys, and the
body wherever it has no NUL byte. Our own message id is a key too, so that `queryMsgByKey` finds it.
"""

import base64
import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from halfmessage.clock import now_ms
from halfmessage.errors import BrokerError
from halfmessage.mq.port import Message
from halfmessage.mq.rocketmq_remoting.library import Library

ENVELOPE = "orders_envelope"
_CHECKS = "TRANSACTION_CHECK_TIMES"
_READ_OF_OTHERS = ("tx_id", "deliver_if")
"""Properties that are read where there is no envelope: a half message that the gRPC client sent can be checked."""
_PLAIN, _BASE64, _EMPTY = "plain", "base64", "empty"


def _new_id() -> str:
    return uuid.uuid4().hex.upper()


@dataclass(frozen=True, slots=True)
class Envelope:
    """What travels in one property. Times in ms since the epoch.

    `deliver_at` is the real time of a delayed message, whatever level it hops by; `only_for` the group whose consumer
    hopped it on: the other groups' consumers hop copies of their own. `primer` marks what `primer` sends.
    """

    message_id: str = field(default_factory=_new_id)
    born_at: int = field(default_factory=now_ms)
    body: str = _PLAIN
    properties: Mapping[str, str] = field(default_factory=dict)
    deliver_at: int | None = None
    only_for: str | None = None
    primer: bool = False


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message and its envelope; `level` is its delay level on the way out, `checks` and `attempt` on the way in."""

    message: Message
    envelope: Envelope
    level: int = 0
    checks: int = 0
    attempt: int = 1


def pack(message: Message, deliver_at: int | None = None, *, primer: bool = False) -> Parcel:
    """Wrap a message for its first journey. Raise `BrokerError` where keys or tag can't travel."""
    for word in (*message.keys, *([message.tag] if message.tag else [])):
        if not word or " " in word or not word.isprintable():
            raise BrokerError(f"RocketMQ separates keys by spaces, so neither a key nor a tag can be {word!r}.")
    body = _EMPTY if not message.body else _BASE64 if b"\0" in message.body else _PLAIN
    properties = dict(message.properties)
    return Parcel(message, Envelope(body=body, properties=properties, deliver_at=deliver_at, primer=primer))


def hop(parcel: Parcel, group: str, level: int) -> Parcel:
    """Return the copy that goes on by another level, for one group only."""
    return replace(parcel, envelope=replace(parcel.envelope, only_for=group), level=level)


@contextmanager
def native(library: Library, parcel: Parcel) -> Iterator[Any]:
    """Make the C message, and destroy it afterwards: the package never does. Raise `BrokerError`."""
    message, envelope = parcel.message, parcel.envelope
    with library.translated():
        made = library.client.Message(message.topic)
        try:
            made.set_body(_body_out(message.body, envelope.body))
            made.set_keys(" ".join((*message.keys, envelope.message_id)))
            if message.tag:
                made.set_tags(message.tag)
            for name, value in message.properties.items():
                if name not in library.reserved and name.isprintable() and value.isprintable():
                    made.set_property(name, value)
            made.set_property(ENVELOPE, json.dumps(asdict(envelope), separators=(",", ":")))
            if parcel.level:
                made.set_delay_time_level(parcel.level)
            yield made
        finally:
            library.dll.DestroyMessage(made)


def read(received: Any, topic: str | None = None) -> Parcel:
    """Read a message that came, while the callback that got it runs: afterwards its memory is gone.

    `topic` is what it was subscribed by: a redelivered message may say `%RETRY%` and its group.
    """
    envelope = _envelope(received)
    keys = tuple(key for key in (received.keys or b"").decode().split() if key != envelope.message_id)
    return Parcel(
        Message(
            topic or received.topic,
            _body_in(received.body or b"", envelope.body),
            (received.tags or b"").decode(),
            keys,
            envelope.properties,
        ),
        envelope,
        checks=int(received.get_property(_CHECKS) or 1),
        attempt=received.reconsume_times + 1,
    )


def _envelope(received: Any) -> Envelope:
    written = received.get_property(ENVELOPE)
    if written:
        return Envelope(**json.loads(written))
    others = {name: received.get_property(name) for name in _READ_OF_OTHERS}
    properties = {name: value.decode() for name, value in others.items() if value}
    return Envelope(received.id, received.born_timestamp, properties=properties)


def _body_out(body: bytes, how: str) -> bytes:
    if how == _EMPTY:
        return how.encode()
    return base64.b64encode(body) if how == _BASE64 else body


def _body_in(body: bytes, how: str) -> bytes:
    if how == _EMPTY:
        return b""
    return base64.b64decode(body, validate=True) if how == _BASE64 else body
