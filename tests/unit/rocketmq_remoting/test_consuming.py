"""Handlers, batches and closing."""

import threading
from collections.abc import Sequence

import pytest

from halfmessage.errors import BrokerError
from halfmessage.mq.port import (
    CheckAnswer,
    Delivery,
    Verdict,
)
from tests.native.standin import Standin
from tests.support import eventually
from tests.unit.rocketmq_remoting.kit import CONSUMED, LATER, ROLLBACK, Inbox, Open, says


def test_retry_comes_again(open_: Open, standin: Standin) -> None:
    """RETRY is RECONSUME_LATER, ACK is CONSUME_SUCCESS; attempts are counted."""
    broker, inbox = open_(), Inbox(lambda d: Verdict.ACK if d.attempt == 3 else Verdict.RETRY)
    broker.consumer("stock", "order_rollback", inbox)
    broker.producer("order").send(ROLLBACK)
    eventually(lambda: standin.returned(standin.CONSUME) == [LATER, LATER, CONSUMED])
    assert [delivery.attempt for delivery in inbox.got] == [1, 2, 3]


@pytest.mark.parametrize("answer", [[], [Verdict.ACK] * 2, ["ack"], [None], [0], None, RuntimeError(), SystemExit(0)])
def test_handler_that_answers_wrongly(open_: Open, standin: Standin, answer: object) -> None:
    """Whatever a handler raises or answers wrongly loses nothing: the message comes again, and to a living thread."""
    answers = [answer, answer]

    def handle(_deliveries: Sequence[Delivery]) -> Sequence[Verdict]:
        if not answers:
            return [Verdict.ACK]
        now = answers.pop()
        if isinstance(now, BaseException):
            raise now
        return now  # type: ignore[return-value]

    broker = open_()
    broker.consumer("stock", "order_rollback", handle)
    broker.producer("order").send(ROLLBACK)
    eventually(lambda: standin.returned(standin.CONSUME) == [LATER, LATER, CONSUMED])


def test_messages_that_wait_are_one_batch(open_: Open) -> None:
    """Messages that come while the handler is busy are its next batch, up to the limit."""
    broker, release, sizes = open_(), threading.Event(), []

    def handle(deliveries: Sequence[Delivery]) -> list[Verdict]:
        sizes.append(len(deliveries))
        release.wait(10)
        return [Verdict.ACK] * len(deliveries)

    consumer = broker.consumer("stock", "order_rollback", handle, batch=4)
    producer = broker.producer("order")
    producer.send(ROLLBACK)
    eventually(lambda: sizes == [1])
    for _ in range(6):
        producer.send(ROLLBACK)
    eventually(lambda: len(consumer._desk._waiting) == 6)
    release.set()
    eventually(lambda: sizes == [1, 4, 2])


def test_native_threads_match_the_batch(open_: Open, standin: Standin) -> None:
    """There are as many native threads as can wait at the desk, within reason."""
    broker = open_()
    broker.consumer("stock", "order_rollback", Inbox(), threads=2, batch=3)
    broker.consumer("order", "order_timeout", Inbox(), threads=8, batch=32)
    assert [standin.dll.standin_consumer_threads(place) for place in range(2)] == [6, 32]


def test_one_topic_a_group(open_: Open) -> None:
    """A second topic for a group would lose messages at the broker, so it is refused."""
    broker = open_()
    broker.consumer("stock", "order_rollback", Inbox())
    broker.consumer("stock", "order_rollback", Inbox())
    with pytest.raises(BrokerError, match="a group has one topic"):
        broker.consumer("stock", "order_timeout", Inbox())


def test_consumer_that_does_not_start(open_: Open, standin: Standin) -> None:
    """A consumer that can't start is a `BrokerError`, and leaves no thread."""
    standin.play(start=True)
    with pytest.raises(BrokerError, match="no route to the name server"):
        open_().consumer("stock", "order_rollback", Inbox())


def test_close_lets_handlers_finish(open_: Open, standin: Standin) -> None:
    """Closing waits for the handler in flight, whose ACK counts, and gives back what waits behind it."""
    broker, busy, release = open_(), threading.Event(), threading.Event()

    def hold(deliveries: Sequence[Delivery]) -> list[Verdict]:
        busy.set()
        release.wait(10)
        return [Verdict.ACK] * len(deliveries)

    consumer = broker.consumer("stock", "order_rollback", hold, batch=1)
    producer = broker.producer("order")
    producer.send(ROLLBACK)
    eventually(busy.is_set)
    producer.send(ROLLBACK)
    eventually(lambda: len(consumer._desk._waiting) == 1)
    closing = threading.Thread(target=consumer.close)
    closing.start()
    eventually(lambda: standin.returned(standin.CONSUME)[:1] == [LATER])
    assert closing.is_alive()
    release.set()
    closing.join(5)
    assert CONSUMED in standin.returned(standin.CONSUME)
    consumer.close()


def test_handler_closes_its_own_consumer(open_: Open, standin: Standin) -> None:
    """A handler may close its own consumer: the native shutdown, which waits for it, does not wait in it."""
    broker = open_()
    closed = threading.Event()

    def handle(deliveries: Sequence[Delivery]) -> list[Verdict]:
        consumer.close()
        closed.set()
        return [Verdict.ACK] * len(deliveries)

    consumer = broker.consumer("stock", "order_rollback", handle)
    broker.producer("order").send(ROLLBACK)
    eventually(closed.is_set)
    eventually(lambda: standin.dll.standin_running() == 1 and standin.returned(standin.CONSUME) == [CONSUMED])


def test_shutdown_that_fails_is_told(open_: Open, standin: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    """One part that fails to shut down does not keep the others from it."""
    broker = open_()
    broker.producer("order").send(ROLLBACK)
    failing = broker.producer("pay", says(CheckAnswer.UNKNOWN))
    close = failing.close

    def fail() -> None:
        close()
        raise BrokerError("It does not want to.")

    monkeypatch.setattr(failing, "close", fail)
    broker.close()
    assert standin.dll.standin_running() == 0


@pytest.mark.parametrize("version", ["2.1.0", "2.1.0_cvs", "of an unknown build"])
@pytest.mark.parametrize("group", ["stock", "notify", "5ships", "lsits", "a%s"])
def test_a_group_that_crashes_an_old_library_is_refused(
    open_: Open, standin: Standin, version: str, group: str
) -> None:
    """With what to do; before anything is started."""
    standin.be(version)
    with pytest.raises(BrokerError, match=r"2\.2\.0.*prefix"):
        open_().consumer(group, "order_rollback", Inbox())


@pytest.mark.parametrize(("version", "group"), [("2.1.0", "a-stock"), ("2.1.0", "order"), ("2.2.0", "stock")])
def test_any_other_group_consumes(open_: Open, standin: Standin, version: str, group: str) -> None:
    """A name that an old library's log does not stumble over, or a library that is mended."""
    standin.be(version)
    broker, inbox = open_(), Inbox()
    broker.consumer(group, "order_rollback", inbox)
    broker.producer("order").send(ROLLBACK)
    eventually(lambda: inbox.got)
