"""Messages of ours as RocketMQ's, and sends that fail or hang."""

import threading

import pytest

from halfmessage.clock import now_ms
from halfmessage.errors import BrokerError
from halfmessage.mq.port import (
    Message,
)
from halfmessage.mq.rocketmq_remoting.calls import Calls
from tests.native.standin import Standin
from tests.support import eventually
from tests.unit.rocketmq_remoting.kit import ROLLBACK, Inbox, Open


def test_message_arrives_whole(open_: Open) -> None:
    """A body with NUL bytes, keys, tag and properties of any text come out as they went in; ids are ours."""
    broker, inbox = open_(), Inbox()
    broker.consumer("stock", "order_rollback", inbox)
    before = now_ms()
    message_id = broker.producer("order").send(ROLLBACK)
    (delivery,) = eventually(lambda: inbox.got)
    assert delivery.message == ROLLBACK
    assert (delivery.message_id, delivery.attempt) == (message_id, 1)
    assert before <= delivery.born_at <= now_ms()


@pytest.mark.parametrize("body", [b"", b"{}", b"empty", b"\0", "grüezi".encode(), b"\xff\xfe"])
def test_any_body(open_: Open, body: bytes) -> None:
    """An empty body, which RocketMQ refuses, and every other one travels."""
    broker, inbox = open_(), Inbox()
    broker.consumer("stock", "order_rollback", inbox)
    broker.producer("order").send(Message("order_rollback", body))
    assert eventually(lambda: inbox.got)[0].message == Message("order_rollback", body)


@pytest.mark.parametrize(
    "message", [Message("t", b"", keys=("a b",)), Message("t", b"", keys=("",)), Message("t", b"", tag="a\0b")]
)
def test_words_that_cannot_travel(open_: Open, message: Message) -> None:
    """A key or tag that would come out as another is refused."""
    with pytest.raises(BrokerError, match="separates keys by spaces"):
        open_().producer("order").send(message)


def test_message_that_c_refuses(open_: Open) -> None:
    """What the package can't encode is a `BrokerError`."""
    with pytest.raises(BrokerError, match="surrogates not allowed"):
        open_().producer("order").send(Message("\ud800", b""))


def test_two_producers_of_a_group(open_: Open, standin: Standin) -> None:
    """Several producers of a group live in one process, each with the send's time limit."""
    broker = open_()
    for producer in (broker.producer("order"), broker.producer("order"), open_().producer("order")):
        producer.send(ROLLBACK)
    assert standin.dll.standin_running() == 3
    assert standin.dll.standin_timeout(0) == 2000


def test_send_that_fails(open_: Open, standin: Standin) -> None:
    """A failed send, an unsafe one or a start that fails raises `BrokerError`; then it works without a restart."""
    producer = open_().producer("order")
    standin.play(start=True)
    with pytest.raises(BrokerError, match="no route to the name server"):
        producer.send(ROLLBACK)
    standin.play(error=True)
    with pytest.raises(BrokerError, match="no route info of this topic"):
        producer.send(ROLLBACK)
    standin.play(status=1)
    with pytest.raises(BrokerError, match="FLUSH_DISK_TIMEOUT"):
        producer.send(ROLLBACK)
    standin.play(status=17)
    with pytest.raises(BrokerError, match="17"):
        producer.send(ROLLBACK)
    standin.play()
    producer.send(ROLLBACK)


def test_send_that_hangs(open_: Open, standin: Standin) -> None:
    """A send that hangs in C is given up within the set time."""
    producer = open_(send_timeout=0.1).producer("order")
    standin.dll.standin_hang(1)
    with pytest.raises(BrokerError, match=r"did not answer within 0\.1 s"):
        producer.send(ROLLBACK)


def test_too_many_calls() -> None:
    """More calls than there is room for wait, then fail; a thread that can't be started gives its place back."""
    calls, release = Calls(1, 0.05), threading.Event()
    calls.start(lambda: release.wait(10))
    with pytest.raises(BrokerError, match="Too many"):
        calls.start(lambda: None)
    calls.close()  # leaves behind what hangs
    release.set()
    assert eventually(lambda: calls.result(lambda: 7)) == 7


def test_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that can't be started is a `BrokerError`, and gives its place back."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    calls = Calls(1, 0.05)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(BrokerError, match="can't start new thread"):
            calls.start(lambda: None)
    assert calls.result(lambda: 7) == 7
