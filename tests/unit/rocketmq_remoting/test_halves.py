"""Half messages that stay open until they are resolved."""

import pytest

from halfmessage.errors import BrokerError
from halfmessage.mq.port import (
    CheckAnswer,
    HalfMessage,
    Resolution,
)
from halfmessage.mq.rocketmq_remoting.producer import RemotingProducer
from tests.native.standin import Standin
from tests.support import eventually
from tests.unit.rocketmq_remoting.kit import COMMITS, ROLLBACK, ROLLS_BACK, UNKNOWN, Inbox, Open, says


def test_half_message_stays_open_until_it_is_resolved(open_: Open, standin: Standin) -> None:
    """`begin` returns while the message is open; what is resolved later is exactly what C gets, and it is delivered."""
    broker, inbox = open_(), Inbox()
    broker.consumer("stock", "order_rollback", inbox)
    producer = broker.producer("order")
    kept, dropped = producer.begin(ROLLBACK), producer.begin(ROLLBACK)
    assert (standin.dll.standin_halves(), standin.returned(standin.LOCAL_EXECUTE)) == (2, [])
    producer.resolve(dropped, Resolution.ROLLBACK)
    producer.resolve(kept, Resolution.COMMIT)
    assert standin.returned(standin.LOCAL_EXECUTE) == [ROLLS_BACK, COMMITS]
    (delivery,) = eventually(lambda: inbox.got)
    assert (delivery.message_id, delivery.message, delivery.born_at) == (kept.message_id, ROLLBACK, kept.born_at)


@pytest.mark.parametrize("first", list(Resolution))
@pytest.mark.parametrize("second", list(Resolution))
def test_first_resolution_stands(open_: Open, standin: Standin, first: Resolution, second: Resolution) -> None:
    """Resolving again changes nothing."""
    producer = open_().producer("order")
    half = producer.begin(ROLLBACK)
    producer.resolve(half, first)
    producer.resolve(half, second)
    assert standin.returned(standin.LOCAL_EXECUTE) == [ROLLS_BACK if first is Resolution.ROLLBACK else COMMITS]


def test_many_open_at_once(open_: Open, standin: Standin) -> None:
    """Half messages are open side by side and resolved in any order."""
    producer = open_().producer("order")
    halves = [producer.begin(ROLLBACK) for _ in range(50)]
    for half in reversed(halves):
        producer.resolve(half, Resolution.ROLLBACK)
    assert standin.returned(standin.LOCAL_EXECUTE) == [ROLLS_BACK] * 50


@pytest.mark.parametrize("broken", [{"status": 1}, {"status": 3}, {"skip": True}, {"error": True}])
def test_half_message_that_was_not_stored(open_: Open, standin: Standin, broken: dict[str, int]) -> None:
    """C reports OK whatever happened: that the local execute did not run is what tells."""
    producer = open_().producer("order")
    standin.play(**broken)  # type: ignore[arg-type]
    with pytest.raises(BrokerError, match=r"did not store|no route info"):
        producer.begin(ROLLBACK)
    assert standin.returned(standin.LOCAL_EXECUTE) == []


def test_half_message_that_is_stored_too_late(open_: Open, standin: Standin) -> None:
    """A half message stored after its sender gave up is rolled back at once: the sender did nothing."""
    producer = open_(send_timeout=0.1).producer("order")
    standin.dll.standin_hang(1)
    with pytest.raises(BrokerError, match="did not answer"):
        producer.begin(ROLLBACK)
    standin.dll.standin_hang(0)
    assert eventually(lambda: standin.returned(standin.LOCAL_EXECUTE)) == [ROLLS_BACK]


def test_half_message_held_for_too_long(open_: Open, standin: Standin) -> None:
    """A half message that is not resolved is left to its check-back: UNKNOWN, and a late resolution says so."""
    broker = open_()
    producer = RemotingProducer(broker._link, "order", says(CheckAnswer.COMMIT), hold=0.02)
    half = producer.begin(ROLLBACK)
    assert eventually(lambda: standin.returned(standin.LOCAL_EXECUTE)) == [UNKNOWN]
    with pytest.raises(BrokerError, match="check-back decides"):
        producer.resolve(half, Resolution.COMMIT)
    assert standin.dll.standin_check(0) == COMMITS
    producer.close()


def test_resolution_that_fails(open_: Open, standin: Standin) -> None:
    """A resolution that C could not send is a `BrokerError`."""
    producer = open_().producer("order")
    half = producer.begin(ROLLBACK)
    standin.play(resolve=True)
    with pytest.raises(BrokerError, match="connection broke"):
        producer.resolve(half, Resolution.COMMIT)


def test_half_message_of_another_producer(open_: Open) -> None:
    """Only the one that began a half message can resolve it."""
    with pytest.raises(BrokerError, match="its check-back decides"):
        open_().producer("order").resolve(HalfMessage("x", ROLLBACK, 0), Resolution.COMMIT)


def test_close_leaves_open_half_messages(open_: Open, standin: Standin) -> None:
    """Closing answers UNKNOWN for what is open, then refuses everything; a broker opened later works."""
    broker = open_()
    producer = broker.producer("order", says(CheckAnswer.COMMIT))
    half = producer.begin(ROLLBACK)
    broker.close()
    assert standin.returned(standin.LOCAL_EXECUTE) == [UNKNOWN]
    for refused in (lambda: producer.send(ROLLBACK), lambda: producer.resolve(half, Resolution.COMMIT)):
        with pytest.raises(BrokerError, match="was closed"):
            refused()
    open_().producer("order", says(CheckAnswer.ROLLBACK))
    assert standin.dll.standin_check(0) == ROLLS_BACK


def test_half_message_begun_while_closing(open_: Open, standin: Standin) -> None:
    """A half message whose sending meets a close is not begun."""
    producer = open_().producer("order", says(CheckAnswer.COMMIT))
    assert isinstance(producer, RemotingProducer)
    session = producer._current()
    producer.close()
    producer._session, producer._closed = session, False
    with pytest.raises(BrokerError, match="was closed"):
        producer.begin(ROLLBACK)
    producer._session = None
    assert standin.dll.standin_halves() == 0
