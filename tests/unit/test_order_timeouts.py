"""What a timeout message does: close what is unpaid, once it is due and decided."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from halfmessage.clock import now_ms
from halfmessage.errors import DatabaseUnavailable
from halfmessage.mq.port import Delivery, Message, Verdict
from halfmessage.participant.event import OrderEvent
from halfmessage.tx.record import AlreadyAborted, Outcome
from order.consumer import EventConsumer
from order.model import CloseReason, Status, transaction_records
from tests.fakes import RETENTION, Shop

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
        assert shop.timeouts.handle([event]) == [True]
    order = shop.reader.get(event.order_ids[0], owner=None)
    assert (order.status, order.close_reason) == (Status.CLOSED, CloseReason.TIMEOUT)
    shop.quiet()
    assert shop.available(1) == 10
    assert len(shop.rollbacks(order.order_id)) == 2


@pytest.mark.parametrize("status", ["never placed", "created", "paid"])
def test_older_than_records_are_kept(shop: Shop, status: str) -> None:
    """A timeout that comes after its record was purged is handled by what its order's row says."""
    shop.ids.age = RETENTION - 60
    event = _never_placed(shop) if status == "never placed" else _placed(shop)
    if status == "paid":
        shop.pay(event.order_ids[0])
    shop.database.transact(lambda c: c.execute(delete(transaction_records)))
    shop.records._retention_ms -= 120_000  # so much later
    shop.ids.age = 0.0
    assert shop.timeouts.handle([event]) == [True]
    if status != "never placed":
        became = shop.reader.get(event.order_ids[0], owner=None).status
        assert became is (Status.PAID if status == "paid" else Status.CLOSED)


def test_paid(shop: Shop) -> None:
    """A paid order is left alone."""
    event = _placed(shop)
    shop.pay(event.order_ids[0])
    assert shop.timeouts.handle([event]) == [True]
    assert shop.reader.get(event.order_ids[0], owner=None).status is Status.PAID
    assert shop.state(event.order_ids[0]) == "deducted"


def test_too_early(tmp_path: Path) -> None:
    """A timeout that comes before its time must come again: nothing is closed."""
    with closing(Shop(tmp_path)) as shop:
        shop.sell(1, 1)
        event = _placed(shop)
        assert shop.timeouts.handle([event]) == [False]
        assert shop.reader.get(event.order_ids[0], owner=None).status is Status.CREATED


def test_undecided(shop: Shop) -> None:
    """A timeout that arrives before its order does must come again: it is not swallowed, nothing is fenced."""
    event = _never_placed(shop)
    assert shop.timeouts.handle([event]) == [False]
    assert _outcome(shop, event) is None


def test_undecided_for_too_long(shop: Shop) -> None:
    """An order that never came is fenced by its timeout: it can't come any more."""
    shop.ids.age = OLD
    event = _never_placed(shop)
    assert shop.timeouts.handle([event]) == [True]
    assert _outcome(shop, event) is Outcome.ABORTED


def test_late_order_is_refused(shop: Shop) -> None:
    """A placing that comes after its own timeout is refused."""
    shop.ids.age = OLD
    timeout: list[OrderEvent] = []

    def time_out() -> None:
        (view,) = shop.console.find(topic="order_timeout")
        timeout.append(OrderEvent.from_body(view.message.body))
        assert shop.timeouts.handle(timeout) == [True]

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

    def late(events: Sequence[OrderEvent]) -> dict[int, int]:
        looks.append(1)
        return {} if len(looks) == 1 else seen(events)

    monkeypatch.setattr(shop.timeouts, "_expiries", late)
    assert shop.timeouts.handle([event]) == [True]
    assert shop.reader.get(event.order_ids[0], owner=None).status is Status.CLOSED


def test_committed_before_its_record_is_read(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a record says committed, its order is looked for again: a look before it may have come too early."""
    event = _placed(shop)
    seen, outcome = shop.timeouts._expiries, shop.checker.outcome
    committed: list[int] = []
    monkeypatch.setattr(shop.timeouts, "_expiries", lambda events: seen(events) if committed else {})
    monkeypatch.setattr(shop.checker, "outcome", lambda tx_id: committed.append(tx_id) or outcome(tx_id))
    assert shop.timeouts.handle([event]) == [True]
    assert shop.reader.get(event.order_ids[0], owner=None).status is Status.CLOSED


def test_orders_that_are_there_are_looked_for_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restart a broker delivers thousands of timeouts again, of orders that are paid or closed long since."""
    event = _placed(shop)
    shop.pay(event.order_ids[0])
    seen = shop.timeouts._expiries
    looks: list[Sequence[OrderEvent]] = []
    monkeypatch.setattr(shop.timeouts, "_expiries", lambda events: looks.append(events) or seen(events))
    assert shop.timeouts.handle([event]) == [True]
    assert looks == [[event]]


def test_dropped_order(shop: Shop) -> None:
    """Of a batch, those that were placed are closed; one that dropped out is nothing to wait for."""
    placed = _placed(shop)
    event = OrderEvent(tx_id=placed.tx_id, order_ids=(*placed.order_ids, shop.ids.next()))
    assert shop.timeouts.handle([event]) == [True]
    assert shop.reader.get(placed.order_ids[0], owner=None).status is Status.CLOSED


def test_all_dropped(shop: Shop) -> None:
    """A batch that is committed, of whose orders none is left, is done with."""
    event = _placed(shop)
    assert shop.timeouts.handle([OrderEvent(tx_id=event.tx_id, order_ids=(shop.ids.next(),))]) == [True]


def test_many_are_closed_together(shop: Shop) -> None:
    """The due ones of several messages are closed under one half message; the others come again."""
    due = [_placed(shop) for _ in range(3)]
    paid, early = _placed(shop), _never_placed(shop)
    shop.pay(paid.order_ids[0])
    assert shop.timeouts.handle([due[0], early, *due[1:], paid]) == [True, False, True, True, True]
    statuses = [shop.reader.get(event.order_ids[0], owner=None).status for event in (*due, paid)]
    assert statuses == [Status.CLOSED, Status.CLOSED, Status.CLOSED, Status.PAID]
    closing = shop.rollbacks(due[0].order_ids[0])[1]
    assert set(closing.message.keys) == {str(event.order_ids[0]) for event in due}


def test_very_many_are_closed_in_parts(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """No message names more orders than a broker can take."""
    monkeypatch.setattr("order.service.closing.ROWS", 2)
    events = [_placed(shop) for _ in range(5)]
    assert shop.timeouts.handle(events) == [True] * 5
    sizes = [len(shop.rollbacks(event.order_ids[0])[1].message.keys) for event in events]
    assert sizes == [2, 2, 2, 2, 1]


def _consumer(shop: Shop, *told: Any) -> EventConsumer[OrderEvent]:
    return EventConsumer("timeout", OrderEvent, lambda events: shop.timeouts.handle(events), *told)  # noqa: PLW0108 - tests replace it


def _delivery(message_id: str, body: bytes) -> Delivery:
    return Delivery(message_id, Message("order_timeout", body), 1, now_ms())


def test_consumer(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is handled is acknowledged; what is early, unreadable or failed comes again, each alone."""
    counted: list[tuple[str, int]] = []
    failed: list[bool] = []
    consumer = _consumer(shop, lambda *result: counted.append(result), lambda: failed.append(True))
    due, early = _placed(shop), _never_placed(shop)
    deliveries = [_delivery("1", b"{}"), _delivery("2", due.to_body()), _delivery("3", early.to_body())]
    assert consumer(deliveries) == [Verdict.RETRY, Verdict.ACK, Verdict.RETRY]
    assert counted == [("early", 1), ("handled", 1), ("retried", 1)]
    assert consumer(deliveries[:1]) == [Verdict.RETRY]

    def down(_: object) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(shop.timeouts, "handle", down)
    assert not failed
    assert consumer(deliveries[1:2]) == [Verdict.RETRY]
    assert counted[3:] == [("retried", 1), ("retried", 1)]
    assert failed


def test_batches_are_bounded_by_orders(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many orders the messages name, so many are closed together; each part keeps the messages."""
    monkeypatch.setattr("halfmessage.participant.event.ROWS", 2)
    kept: list[int] = []
    events = [_placed(shop) for _ in range(5)]
    ids = [order_id for event in events for order_id in event.order_ids]
    large = OrderEvent(tx_id=events[0].tx_id, order_ids=tuple(ids[:3]))
    rest = OrderEvent(tx_id=events[3].tx_id, order_ids=tuple(ids[3:]))
    deliveries = [
        Delivery(name, Message("order_timeout", event.to_body()), 1, 0, lambda: kept.append(1))
        for name, event in (("large", large), ("rest", rest))
    ]
    assert _consumer(shop)(deliveries) == [Verdict.ACK, Verdict.ACK]
    assert [len(shop.rollbacks(order_id)[1].message.keys) for order_id in ids] == [2, 2, 1, 2, 2]
    assert len(kept) == 3


def test_a_message_in_parts_is_as_its_worst_part(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose last part fails comes again whole, though its first is done; after a failure nothing is tried."""
    monkeypatch.setattr("halfmessage.participant.event.ROWS", 1)
    events = [_placed(shop) for _ in range(3)]
    ids = [order_id for event in events for order_id in event.order_ids]
    handle, tried = shop.timeouts.handle, []

    def fail_at_the_third(part: Sequence[OrderEvent]) -> list[bool]:
        tried.append(part)
        if len(tried) == 3:
            raise DatabaseUnavailable
        return handle(part)

    monkeypatch.setattr(shop.timeouts, "handle", fail_at_the_third)
    early = _never_placed(shop)
    halfway = OrderEvent(tx_id=events[0].tx_id, order_ids=(ids[1], ids[2]))
    bodies = [events[0].to_body(), halfway.to_body(), early.to_body()]
    deliveries = [_delivery(str(n), body) for n, body in enumerate(bodies)]
    counted: list[tuple[str, int]] = []
    assert _consumer(shop, lambda *result: counted.append(result))(deliveries) == [
        Verdict.ACK,
        Verdict.RETRY,
        Verdict.RETRY,
    ]
    assert counted == [("handled", 1), ("retried", 2)]
    assert len(tried) == 3


def test_more_orders_than_a_statement_may_name(shop: Shop) -> None:
    """Thousands of order ids in one timeout, of which few came to be: those are closed."""
    event = _placed(shop)
    crowd = OrderEvent(tx_id=event.tx_id, order_ids=(*range(1, 3000), *event.order_ids))
    assert _consumer(shop)([_delivery("1", crowd.to_body())]) == [Verdict.ACK]
    assert shop.reader.get(event.order_ids[0], owner=None).status is Status.CLOSED
