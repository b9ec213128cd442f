"""Our messages in RocketMQ's, and back: nothing is lost, and the adapter's own properties are taken off."""

import gzip

import pytest

pytest.importorskip("rocketmq.grpc_protocol", reason="the gRPC client is an extra: .[rocketmq]")

from rocketmq.grpc_protocol import Encoding, MessageType

from halfmessage.mq.port import Message
from halfmessage.mq.rocketmq_grpc import wire

WHOLE = Message("t", b"\x00\xff", tag="tag", keys=("2", "1"), properties={"tx_id": "7", "said": "grüezi"})


@pytest.mark.parametrize("message", [WHOLE, Message("t", b"")], ids=["whole", "nothing but a topic"])
def test_there_and_back(message: Message) -> None:
    """Body, tag, keys in their order and properties; an empty body, which RocketMQ refuses, is empty again."""
    own = {wire.GROUP: "order", wire.DELIVER_AT: "5"}
    request = wire.send_request(message, message_id="m1", kind=MessageType.DELAY, own=own, deliver_at=5000)
    sent = request.messages[0]
    assert sent.body
    assert sent.system_properties.delivery_timestamp.ToMilliseconds() == 5000
    sent.user_properties[wire.CHECKS] = "3"
    received = wire.read(sent)
    assert received.message == message
    assert (received.message_id, received.raw_id, received.attempt) == ("m1", "m1", 1)
    assert {name: received.own[name] for name in (*own, wire.CHECKS)} == {**own, wire.CHECKS: "3"}


def test_a_message_that_was_sent_on_keeps_id_and_birth() -> None:
    """After a hop it is the one that its sender knows."""
    own = {wire.FIRST_ID: "first", wire.BORN_AT: "123"}
    sent = wire.send_request(WHOLE, message_id="m2", kind=MessageType.NORMAL, own=own).messages[0]
    received = wire.read(sent)
    assert (received.message_id, received.raw_id, received.born_at) == ("first", "m2", 123)


def test_a_compressed_body_is_unpacked() -> None:
    """Other clients compress large bodies."""
    sent = wire.send_request(WHOLE, message_id="m", kind=MessageType.NORMAL, own={}).messages[0]
    sent.body, sent.system_properties.body_encoding = gzip.compress(b"large"), Encoding.GZIP
    assert wire.read(sent).message.body == b"large"


def test_what_can_not_be_read_says_why() -> None:
    """A body that is not packed as it says, one that grows too large, times that are none: nothing is raised."""

    def damage(body: bytes, **own: str) -> str:
        sent = wire.send_request(WHOLE, message_id="m", kind=MessageType.NORMAL, own=own).messages[0]
        sent.body, sent.system_properties.body_encoding = body, Encoding.GZIP
        received = wire.read(sent)
        assert (received.message.body, received.raw_id) == (b"", "m")
        return received.damage

    packed = gzip.compress(b"large")
    assert "can't be unpacked" in damage(b"no gzip")
    assert "can't be unpacked" in damage(packed[:-9])
    assert "can't be unpacked" in damage(packed[:12] + b"\xff" + packed[13:])
    assert f"larger than {wire._LARGEST} bytes" in damage(gzip.compress(bytes(wire._LARGEST + 1)))
    assert "times" in damage(packed, **{wire.BORN_AT: "yesterday"})
    assert "times" in damage(packed, **{wire.HOP_ENDS: "7"})
