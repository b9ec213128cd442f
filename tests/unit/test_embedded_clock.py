"""The embedded broker when the clock is set back by an hour: what was to come soon comes soon, none of it early."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from halfmessage.clock import now_ms
from halfmessage.mq.embedded import EmbeddedBroker, clockset, deliveries
from halfmessage.mq.embedded.housekeeping import claim_purge
from halfmessage.mq.port import BrokerOptions, CheckAnswer, Delivery, Message, Resolution, State, Verdict
from tests.support import SetClock, eventually

HOUR = 3600.0
TOPIC = "order_rollback"
OPTIONS = BrokerOptions(check_first_after=0.3, check_interval=0.1, invisible_for=0.3, retry_longest=0.3)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], EmbeddedBroker]]:
    """Open the file, as often as there are processes."""
    made: list[EmbeddedBroker] = []

    def open_() -> EmbeddedBroker:
        made.append(EmbeddedBroker(tmp_path / "broker.db", OPTIONS))
        return made[-1]

    yield open_
    for broker in made:
        broker.close()


Open = Callable[[], EmbeddedBroker]


class Seen:
    """A handler that keeps the bodies, and answers as told."""

    def __init__(self, verdict: Verdict = Verdict.ACK) -> None:
        self.bodies: list[bytes] = []
        self.verdict = verdict

    def __call__(self, got: Sequence[Delivery]) -> list[Verdict]:
        self.bodies += [delivery.message.body for delivery in got]
        return [self.verdict] * len(got)


def _subscribed(broker: EmbeddedBroker) -> int:
    return broker._store.writer.do(lambda connection: deliveries.subscribe(connection, "stock", TOPIC))


def _watched(broker: EmbeddedBroker) -> None:
    """Wait until the housekeeper has looked at the clock for the first time."""
    eventually(lambda: broker._housekeeper._clock._ahead is not None)


@pytest.mark.parametrize("restarted", [False, True])
def test_sent_before_it(opened: Open, set_clock: SetClock, restarted: bool) -> None:
    """A message that was not taken yet is taken now, also where every process started after the clock was set."""
    broker, seen = opened(), Seen()
    _subscribed(broker)
    _watched(broker)
    broker.producer("order").send(Message(TOPIC, b"sent"))
    if restarted:
        broker.close()
    set_clock(-HOUR)
    (opened() if restarted else broker).consumer("stock", TOPIC, seen)
    eventually(lambda: seen.bodies == [b"sent"])


def test_half_before_it(opened: Open, set_clock: SetClock) -> None:
    """A half message is checked back at its interval, not an hour later."""
    broker = opened()
    _watched(broker)
    half = broker.producer("order").begin(Message(TOPIC, b""))
    set_clock(-HOUR)
    broker.producer("order", lambda _: CheckAnswer.ROLLBACK)
    eventually(lambda: broker.console().find(message_id=half.message_id)[0].resolution is Resolution.ROLLBACK)


def test_claimed_before_it(opened: Open, set_clock: SetClock) -> None:
    """What a consumer took that died then comes again once its invisible time is over."""
    broker, seen = opened(), Seen()
    number = _subscribed(broker)
    _watched(broker)
    broker.producer("order").send(Message(TOPIC, b"claimed"))
    taken = broker._store.writer.do(lambda connection: deliveries.claim(connection, number, 1, OPTIONS))
    assert taken.numbers
    set_clock(-HOUR)
    broker.consumer("stock", TOPIC, seen)
    eventually(lambda: seen.bodies == [b"claimed"])


def test_put_off_before_it(opened: Open, set_clock: SetClock) -> None:
    """What failed once is tried again at latest after the longest delay."""
    broker, seen = opened(), Seen(Verdict.RETRY)
    _watched(broker)
    consumer = broker.consumer("stock", TOPIC, seen)
    broker.producer("order").send(Message(TOPIC, b"failed"))
    eventually(lambda: seen.bodies)
    consumer.close()
    seen.verdict = Verdict.ACK
    set_clock(-HOUR)
    broker.consumer("stock", TOPIC, seen)
    eventually(lambda: broker.console().find(topic=TOPIC)[0].state is State.DONE)


def test_delayed_before_it(opened: Open, set_clock: SetClock) -> None:
    """A delayed message has a time of day: it comes when the clock says so, neither now nor never."""
    broker, seen = opened(), Seen()
    _watched(broker)
    broker.consumer("stock", TOPIC, seen)
    due = now_ms() + 60_000
    broker.producer("order").send_at(Message(TOPIC, b"later"), due)
    broker.producer("order").send(Message(TOPIC, b"now"))
    eventually(lambda: seen.bodies == [b"now"])
    set_clock(-HOUR)
    broker.producer("order").send(Message(TOPIC, b"after"))
    eventually(lambda: seen.bodies == [b"now", b"after"], within=20)
    broker._store.writer.do(lambda connection: clockset.bring_near(connection, BrokerOptions()))
    waiting = "SELECT visible_at FROM deliveries WHERE state = 'pending'"
    eventually(lambda: [int(at) for (at,) in broker._store.reader.query(waiting)] == [due])
    set_clock(61.0)
    eventually(lambda: seen.bodies == [b"now", b"after", b"later"], within=20)  # an idle consumer looks every 5 s


def test_a_claim_of_just_now_is_left_alone(opened: Open) -> None:
    """Under a right clock nothing is moved: a handler that is at work has its whole time."""
    broker = opened()
    number = _subscribed(broker)
    broker.producer("order").send(Message(TOPIC, b""))
    broker.producer("order").begin(Message(TOPIC, b""))
    options = BrokerOptions()
    broker._store.writer.do(lambda connection: deliveries.claim(connection, number, 1, options))

    def times() -> list[tuple[object, ...]]:
        return broker._store.reader.query("SELECT visible_at, lease FROM deliveries")

    before = times()
    broker._store.writer.do(lambda connection: clockset.bring_near(connection, options))
    assert times() == before


def test_the_purge_goes_on(opened: Open, set_clock: SetClock) -> None:
    """The next pass is due within a minute of whatever the clock says."""
    broker = opened()
    _watched(broker)
    eventually(lambda: not broker._store.writer.do(claim_purge))
    set_clock(-HOUR)
    assert broker._store.writer.do(claim_purge)
    assert not broker._store.writer.do(claim_purge)
