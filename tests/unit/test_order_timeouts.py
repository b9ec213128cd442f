"""What a timeout message does: close what is unpaid, once it is due and decided."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from common.clock import now_ms
from common.errors import DatabaseUnavailable
from common.events import OrderEvent
from common.mq.port import Delivery, Message, Verdict
from common.tx.record import AlreadyAborted, Outcome
from order.consumer import TimeoutConsumer
from order.model import CloseReason, Status
from order.service.timeouts import TimeoutTooEarly
from tests.fakes import Shop

OLD = 60.0


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with closing(Shop(tmp_path, pay_timeout=0.0)) as shop:
        shop.sell(1, 10)
        yield shop


def _placed(shop: Shop) -> OrderEvent:
    order = shop.order({1: 1})
    return OrderEvent(tx_id=order.tx_id, order_ids=(order.order_id,))


def _never_placed(shop: Shop) -> OrderEvent:
    return OrderEvent(tx_id=shop.ids.next(), order_ids=(shop.ids.next(),))


def _outcome(shop: Shop, event: OrderEvent) -> Outcome | None:
    with shop.database.read() as connection:
        return shop.records.find(connection, [event.tx_id]).get(event.tx_id)


def test_due(shop: Shop) -> None:
    """An unpaid order is closed, and its stock comes back; delivered again: nothing."""
    event = _placed(shop)
    for _ in range(2):
        shop.timeouts.handle(event)
    order = shop.reader.get(event.order_ids[0], owner=None)
    assert (order.status, order.close_reason) == (Status.CLOSED, CloseReason.TIMEOUT)
    shop.quiet()
    assert shop.available(1) == 10
    assert len(shop.rollbacks(order.order_id)) == 2


def test_paid(shop: Shop) -> None:
    """A paid order is left alone."""
    event = _placed(shop)
    shop.paying.pay(event.order_ids[0], owner=None)
    shop.timeouts.handle(event)
    assert shop.reader.get(event.order_ids[0], owner=None).status is Status.PAID
    assert shop.state(event.order_ids[0]) == "deducted"


def test_too_early(tmp_path: Path) -> None:
    """A timeout that comes before its time must come again: nothing is closed."""
    with closing(Shop(tmp_path)) as shop:
        shop.sell(1, 1)
        event = _placed(shop)
        with pytest.raises(TimeoutTooEarly):
            shop.timeouts.handle(event)
        assert shop.reader.get(event.order_ids[0], owner=None).status is Status.CREATED


def test_undecided(shop: Shop) -> None:
    """A timeout that arrives before its order does must come again: it is not swallowed, nothing is fenced."""
    event = _never_placed(shop)
    with pytest.raises(TimeoutTooEarly):
        shop.timeouts.handle(event)
    assert _outcome(shop, event) is None


def test_undecided_for_too_long(shop: Shop) -> None:
    """An order that never came is fenced by its timeout: it can't come any more."""
    shop.ids.age = OLD
    event = _never_placed(shop)
    shop.timeouts.handle(event)
    assert _outcome(shop, event) is Outcome.ABORTED


def test_late_order_is_refused(shop: Shop) -> None:
    """A placing that comes after its own timeout is refused."""
    shop.ids.age = OLD
    timeout: list[OrderEvent] = []

    def time_out() -> None:
        (view,) = shop.console.find(topic="order_timeout")
        timeout.append(OrderEvent.from_body(view.message.body))
        shop.timeouts.handle(timeout[0])

    shop.faults.hooks["deduct"] = time_out
    with pytest.raises(AlreadyAborted):
        shop.order({1: 1})
    shop.check_back()
    shop.quiet()
    assert shop.available(1) == 10
    assert shop.state(timeout[0].order_ids[0]) == "released"


def test_committed_in_between(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that is committed between the look for it and the look for its record is closed all the same."""
    event = _placed(shop)
    seen = shop.timeouts._expiries
    looks: list[int] = []

    def late(event: OrderEvent) -> dict[int, int]:
        looks.append(1)
        return {} if len(looks) == 1 else seen(event)

    monkeypatch.setattr(shop.timeouts, "_expiries", late)
    shop.timeouts.handle(event)
    assert shop.reader.get(event.order_ids[0], owner=None).status is Status.CLOSED


def test_dropped_order(shop: Shop) -> None:
    """Of a batch, those that were placed are closed; one that dropped out is nothing to wait for."""
    placed = _placed(shop)
    shop.timeouts.handle(OrderEvent(tx_id=placed.tx_id, order_ids=(*placed.order_ids, shop.ids.next())))
    assert shop.reader.get(placed.order_ids[0], owner=None).status is Status.CLOSED


def test_all_dropped(shop: Shop) -> None:
    """A batch that is committed, of whose orders none is left, is done with."""
    event = _placed(shop)
    shop.timeouts.handle(OrderEvent(tx_id=event.tx_id, order_ids=(shop.ids.next(),)))


def _delivery(body: bytes) -> Delivery:
    return Delivery("m", Message("order_timeout", body), 1, now_ms())


def test_consumer(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is handled is acknowledged; what is early, unreadable or failed comes again, each alone."""
    counted: list[str] = []
    consumer = TimeoutConsumer(shop.timeouts, counted.append)
    due, early = _placed(shop), _never_placed(shop)
    deliveries = [_delivery(b"{}"), _delivery(due.to_body()), _delivery(early.to_body())]
    assert consumer(deliveries) == [Verdict.RETRY, Verdict.ACK, Verdict.RETRY]

    def down(_: object) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(shop.timeouts, "handle", down)
    assert consumer(deliveries[1:2]) == [Verdict.RETRY]
    assert counted == ["retried", "handled", "early", "retried"]
