"""What every broker adapter promises, written once; `conftest.py` lists the adapters."""

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from halfmessage.clock import now_ms
from halfmessage.errors import MessageNotFound
from halfmessage.mq.port import (
    Broker,
    Check,
    CheckAnswer,
    Delivery,
    HalfMessage,
    Message,
    MessageView,
    Resolution,
    State,
    Verdict,
)
from tests.contract.traits import BrokerFactory
from tests.support import eventually

TOPIC = "order_rollback"
ROLLBACK = Message(
    TOPIC,
    b'{"tx_id":"t1"}\x00\xff',
    tag="rollback",
    keys=("7001", "7002"),
    properties={"tx_id": "t1", "deliver_if": "aborted", "said": "grüezi 你好"},
)
DELAYED = "order_timeout"  # where topics have kinds, delayed messages have one of their own
LATE = 60.0  # seconds, longer than any test: no check-back comes


class Inbox:
    """A handler that keeps what it gets and answers what it is told, by message body."""

    def __init__(self, answer: Callable[[Delivery], Verdict] = lambda _: Verdict.ACK) -> None:
        self.answer = answer
        self.got: list[Delivery] = []
        self.at: list[int] = []

    def __call__(self, deliveries: Sequence[Delivery]) -> list[Verdict]:
        self.at += [now_ms()] * len(deliveries)
        self.got += deliveries
        return [self.answer(delivery) for delivery in deliveries]

    @property
    def bodies(self) -> list[bytes]:
        return [delivery.message.body for delivery in self.got]


class Oracle:
    """A checker that keeps whom it was asked about and answers what it is told."""

    def __init__(self, *answers: CheckAnswer) -> None:
        self.answers = list(answers)
        self.asked: list[HalfMessage] = []

    def __call__(self, half: HalfMessage) -> CheckAnswer:
        self.asked.append(half)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def view(broker: Broker, message_id: str) -> MessageView:
    (found,) = broker.console().find(message_id=message_id)
    return found


def states(broker: Broker, message_id: str) -> set[State]:
    """In which states a search finds the message: its own and no other."""
    console = broker.console()
    return {state for state in State if any(v.message_id == message_id for v in console.find(state=state))}


def settled(factory: BrokerFactory, broker: Broker, message_id: str, seen: Callable[[], object]) -> None:
    """Wait until a message is done; without a console, until what can be seen of it is."""
    if factory.traits.console:
        eventually(lambda: view(broker, message_id).state is State.DONE)
    eventually(seen, within=factory.traits.patience)


def text(topic: str, body: str) -> Message:
    return Message(topic, body.encode())


# sending and receiving


def test_message_arrives_whole(broker_factory: BrokerFactory) -> None:
    """Topic, binary body with NUL, tag, keys and properties come out as they went in, with id, birth and attempt."""
    broker, inbox = broker_factory(), Inbox()
    broker.consumer("stock", TOPIC, inbox)
    before = now_ms()
    message_id = broker.producer("order").send(ROLLBACK)
    (delivery,) = eventually(lambda: inbox.got)
    assert delivery.message == ROLLBACK
    assert (delivery.message_id, delivery.attempt) == (message_id, 1)
    assert before <= delivery.born_at <= now_ms()


def test_message_with_nothing_but_a_body(broker_factory: BrokerFactory) -> None:
    """Tag, keys and properties may be left out; a body may be empty."""
    broker, inbox = broker_factory(), Inbox()
    broker.consumer("stock", TOPIC, inbox)
    broker.producer("order").send(Message(TOPIC, b""))
    assert eventually(lambda: inbox.got)[0].message == Message(TOPIC, b"")


def test_topic_separates(broker_factory: BrokerFactory) -> None:
    """A consumer gets its own topic's messages only."""
    broker, one, two = broker_factory(), Inbox(), Inbox()
    broker.consumer("stock", "one", one)
    broker.consumer("stock", "two", two)
    producer = broker.producer("order")
    producer.send(text("one", "1"))
    producer.send(text("two", "2"))
    eventually(lambda: one.got and two.got)
    assert (one.bodies, two.bodies) == ([b"1"], [b"2"])


def test_each_group_gets_each_message_once(broker_factory: BrokerFactory) -> None:
    """Two groups get every message, once each."""
    broker, stock, coupon = broker_factory(), Inbox(), Inbox()
    broker.consumer("stock", TOPIC, stock)
    broker.consumer("coupon", TOPIC, coupon)
    producer = broker.producer("order")
    ids = [producer.send(text(TOPIC, str(n))) for n in range(20)]
    for message_id in ids:
        settled(broker_factory, broker, message_id, lambda: len(stock.got) >= 20 and len(coupon.got) >= 20)
    assert sorted(d.message_id for d in stock.got) == sorted(d.message_id for d in coupon.got) == sorted(ids)


def test_group_shares_its_messages(broker_factory: BrokerFactory) -> None:
    """Of two consumers of a group, on brokers of their own and with threads, each message goes to one."""
    sender, left, right = broker_factory(), Inbox(), Inbox()
    broker_factory().consumer("stock", TOPIC, left, threads=3, batch=2)
    broker_factory().consumer("stock", TOPIC, right, threads=3, batch=2)
    producer = sender.producer("order")
    ids = [producer.send(text(TOPIC, str(n))) for n in range(60)]
    eventually(lambda: len(left.got) + len(right.got) >= 60)
    if broker_factory.traits.console:
        eventually(lambda: not sender.console().stats().pending)
    assert sorted(d.message_id for d in left.got + right.got) == sorted(ids)


def test_batch_is_a_limit(broker_factory: BrokerFactory) -> None:
    """A handler never gets more deliveries at once than it asked for."""
    broker, sizes = broker_factory(), []
    producer = broker.producer("order")
    for n in range(10):
        producer.send(text(TOPIC, str(n)))

    def handle(deliveries: Sequence[Delivery]) -> list[Verdict]:
        sizes.append(len(deliveries))
        return [Verdict.ACK] * len(deliveries)

    broker.consumer("stock", TOPIC, handle, batch=4)
    eventually(lambda: sum(sizes) == 10)
    assert max(sizes) <= 4


def test_new_group_starts_from_the_oldest_kept(broker_factory: BrokerFactory) -> None:
    """What was sent, committed or delayed before any group subscribed is delivered to a new group; the rest is not."""
    broker = broker_factory(check_first_after=LATE)
    producer = broker.producer("order")
    producer.send(text(TOPIC, "sent"))
    producer.resolve(producer.begin(text(TOPIC, "committed")), Resolution.COMMIT)
    producer.resolve(producer.begin(text(TOPIC, "rolled back")), Resolution.ROLLBACK)
    producer.begin(text(TOPIC, "half"))
    producer.send_at(text(DELAYED, "later"), now_ms() + 200)
    stock, coupon = Inbox(), Inbox()
    for group, inbox in (("stock", stock), ("coupon", coupon)):
        broker.consumer(group, TOPIC, inbox)
        broker.consumer(group, DELAYED, inbox)
        eventually(lambda: len(inbox.got) == 3)  # noqa: B023 - waited for at once
    assert sorted(stock.bodies) == sorted(coupon.bodies) == [b"committed", b"later", b"sent"]
    if broker_factory.traits.ordered:
        for inbox in (stock, coupon):
            assert [body for body in inbox.bodies if body != b"later"] == [b"sent", b"committed"]


def test_group_that_was_away_misses_nothing(broker_factory: BrokerFactory) -> None:
    """Messages sent while no consumer of a group was open come when one is, and what was acknowledged does not."""
    broker, before, after = broker_factory(), Inbox(), Inbox()
    producer = broker.producer("order")
    consumer = broker.consumer("stock", TOPIC, before)
    handled = producer.send(text(TOPIC, "1"))
    settled(broker_factory, broker, handled, lambda: before.got)
    consumer.close()
    producer.send(text(TOPIC, "2"))
    broker.consumer("stock", TOPIC, after)
    eventually(lambda: after.got, within=broker_factory.traits.patience)
    assert (before.bodies, after.bodies) == ([b"1"], [b"2"])


@pytest.mark.needs("console")
def test_backlog_is_told_by_group_and_topic(broker_factory: BrokerFactory) -> None:
    """Waiting, in flight, put off until a retry, and since when; what is not due yet, and what is done, is neither."""
    broker, may_end = (
        broker_factory(check_first_after=LATE, retry_first_after=LATE, retry_longest=LATE),
        threading.Event(),
    )

    def handle(deliveries: Sequence[Delivery]) -> list[Verdict]:
        if deliveries[0].message.body == b"held":
            may_end.wait(10)
            return [Verdict.ACK]
        return [Verdict.ACK if deliveries[0].message.body == b"handled" else Verdict.RETRY]

    def told() -> list[tuple[int, int]]:
        return [(one.waiting, one.in_flight) for one in broker.console().backlog()]

    producer = broker.producer("order")
    consumer = broker.consumer("stock", TOPIC, handle, batch=1)
    assert [(one.group, one.topic) for one in broker.console().backlog()] == [("stock", TOPIC)]
    assert told() == [(0, 0)]
    before = now_ms()
    for body in ("handled", "put off", "held", "waits", "waits too"):
        producer.send(text(TOPIC, body))
    producer.send_at(text(TOPIC, "later"), now_ms() + 3_600_000)
    producer.begin(text(TOPIC, "half"))
    eventually(lambda: told() == [(2, 2)])
    (one,) = broker.console().backlog()
    assert 0 <= one.oldest_age <= (now_ms() - before) / 1000
    may_end.set()
    eventually(lambda: told() == [(0, 3)])  # those that waited are put off too
    consumer.close()


# half messages


def test_half_message_is_invisible_until_committed(broker_factory: BrokerFactory) -> None:
    """A half message is delivered only once it is committed; a message sent after it overtakes it."""
    broker, inbox = broker_factory(check_first_after=LATE), Inbox()
    broker.consumer("stock", TOPIC, inbox)
    producer = broker.producer("order")
    half = producer.begin(ROLLBACK)
    producer.send(text(TOPIC, "after"))
    eventually(lambda: inbox.got)
    assert inbox.bodies == [b"after"]
    if broker_factory.traits.console:
        assert states(broker, half.message_id) == {State.HALF}
    producer.resolve(half, Resolution.COMMIT)
    eventually(lambda: len(inbox.got) == 2)
    assert inbox.got[1].message == ROLLBACK
    assert inbox.got[1].message_id == half.message_id
    if broker_factory.traits.console:
        assert view(broker, half.message_id).resolution is Resolution.COMMIT


def test_rolled_back_message_is_dropped(broker_factory: BrokerFactory) -> None:
    """A half message that was rolled back is never delivered, and is done."""
    broker, inbox = broker_factory(check_first_after=LATE), Inbox()
    broker.consumer("stock", TOPIC, inbox)
    producer = broker.producer("order")
    half = producer.begin(ROLLBACK)
    producer.resolve(half, Resolution.ROLLBACK)
    producer.send(text(TOPIC, "after"))
    eventually(lambda: inbox.got)
    assert inbox.bodies == [b"after"]
    if broker_factory.traits.console:
        found = view(broker, half.message_id)
        assert (found.state, found.resolution, found.groups) == (State.DONE, Resolution.ROLLBACK, ())
        assert found.resolved_at is not None
        assert states(broker, half.message_id) == {State.DONE}


@pytest.mark.parametrize("first", list(Resolution))
@pytest.mark.parametrize("second", list(Resolution))
def test_first_resolution_stands(broker_factory: BrokerFactory, first: Resolution, second: Resolution) -> None:
    """Resolving again, the same way or the other, changes nothing."""
    broker, inbox = broker_factory(check_first_after=LATE), Inbox()
    broker.consumer("stock", TOPIC, inbox)
    producer = broker.producer("order")
    half = producer.begin(ROLLBACK)
    producer.resolve(half, first)
    producer.resolve(half, second)
    producer.send(text(TOPIC, "after"))
    eventually(lambda: b"after" in inbox.bodies and len(inbox.got) > (first is Resolution.COMMIT))
    if broker_factory.traits.console:
        assert view(broker, half.message_id).resolution is first
    assert inbox.bodies.count(ROLLBACK.body) == (first is Resolution.COMMIT)


# check-back


def test_check_back_commits(broker_factory: BrokerFactory) -> None:
    """A half message left open is asked about, with everything it carries, and delivered when the answer is commit."""
    broker, inbox, oracle = broker_factory(), Inbox(), Oracle(CheckAnswer.COMMIT)
    broker.consumer("stock", TOPIC, inbox)
    half = broker.producer("order", oracle).begin(ROLLBACK)
    assert eventually(lambda: inbox.got, within=broker_factory.traits.patience)[0].message == ROLLBACK
    asked = oracle.asked[0]
    assert (asked.message_id, asked.message, asked.born_at) == (half.message_id, ROLLBACK, half.born_at)
    assert asked.checks == 1 or not broker_factory.traits.asked_soon
    if not broker_factory.traits.console:
        return
    assert len(oracle.asked) == 1
    found = view(broker, half.message_id)
    assert found.checks == (Check(found.checks[0].at, CheckAnswer.COMMIT, os.getpid()),)
    assert [(group.group, group.pid) for group in found.groups] == [("stock", os.getpid())]
    assert found.check_count == 1


def test_check_back_rolls_back(broker_factory: BrokerFactory) -> None:
    """A half message left open is dropped when the answer is roll back."""
    broker, inbox, oracle = broker_factory(), Inbox(), Oracle(CheckAnswer.ROLLBACK)
    broker.consumer("stock", TOPIC, inbox)
    producer = broker.producer("order", oracle)
    half = producer.begin(ROLLBACK)
    settled(broker_factory, broker, half.message_id, lambda: oracle.asked)
    if broker_factory.traits.console:
        assert view(broker, half.message_id).resolution is Resolution.ROLLBACK
    producer.send(text(TOPIC, "after"))
    eventually(lambda: inbox.got)
    assert inbox.bodies == [b"after"]


@pytest.mark.needs("check_times")
def test_first_check_waits(broker_factory: BrokerFactory) -> None:
    """The first check comes after its timeout, not before."""
    broker, oracle = broker_factory(check_first_after=0.3), Oracle(CheckAnswer.ROLLBACK)
    half = broker.producer("order", oracle).begin(ROLLBACK)
    eventually(lambda: oracle.asked)
    (check,) = view(broker, half.message_id).checks
    assert 300 <= check.at - half.born_at < 600


def test_unknown_is_asked_again(broker_factory: BrokerFactory) -> None:
    """UNKNOWN has the broker ask again, an interval later, and the count goes up."""
    unknown = CheckAnswer.UNKNOWN
    broker, oracle = broker_factory(), Oracle(unknown, unknown, CheckAnswer.ROLLBACK)
    half = broker.producer("order", oracle).begin(ROLLBACK)
    settled(broker_factory, broker, half.message_id, lambda: len(oracle.asked) >= 3)
    first = 1 if broker_factory.traits.asked_soon else oracle.asked[0].checks
    assert [asked.checks for asked in oracle.asked][:3] == [first, first + 1, first + 2]
    if not broker_factory.traits.console:
        return
    checks = view(broker, half.message_id).checks
    assert [check.answer for check in checks] == [unknown, unknown, CheckAnswer.ROLLBACK]
    assert checks[1].at - checks[0].at >= 250


def test_checker_that_raises_is_asked_again(broker_factory: BrokerFactory) -> None:
    """What a checker raises counts as UNKNOWN; the thread that asks survives it."""
    asked = []

    def checker(half: HalfMessage) -> CheckAnswer:
        asked.append(half)
        if len(asked) == 1:
            raise RuntimeError("the database is away")
        return CheckAnswer.COMMIT

    broker, inbox = broker_factory(), Inbox()
    broker.consumer("stock", TOPIC, inbox)
    half = broker.producer("order", checker).begin(ROLLBACK)
    eventually(lambda: inbox.got, within=broker_factory.traits.patience)
    assert [one.message_id for one in asked[:2]] == [half.message_id] * 2
    if broker_factory.traits.console:
        assert view(broker, half.message_id).checks[0].answer is CheckAnswer.UNKNOWN


def test_any_live_producer_of_the_group_answers(broker_factory: BrokerFactory) -> None:
    """When the sender is gone, another producer of its group is asked; one of another group is not."""
    gone, alive, watcher = broker_factory(check_first_after=0.2), broker_factory(), broker_factory()
    stranger, oracle = Oracle(CheckAnswer.ROLLBACK), Oracle(CheckAnswer.ROLLBACK)
    half = gone.producer("order", Oracle(CheckAnswer.COMMIT)).begin(ROLLBACK)
    theirs = gone.producer("pay").begin(ROLLBACK)
    gone.close()
    alive.producer("pay", stranger, topics=[TOPIC])
    eventually(lambda: stranger.asked, within=broker_factory.traits.patience)
    alive.producer("order", oracle, topics=[TOPIC])
    settled(broker_factory, watcher, half.message_id, lambda: oracle.asked)
    assert {asked.message_id for asked in oracle.asked} == {half.message_id}
    assert {asked.message_id for asked in stranger.asked} == {theirs.message_id}


@pytest.mark.needs("check_times")
def test_parked_after_the_last_check_then_resumed(broker_factory: BrokerFactory) -> None:
    """After N checks without a result a half message is parked; resumed, it is checked again, counted anew."""
    broker = broker_factory(check_max=2, check_first_after=0.03, check_interval=0.2)
    oracle = Oracle(CheckAnswer.UNKNOWN)
    half = broker.producer("order", oracle).begin(ROLLBACK)
    eventually(lambda: view(broker, half.message_id).state is State.PARKED)
    assert len(oracle.asked) == 2
    assert states(broker, half.message_id) == {State.PARKED}
    assert (broker.console().stats().half, broker.console().stats().parked) == (0, 1)
    oracle.answers = [CheckAnswer.ROLLBACK]
    broker.console().resume(half.message_id)
    eventually(lambda: view(broker, half.message_id).state is State.DONE)
    assert oracle.asked[2].checks == 1
    assert len(view(broker, half.message_id).checks) == 3


@pytest.mark.needs("check_times")
def test_a_half_message_is_checked_now(broker_factory: BrokerFactory) -> None:
    """Though its check is due in an hour; asked for ten times it is still not parked; resolved, there is none."""
    broker = broker_factory(check_max=2, check_first_after=3600.0, check_interval=3600.0)
    oracle = Oracle(CheckAnswer.UNKNOWN)
    half = broker.producer("order", oracle).begin(ROLLBACK)

    def ask_again() -> None:
        before = len(oracle.asked)
        broker.console().check_now(half.message_id)
        eventually(lambda: len(oracle.asked) > before)

    for _ in range(10):
        ask_again()
    assert view(broker, half.message_id).state is State.HALF
    oracle.answers = [CheckAnswer.ROLLBACK]
    broker.console().check_now(half.message_id)
    eventually(lambda: view(broker, half.message_id).state is State.DONE)
    with pytest.raises(MessageNotFound):
        broker.console().check_now(half.message_id)


@pytest.mark.needs("check_times")
def test_a_check_that_no_process_answers_is_not_put_off(broker_factory: BrokerFactory) -> None:
    """Asked for while no producer is there, it is still overdue since when it was."""
    broker = broker_factory(check_max=100, check_first_after=0.03, check_interval=3600.0)
    half = broker.producer("order").begin(ROLLBACK)
    due = view(broker, half.message_id).next_check_at
    assert due is not None
    eventually(lambda: now_ms() > due)
    broker.console().check_now(half.message_id)
    assert view(broker, half.message_id).next_check_at == due


@pytest.mark.needs("check_times")
def test_missed_checks_count_when_no_producer_is_online(broker_factory: BrokerFactory) -> None:
    """The count rises each interval though no process is there to answer, and the message is parked in the end."""
    broker = broker_factory(check_max=2, check_first_after=0.03, check_interval=0.03)
    half = broker.producer("order").begin(ROLLBACK)
    eventually(lambda: view(broker, half.message_id).state is State.PARKED)
    assert [check.answer for check in view(broker, half.message_id).checks] == [None, None]


@pytest.mark.needs("check_times")
def test_late_resolve_of_a_parked_message_counts(broker_factory: BrokerFactory) -> None:
    """The sender may still resolve what was parked meanwhile."""
    broker, inbox = broker_factory(check_max=1, check_first_after=0.03, check_interval=0.03), Inbox()
    broker.consumer("stock", TOPIC, inbox)
    producer = broker.producer("order")
    half = producer.begin(ROLLBACK)
    eventually(lambda: view(broker, half.message_id).state is State.PARKED)
    producer.resolve(half, Resolution.COMMIT)
    assert eventually(lambda: inbox.got)[0].message == ROLLBACK


def test_resolve_after_a_check_changes_nothing(broker_factory: BrokerFactory) -> None:
    """A sender that resolves after a check-back did is too late, and not told off."""
    broker, inbox, oracle = broker_factory(check_first_after=0.03), Inbox(), Oracle(CheckAnswer.ROLLBACK)
    broker.consumer("stock", TOPIC, inbox)
    producer = broker.producer("order", oracle)
    half = producer.begin(ROLLBACK)
    settled(broker_factory, broker, half.message_id, lambda: oracle.asked)
    producer.send(text(TOPIC, "after"))  # by when the answer has arrived
    eventually(lambda: inbox.got)
    producer.resolve(half, Resolution.COMMIT)
    producer.send(text(TOPIC, "later"))
    eventually(lambda: b"later" in inbox.bodies)
    assert not broker_factory.traits.final or ROLLBACK.body not in inbox.bodies
    if broker_factory.traits.console:
        assert view(broker, half.message_id).resolution is Resolution.ROLLBACK


# delay


def test_delayed_messages_come_at_their_time_and_in_its_order(broker_factory: BrokerFactory) -> None:
    """Delays are kept to the broker's step, never early, whatever the order of sending; the past means at once."""
    broker, inbox, step = broker_factory(), Inbox(), broker_factory.traits.step
    unit = max(1, step // 100)  # the delays are longer where the step is
    broker.consumer("order", "order_timeout", inbox)
    producer = broker.producer("order")
    start = now_ms()
    due = {b"350": start + 350 * unit, b"150": start + 150 * unit, b"250": start + 250 * unit, b"past": start - 10_000}
    for body, at in due.items():
        producer.send_at(Message("order_timeout", body), at)
    eventually(lambda: len(inbox.got) == 4, within=10)
    assert inbox.bodies == [b"past", b"150", b"250", b"350"]
    late = [at - max(due[body], start) for body, at in zip(inbox.bodies, inbox.at, strict=True)]
    assert min(late) >= 0
    assert max(late) < 150 + 2 * (step - 1)


def test_delay_has_no_upper_limit(broker_factory: BrokerFactory) -> None:
    """A message may be due in a thousand years, or later than any calendar."""
    broker, inbox = broker_factory(), Inbox()
    broker.consumer("order", "order_timeout", inbox)
    producer = broker.producer("order")
    in_1000_years = now_ms() + 1000 * 365 * 86_400_000
    message_id = producer.send_at(Message("order_timeout", b"x"), in_1000_years)
    later_still = producer.send_at(Message("order_timeout", b"x"), 2**80)
    if broker_factory.traits.console:
        assert view(broker, message_id).deliver_at == in_1000_years
        assert states(broker, message_id) == states(broker, later_still) == {State.DELAYED}
    assert not inbox.got


# retry, dead letters, invisible time


@pytest.mark.needs("redelivery")
def test_retry_comes_back_with_growing_delay(broker_factory: BrokerFactory) -> None:
    """RETRY brings a message back after a delay that doubles, attempts counted; others are not held up."""
    broker = broker_factory(retry_first_after=0.05, retry_longest=0.15, max_deliveries=5)
    inbox = Inbox(lambda d: Verdict.ACK if d.attempt == 5 or d.message.body == b"good" else Verdict.RETRY)
    broker.consumer("stock", TOPIC, inbox)
    producer = broker.producer("order")
    producer.send(text(TOPIC, "bad"))
    producer.send(text(TOPIC, "good"))
    eventually(lambda: b"good" in inbox.bodies)
    eventually(lambda: inbox.bodies.count(b"bad") == 5, within=broker_factory.traits.patience)
    bad = [(d.attempt, at) for d, at in zip(inbox.got, inbox.at, strict=True) if d.message.body == b"bad"]
    assert [attempt for attempt, _ in bad] == [1, 2, 3, 4, 5]
    gaps = [later - earlier for (_, earlier), (_, later) in pairwise(bad)]
    assert all(gap >= least for gap, least in zip(gaps, [50, 100, 150, 150], strict=True)), gaps


def test_nothing_is_taken_while_the_consumer_is_not_ready(broker_factory: BrokerFactory) -> None:
    """What comes meanwhile waits: it costs no attempt, and is handed over when the consumer is ready."""
    broker, is_ready, asked, inbox = broker_factory(), threading.Event(), threading.Semaphore(0), Inbox()

    def ready() -> bool:
        asked.release()
        return is_ready.is_set()

    broker.consumer("stock", TOPIC, inbox, ready=ready)
    broker.producer("order").send(text(TOPIC, "1"))
    for _ in range(8):
        assert asked.acquire(timeout=broker_factory.traits.patience)
    assert not inbox.got
    is_ready.set()
    eventually(lambda: inbox.got, within=broker_factory.traits.patience)
    assert (inbox.got[0].attempt, inbox.bodies[0]) == (1, b"1")


def test_a_consumer_that_is_not_ready_can_be_closed(broker_factory: BrokerFactory) -> None:
    """Closing does not wait for it, and the message goes to the next one."""
    broker, asked, inbox = broker_factory(), threading.Event(), Inbox()

    def never() -> bool:
        asked.set()
        return False

    consumer = broker.consumer("stock", TOPIC, Inbox(), ready=never)
    broker.producer("order").send(text(TOPIC, "1"))
    assert asked.wait(broker_factory.traits.patience)
    consumer.close()
    broker.consumer("stock", TOPIC, inbox)
    eventually(lambda: inbox.got, within=broker_factory.traits.patience)


@pytest.mark.needs("redelivery")
def test_last_delivery_is_the_last(broker_factory: BrokerFactory) -> None:
    """A message that was answered RETRY as often as it may be delivered does not come again; others do."""
    broker = broker_factory(max_deliveries=2)
    inbox = Inbox(lambda d: Verdict.RETRY if d.message.body == b"bad" or d.attempt < 3 else Verdict.ACK)
    broker.consumer("stock", TOPIC, inbox)
    patient = Inbox(inbox.answer)
    broker_factory(max_deliveries=3).consumer("coupon", TOPIC, patient)
    broker.producer("order").send(text(TOPIC, "bad"))
    eventually(lambda: len(patient.got) == 3, within=broker_factory.traits.patience)
    assert [d.attempt for d in inbox.got] == [1, 2]


@pytest.mark.needs("console")
def test_dead_letter_then_resent(broker_factory: BrokerFactory) -> None:
    """After the last delivery a message is dead for its group; resent, only that group gets it, counted anew."""
    broker, healthy = broker_factory(), Inbox()
    failing = Inbox(lambda _: Verdict.RETRY)
    broker.consumer("stock", TOPIC, failing)
    broker.consumer("coupon", TOPIC, healthy)
    message_id = broker.producer("order").send(ROLLBACK)
    eventually(lambda: view(broker, message_id).state is State.DEAD)
    eventually(lambda: healthy.got)
    assert [d.attempt for d in failing.got] == [1, 2, 3]
    assert states(broker, message_id) == {State.DEAD}
    assert broker.console().stats().dead == 1
    failing.answer = lambda _: Verdict.ACK
    broker.console().resend(message_id)
    eventually(lambda: view(broker, message_id).state is State.DONE)
    assert failing.got[3].attempt == 1
    assert len(healthy.got) == 1


def test_handler_that_raises_gets_all_again(broker_factory: BrokerFactory) -> None:
    """What a handler raises is RETRY for the whole batch; its thread survives."""
    broker, inbox = broker_factory(), Inbox()

    def handle(deliveries: Sequence[Delivery]) -> list[Verdict]:
        verdicts = inbox(deliveries)
        if deliveries[0].attempt == 1:
            raise RuntimeError("no stock table")
        return verdicts

    broker.consumer("stock", TOPIC, handle)
    message_id = broker.producer("order").send(ROLLBACK)
    settled(broker_factory, broker, message_id, lambda: len(inbox.got) >= 2)
    assert [d.attempt for d in inbox.got] == [1, 2]


@pytest.mark.parametrize("answer", [[], [Verdict.ACK] * 2, ["nonsense"], None])
def test_handler_with_a_wrong_answer_gets_all_again(broker_factory: BrokerFactory, answer: object) -> None:
    """Too few verdicts, too many, or none at all lose nothing: the batch comes again."""
    broker, attempts = broker_factory(), []

    def handle(deliveries: Sequence[Delivery]) -> list[Verdict]:
        attempts.append(deliveries[0].attempt)
        return answer if len(attempts) == 1 else [Verdict.ACK]  # type: ignore[return-value]

    broker.consumer("stock", TOPIC, handle)
    message_id = broker.producer("order").send(ROLLBACK)
    settled(broker_factory, broker, message_id, lambda: len(attempts) >= 2)
    assert attempts == [1, 2]


@pytest.mark.needs("redelivery")
def test_slow_handler_and_its_late_acknowledgement(broker_factory: BrokerFactory) -> None:
    """A message whose handler takes too long goes to another; the late ACK does not end the other's delivery."""
    broker = broker_factory(invisible_for=max(0.2, broker_factory.traits.invisible))
    release_slow, release_fast, slow_back = threading.Event(), threading.Event(), threading.Event()
    attempts: list[int] = []
    patience = broker_factory.traits.patience

    def handle(deliveries: Sequence[Delivery]) -> list[Verdict]:
        (delivery,) = deliveries
        attempts.append(delivery.attempt)
        (release_slow if delivery.attempt == 1 else release_fast).wait(patience)
        return [Verdict.ACK if delivery.attempt == 1 else Verdict.RETRY]

    def handle_and_tell(deliveries: Sequence[Delivery]) -> list[Verdict]:
        if deliveries[0].message.body == b"next":
            slow_back.set()
            return [Verdict.ACK]
        return handle(deliveries)

    broker.consumer("stock", TOPIC, handle_and_tell, threads=2)
    producer = broker.producer("order")
    message_id = producer.send(ROLLBACK)
    eventually(lambda: attempts[:2] == [1, 2], within=patience)
    release_slow.set()
    producer.send(text(TOPIC, "next"))
    eventually(slow_back.is_set)  # the slow thread has answered and gone on
    if broker_factory.traits.console:
        assert view(broker, message_id).groups[0].done_at is None
    release_fast.set()
    eventually(lambda: 3 in attempts, within=patience)


@pytest.mark.needs("redelivery")
def test_long_work_that_gets_on_keeps_its_messages(broker_factory: BrokerFactory) -> None:
    """A handler that says between its steps that it gets on may take longer than the invisible time."""
    invisible = max(0.3, broker_factory.traits.invisible)
    broker = broker_factory(invisible_for=invisible)
    attempts: list[tuple[bytes, int]] = []
    idle, over = threading.Event(), threading.Event()

    def handle(deliveries: Sequence[Delivery]) -> list[Verdict]:
        attempts.extend((delivery.message.body, delivery.attempt) for delivery in deliveries)
        until = now_ms() + 2000 * invisible
        while b"long" in deliveries[0].message.body and now_ms() < until:
            idle.wait(0.02)  # the work
            deliveries[0].keep()
        over.set()
        return [Verdict.ACK] * len(deliveries)

    broker.consumer("stock", TOPIC, handle, threads=2)
    producer = broker.producer("order")
    producer.send(text(TOPIC, "long"))
    assert over.wait(broker_factory.traits.patience + 2 * invisible)  # a consumer that is closing would take no more
    broker.close()
    again = broker_factory(invisible_for=invisible)
    again.consumer("stock", TOPIC, handle)
    again.producer("order").send(text(TOPIC, "next"))
    eventually(lambda: (b"next", 1) in attempts, within=broker_factory.traits.patience)
    assert attempts == [(b"long", 1), (b"next", 1)]


@pytest.mark.needs("console")
def test_message_that_outlives_its_last_delivery_is_dead(broker_factory: BrokerFactory) -> None:
    """A message whose every handler vanishes is dead after the last delivery, not delivered for ever."""
    broker = broker_factory(invisible_for=0.05, max_deliveries=2)
    release, attempts = threading.Event(), []

    def hang(deliveries: Sequence[Delivery]) -> list[Verdict]:
        attempts.append(deliveries[0].attempt)
        release.wait(10)
        return [Verdict.RETRY]

    broker.consumer("stock", TOPIC, hang, threads=4)
    message_id = broker.producer("order").send(ROLLBACK)
    eventually(lambda: view(broker, message_id).state is State.DEAD)
    release.set()
    assert attempts == [1, 2]


# the console


@pytest.mark.needs("console")
def test_in_flight_ready_and_no_group(broker_factory: BrokerFactory) -> None:
    """A message in a handler's hands is in flight; one whose turn has not come is ready, as is one without a group."""
    broker, release, busy = broker_factory(), threading.Event(), threading.Event()

    def hold(deliveries: Sequence[Delivery]) -> list[Verdict]:
        busy.set()
        release.wait(10)
        return [Verdict.ACK] * len(deliveries)

    broker.consumer("stock", TOPIC, hold)
    producer = broker.producer("order")
    held = producer.send(text(TOPIC, "held"))
    eventually(busy.is_set)
    waiting, unheard = producer.send(text(TOPIC, "waiting")), producer.send(text("elsewhere", "x"))
    unheard_later = producer.send_at(text("elsewhere", "x"), now_ms() + 60_000)
    assert states(broker, held) == {State.IN_FLIGHT}
    assert states(broker, waiting) == states(broker, unheard) == {State.READY}
    assert states(broker, unheard_later) == {State.DELAYED}
    assert [(g.group, g.state, g.attempts) for g in view(broker, held).groups] == [("stock", State.IN_FLIGHT, 1)]
    assert broker.console().stats().pending == 2
    release.set()
    eventually(lambda: states(broker, held) == {State.DONE})


@pytest.mark.needs("console")
def test_search(broker_factory: BrokerFactory) -> None:
    """Messages are found by topic, by any key, by id, newest first, up to a limit; all conditions hold together."""
    broker = broker_factory()
    producer, console = broker.producer("order"), broker.console()
    ids = [producer.send(replace(ROLLBACK, keys=("all", f"k{n}"))) for n in range(5)]
    other = producer.send(Message("other", b"", keys=("all",)))
    found = console.find(key="all", topic=TOPIC)
    assert [v.message_id for v in found] == ids[::-1]
    assert found[0].producer_group == "order"
    assert found[0].message == replace(ROLLBACK, keys=("all", "k4"))
    assert [v.message_id for v in console.find(key="k3")] == [ids[3]]
    assert [v.message_id for v in console.find(limit=2)] == [other, ids[4]]
    assert [v.message_id for v in console.find(message_id=ids[2], state=State.READY)] == [ids[2]]
    for none in (
        console.find(message_id=ids[2], topic="other"),
        console.find(key="K3"),
        console.find(message_id="no such id"),
        console.find(message_id="F" * 32),
    ):
        assert none == []


@pytest.mark.needs("console")
def test_search_goes_on_page_by_page(broker_factory: BrokerFactory) -> None:
    """From where a page ended, whatever is sent meanwhile: each message comes once, and the oldest at the end."""
    broker = broker_factory()
    producer, console = broker.producer("order"), broker.console()
    ids = [producer.send(replace(ROLLBACK, keys=(f"k{n}",))) for n in range(5)]
    first = console.find(topic=TOPIC, limit=2)
    producer.send(ROLLBACK)
    second = console.find(topic=TOPIC, limit=2, before=first[-1].cursor)
    third = console.find(topic=TOPIC, limit=2, before=second[-1].cursor)
    assert [[view.message_id for view in page] for page in (first, second, third)] == [
        [ids[4], ids[3]],
        [ids[2], ids[1]],
        [ids[0]],
    ]
    assert console.find(before=third[-1].cursor) == []


@pytest.mark.needs("console")
def test_search_by_group_and_by_time(broker_factory: BrokerFactory) -> None:
    """What a group was given or is due; what was born from one time on and before another."""
    broker = broker_factory()
    producer, console = broker.producer("order"), broker.console()
    assert console.find(born_from=0, born_until=now_ms()) == []
    broker.consumer("stock", TOPIC, lambda deliveries: [Verdict.ACK] * len(deliveries))
    ids = []
    for topic in (TOPIC, "other", TOPIC, "other"):
        ids.append(producer.send(Message(topic, b"")))
        born_at = view(broker, ids[-1]).born_at
        eventually(lambda born_at=born_at: now_ms() > born_at)
    born = [view(broker, message_id).born_at for message_id in ids]
    assert [v.message_id for v in console.find(group="stock")] == [ids[2], ids[0]]
    assert console.find(group="nobody") == []
    assert [v.message_id for v in console.find(born_from=born[1])] == ids[:0:-1]
    assert [v.message_id for v in console.find(born_until=born[2])] == [ids[1], ids[0]]
    assert [v.message_id for v in console.find(born_from=born[1], born_until=born[3], topic=TOPIC)] == [ids[2]]
    assert console.find(born_from=born[3] + 1) == console.find(born_until=born[0]) == []


@pytest.mark.needs("console")
def test_stats_age_the_oldest_half_message(broker_factory: BrokerFactory) -> None:
    """Unresolved half messages are counted, with the age of the oldest; none is age 0."""
    broker = broker_factory(check_first_after=LATE)
    assert (broker.console().stats().half, broker.console().stats().oldest_half_age) == (0, 0.0)
    producer = broker.producer("order")
    producer.begin(ROLLBACK)
    producer.begin(ROLLBACK)
    eventually(lambda: broker.console().stats().oldest_half_age >= 0.05)
    assert broker.console().stats().half == 2


@pytest.mark.needs("console")
def test_resend_and_resume_refuse_what_is_not_theirs(broker_factory: BrokerFactory) -> None:
    """Only dead messages can be resent and only parked ones resumed; anything else is not found."""
    broker = broker_factory(check_first_after=LATE)
    producer, console = broker.producer("order"), broker.console()
    sent, half = producer.send(ROLLBACK), producer.begin(ROLLBACK).message_id
    for message_id in (sent, half, "0" * 16, "no such id"):
        with pytest.raises(MessageNotFound):
            console.resend(message_id)
        with pytest.raises(MessageNotFound):
            console.resume(message_id)


# closing


def test_close_waits_for_handlers_and_leaves_no_thread(broker_factory: BrokerFactory) -> None:
    """Closing lets the handler in flight finish and its ACK count, and ends every thread; twice is no error."""
    before = set(threading.enumerate())
    broker, busy, release = broker_factory(), threading.Event(), threading.Event()

    def hold(deliveries: Sequence[Delivery]) -> list[Verdict]:
        busy.set()
        release.wait(10)
        return [Verdict.ACK] * len(deliveries)

    broker.consumer("stock", TOPIC, hold, threads=3)
    message_id = broker.producer("order", Oracle(CheckAnswer.UNKNOWN)).send(ROLLBACK)
    eventually(busy.is_set)
    closing = threading.Thread(target=broker.close)
    closing.start()
    closing.join(0.1)
    assert closing.is_alive()
    release.set()
    closing.join(5)
    left = set(threading.enumerate()) - before
    assert all(any(name in thread.name for name in broker_factory.traits.threads) for thread in left), left
    broker.close()
    if broker_factory.traits.console:
        assert view(broker_factory(), message_id).state is State.DONE


def test_closed_consumer_takes_no_more(broker_factory: BrokerFactory) -> None:
    """After close has returned no message reaches the handler; it stays ready for others."""
    broker, inbox = broker_factory(), Inbox()
    consumer = broker.consumer("stock", TOPIC, inbox, threads=2)
    consumer.close()
    message_id = broker.producer("order").send(ROLLBACK)
    if broker_factory.traits.console:
        assert states(broker, message_id) == {State.READY}
        assert view(broker, message_id).groups[0].attempts == 0
    heir = Inbox()
    broker.consumer("stock", TOPIC, heir)
    eventually(lambda: heir.got)
    assert not inbox.got


def test_ping(broker_factory: BrokerFactory) -> None:
    """A broker that answers and stores is pinged without complaint."""
    broker_factory().ping()
