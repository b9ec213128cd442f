"""Two deployments on one broker, apart by their prefixes."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue

import pytest

from halfmessage.clock import now_ms
from halfmessage.mq.embedded import EmbeddedBroker
from halfmessage.mq.port import BrokerOptions, CheckAnswer, Delivery, HalfMessage, Message, Resolution, Verdict
from halfmessage.mq.prefixed import PrefixedBroker, prefixed

_SOON = BrokerOptions(check_first_after=0.05, check_interval=0.05)


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """Return the broker that both use."""
    broker = EmbeddedBroker(tmp_path / "broker.db", _SOON)
    yield broker
    broker.close()


def listen(broker: PrefixedBroker) -> "SimpleQueue[Delivery]":
    got: SimpleQueue[Delivery] = SimpleQueue()

    def handle(deliveries: Sequence[Delivery]) -> list[Verdict]:
        for delivery in deliveries:
            got.put(delivery)
        return [Verdict.ACK] * len(deliveries)

    broker.consumer("g", "t", handle)
    return got


def test_each_gets_its_own_messages_under_the_names_it_knows(shared: EmbeddedBroker) -> None:
    """Sent, delayed and committed half messages arrive with their plain topic, and only where they belong."""
    one, other = PrefixedBroker(shared, "one"), PrefixedBroker(shared, "other")
    got, strange = listen(one), listen(other)
    producer = one.producer("p")
    producer.send(Message("t", b"plain"))
    producer.send_at(Message("t", b"delayed"), now_ms())
    half = producer.begin(Message("t", b"half"))
    assert half.message.topic == "t"
    producer.resolve(half, Resolution.COMMIT)
    arrived = [got.get(timeout=10) for _ in range(3)]
    assert {(d.message.topic, d.message.body) for d in arrived} == {("t", b"plain"), ("t", b"delayed"), ("t", b"half")}
    other.producer("p").send(Message("t", b"theirs"))
    assert strange.get(timeout=10).message.body == b"theirs"
    assert got.empty()
    assert {view.message.topic for view in one.console().find()} == {"one-t", "other-t"}
    producer.close()


def test_each_is_asked_about_its_own_half_messages(shared: EmbeddedBroker) -> None:
    """The check-back comes with the plain topic, to a producer of the same prefix."""
    asked: SimpleQueue[HalfMessage] = SimpleQueue()
    strangers: SimpleQueue[HalfMessage] = SimpleQueue()

    def answer(half: HalfMessage) -> CheckAnswer:
        asked.put(half)
        return CheckAnswer.ROLLBACK

    def refuse(half: HalfMessage) -> CheckAnswer:
        strangers.put(half)
        return CheckAnswer.UNKNOWN

    PrefixedBroker(shared, "other").producer("p", refuse, topics=["t"])
    one = PrefixedBroker(shared, "one")
    one.producer("p", answer, topics=["t"]).begin(Message("t", b"left open"))
    assert asked.get(timeout=10).message == Message("t", b"left open")
    assert strangers.empty()


def test_it_pings_and_closes_what_it_stands_for(tmp_path: Path) -> None:
    """One broker, under another name."""
    broker = PrefixedBroker(EmbeddedBroker(tmp_path / "b.db", _SOON), "x")
    broker.ping()
    broker.close()


def test_without_a_prefix_a_name_stays() -> None:
    """So that one rule holds for all."""
    assert prefixed("", "order") == "order"
