"""RocketMQ's form of a stored message, read."""

import zlib

import pytest

from halfmessage.mq.rocketmq_console.message import decode, pack
from tests.unit.rocketmq_store import encoded

PROPERTIES = {
    "UNIQ_KEY": "0102",
    "KEYS": "k2 k1",
    "TAGS": "t",
    "REAL_TOPIC": "r",
    "TRANSACTION_CHECK_TIMES": "3",
    "p": "",
}


def test_messages_one_behind_the_other_are_read_whole() -> None:
    """Place, times, keys in their order, properties and any body; an empty property is one, too."""
    place = {"queue": 5, "offset": 7, "redeliveries": 2, "stored_at": 11, "born_at": 9}
    first, second = decode(encoded("topic", PROPERTIES, b"\x00\xff", **place) + encoded("other", {}, b""))
    assert (first.message_id, first.topic, first.queue, first.offset, first.redeliveries) == ("0102", "topic", 5, 7, 2)
    assert (first.stored_at, first.born_at, first.body) == (11, 9, b"\x00\xff")
    assert (first.keys, first.tag, first.real_topic, first.checks) == (("k2", "k1"), "t", "r", 3)
    assert first.properties["p"] == ""
    assert (second.topic, second.real_topic, second.message_id, second.checks) == ("other", "other", "", 0)


@pytest.mark.parametrize("flags", [0, 0x10, 0x20, 0x30])
@pytest.mark.parametrize("long_topic", [False, True])
def test_addresses_and_topics_of_any_length(flags: int, long_topic: bool) -> None:
    """IPv6 addresses are longer, and so is the topic's length in a newer form."""
    (message,) = decode(encoded("topic", PROPERTIES, b"b", flags=flags, long_topic=long_topic))
    assert (message.topic, message.body, message.keys) == ("topic", b"b", ("k2", "k1"))


def test_a_compressed_body_is_unpacked() -> None:
    """As Java's clients send large ones."""
    (message,) = decode(encoded("t", {}, zlib.compress(b"large"), flags=0x1 | 3 << 8))
    assert message.body == b"large"


@pytest.mark.parametrize("octets", [b"\x00\x00\x00\x05hello", bytes(200), encoded("t", {}, b"x")[:-1]])
def test_what_is_no_message_is_refused(octets: bytes) -> None:
    """Another form is told, not shown as something else."""
    with pytest.raises(ValueError, match="a message"):
        list(decode(octets))


def test_properties_are_packed_as_they_are_read() -> None:
    """Whatever they hold."""
    (message,) = decode(encoded("t", {"a": "1", "b": "x=y, z"}, b""))
    assert pack({name: message.properties[name] for name in ("a", "b")}) == "a\x011\x02b\x01x=y, z\x02"
