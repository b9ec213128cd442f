"""Delays by levels and hops."""

import pytest

from halfmessage.clock import now_ms
from halfmessage.mq.port import (
    Message,
)
from halfmessage.mq.rocketmq_remoting import consumer as consumer_module
from halfmessage.mq.rocketmq_remoting.levels import level_for
from tests.native.standin import Standin
from tests.support import eventually
from tests.unit.rocketmq_remoting.kit import CONSUMED, LATER, Inbox, Open


@pytest.mark.parametrize(
    ("seconds", "level"),
    [
        *[(-5, 0), (0, 0), (0.001, 1), (1, 1), (1.5, 1), (3.9, 1), (4, 2), (5, 2), (7, 2), (9.5, 3)],
        *[(299.5, 9), (900, 14), (7200, 18), (1e12, 18)],
    ],
)
def test_level(seconds: float, level: int) -> None:
    """The next level up if it is at most a second too long, else the longest that is too short."""
    assert level_for(int(seconds * 1000)) == level


@pytest.mark.parametrize("ahead", [1, 999, 1000, 1001, 7300, 29_000, 59_000, 899_999, 1_800_000, 90_000_000])
def test_hops_end_in_time(ahead: int) -> None:
    """Hop by hop a message is never early and at most a second late, with few hops."""
    levels = (0, 1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200)
    left, hops = ahead, 0
    while (level := level_for(left)) > 0:
        left -= levels[level] * 1000
        hops += 1
    assert -1000 <= left <= 0
    assert hops <= 5 + ahead // 7_200_000


def test_delayed_message_hops_until_its_time(open_: Open, standin: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A delayed message that comes early goes on, for each group on its own; at its time each has it once, whole."""
    broker, order, audit = open_(), Inbox(), Inbox()
    broker.consumer("order", "order_timeout", order)
    broker.consumer("audit", "order_timeout", audit)
    start = now_ms()
    message = Message("order_timeout", b"\0", keys=("7001",), properties={"tx_id": "t"})
    message_id = broker.producer("order").send_at(message, start + 900_000)
    for minutes, hops in ((10, 2), (15, 0)):
        passed = start + minutes * 60_000
        monkeypatch.setattr(consumer_module, "now_ms", lambda passed=passed: passed)
        assert (order.got, audit.got) == ([], [])
        before = len(standin.levels)
        standin.dll.standin_let_time_pass()
        eventually(lambda before=before, hops=hops: len(standin.levels) == before + hops)
    eventually(lambda: order.got and audit.got)
    # 10 minutes; then, for either group, 5; a copy that is another group's is let pass
    eventually(lambda: standin.returned(standin.CONSUME) == [CONSUMED] * 6)
    assert standin.levels == [14, 9, 9]
    for inbox in (order, audit):
        assert [(d.message_id, d.message) for d in inbox.got] == [(message_id, message)]


def test_message_that_is_due_goes_at_once(open_: Open, standin: Standin) -> None:
    """A time that has passed is no delay."""
    broker, inbox = open_(), Inbox()
    broker.consumer("order", "order_timeout", inbox)
    broker.producer("order").send_at(Message("order_timeout", b"x"), now_ms() - 1000)
    eventually(lambda: inbox.got)
    assert standin.levels == [0]


def test_hop_that_fails_is_retried(open_: Open, standin: Standin) -> None:
    """A hop that can't be sent on stays with the broker: RECONSUME_LATER."""
    broker, inbox = open_(), Inbox()
    broker.consumer("order", "order_timeout", inbox)
    broker.producer("order").send_at(Message("order_timeout", b"x"), now_ms() + 900_000)
    standin.play(error=True)
    standin.dll.standin_let_time_pass()
    eventually(lambda: LATER in standin.returned(standin.CONSUME))
    standin.play()
    eventually(lambda: len(standin.returned(standin.CONSUME)) == 5 or standin.returned(standin.CONSUME)[-1] == CONSUMED)
    assert not inbox.got
