"""Closing and paying: the first one wins, and a paid order is never released."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from halfmessage.errors import BrokerError, CommitOutcomeUnknown, DatabaseUnavailable, NotFound, OutcomeUnknown
from halfmessage.mq.port import CheckAnswer, Resolution, State
from halfmessage.tx.record import AlreadyAborted
from order.model import CloseReason, OrderClosed, OrderPaid, Status
from tests.fakes import Shop

OLD = 60.0


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with closing(Shop(tmp_path)) as shop:
        shop.sell(1, 10)
        yield shop


def _place(shop: Shop, number: int) -> list[int]:
    return [shop.order({1: 1}).order_id for _ in range(number)]


def _status(shop: Shop, order_id: int) -> Status:
    return shop.reader.get(order_id, owner=None).status


def test_cancel(shop: Shop) -> None:
    """A cancelled order is closed, says why and since when, and its stock comes back; again: the same."""
    (order_id,) = _place(shop, 1)
    order = shop.closing.cancel(order_id, owner="ann")
    assert (order.status, order.close_reason) == (Status.CLOSED, CloseReason.CANCELLED)
    assert order.closed_at is not None
    assert shop.closing.cancel(order_id, owner="ann") == order
    shop.quiet()
    assert shop.state(order_id) == "released"
    assert [view.resolution for view in shop.rollbacks(order_id)] == [Resolution.ROLLBACK, Resolution.COMMIT]


def test_cancel_paid(shop: Shop) -> None:
    """A paid order can't be cancelled, and its stock stays."""
    (order_id,) = _place(shop, 1)
    shop.pay(order_id, owner="ann")
    with pytest.raises(OrderPaid):
        shop.closing.cancel(order_id, owner="ann")
    assert shop.state(order_id) == "deducted"


def test_pay(shop: Shop) -> None:
    """A paid order says since when; again: the same."""
    (order_id,) = _place(shop, 1)
    order = shop.pay(order_id)
    assert order.status is Status.PAID
    assert order.paid_at is not None
    assert shop.pay(order_id, owner="ann") == order


def test_pay_closed(shop: Shop) -> None:
    """A closed order can't be paid."""
    (order_id,) = _place(shop, 1)
    shop.closing.cancel(order_id, owner="ann")
    with pytest.raises(OrderClosed):
        shop.pay(order_id, owner="ann")


def test_another_users_order(shop: Shop) -> None:
    """Another user's order is not found, nor one that does not exist."""
    (order_id,) = _place(shop, 1)
    for wrong, owner in ((order_id, "bob"), (order_id + 1, "ann"), (order_id + 1, None)):
        with pytest.raises(NotFound):
            shop.pay(wrong, owner=owner)
        with pytest.raises(NotFound):
            shop.closing.cancel(wrong, owner=owner)
    assert _status(shop, order_id) is Status.CREATED


def test_close_batch(shop: Shop) -> None:
    """Unpaid orders are closed under one message; the others among them are left alone and not named in it."""
    unpaid, paid, also_unpaid, closed = order_ids = _place(shop, 4)
    shop.pay(paid)
    shop.closing.cancel(closed, owner=None)
    assert shop.closing.close([*order_ids, 404], CloseReason.TIMEOUT) == sorted([unpaid, also_unpaid])
    message = shop.rollbacks(unpaid)[-1].message
    assert message.keys == (str(unpaid), str(also_unpaid))
    assert message.tag == "timeout"
    shop.quiet()
    assert [shop.state(o) for o in order_ids] == ["released", "deducted", "released", "released"]
    assert shop.closing.close(order_ids, CloseReason.TIMEOUT) == []


def test_close_batch_against_a_payment(shop: Shop) -> None:
    """A payment in the middle: the message that named the order is dropped; the next one does without it."""
    first, second = _place(shop, 2)
    shop.faults.hooks["begin"] = lambda: shop.pay(second)
    assert shop.closing.close([first, second], CloseReason.TIMEOUT) == [first]
    shop.quiet()
    assert [_status(shop, o) for o in (first, second)] == [Status.CLOSED, Status.PAID]
    assert [shop.state(o) for o in (first, second)] == ["released", "deducted"]
    assert [view.resolution for view in shop.rollbacks(second)] == [Resolution.ROLLBACK, Resolution.ROLLBACK]


def test_pay_against_timeout(shop: Shop) -> None:
    """Pay and timeout at once, many times: one wins, and the stock is where the winner says."""
    for order_id in _place(shop, 10):
        start = threading.Barrier(2)
        closed: list[list[int]] = []

        def close(order_id: int = order_id, start: Any = start, closed: Any = closed) -> None:
            start.wait()
            closed.append(shop.closing.close([order_id], CloseReason.TIMEOUT))

        thread = threading.Thread(target=close)
        thread.start()
        start.wait()
        try:
            paid = shop.pay(order_id).status is Status.PAID
        except OrderClosed:
            paid = False
        thread.join()
        shop.quiet()
        assert closed == [[] if paid else [order_id]]
        assert _status(shop, order_id) is (Status.PAID if paid else Status.CLOSED)
        assert shop.state(order_id) == ("deducted" if paid else "released")


def test_broker_down_at_begin(shop: Shop) -> None:
    """Without a half message nothing is closed."""
    (order_id,) = _place(shop, 1)
    shop.faults.plan("begin", BrokerError())
    with pytest.raises(BrokerError):
        shop.closing.cancel(order_id, owner=None)
    assert _status(shop, order_id) is Status.CREATED


def test_resolve_fails(shop: Shop) -> None:
    """A closed order is closed, even if the broker does not answer; the check-back delivers its rollback."""
    (order_id,) = _place(shop, 1)
    shop.faults.plan("resolve", BrokerError())
    assert shop.closing.cancel(order_id, owner=None).status is Status.CLOSED
    assert shop.check_back() == [CheckAnswer.COMMIT]
    shop.quiet()
    assert shop.state(order_id) == "released"


def test_checker_gave_up_on_us(shop: Shop) -> None:
    """A closing that is fenced before it commits is refused; its message is dropped, and it may be tried again."""
    (order_id,) = _place(shop, 1)
    shop.ids.age = OLD
    transact = shop.database.transact

    def fenced_first(work: Any) -> Any:
        shop.database.transact = transact  # type: ignore[method-assign]
        shop.check_back()
        return transact(work)

    shop.database.transact = fenced_first  # type: ignore[method-assign]
    with pytest.raises(AlreadyAborted):
        shop.closing.cancel(order_id, owner=None)
    assert _status(shop, order_id) is Status.CREATED
    assert shop.rollbacks(order_id)[-1].resolution is Resolution.ROLLBACK
    shop.ids.age = 0.0
    assert shop.closing.cancel(order_id, owner=None).status is Status.CLOSED


@pytest.mark.parametrize("stands", [True, False], ids=["it committed", "it did not"])
def test_connection_lost_in_commit(shop: Shop, monkeypatch: pytest.MonkeyPatch, stands: bool) -> None:
    """A closing whose outcome is not known is left to its check-back; the client is told to ask later."""
    (order_id,) = _place(shop, 1)
    shop.ids.age = OLD
    transact = shop.database.transact

    def lost(work: Any) -> None:
        if stands:
            transact(work)
        raise CommitOutcomeUnknown

    with monkeypatch.context() as patch:
        patch.setattr(shop.database, "transact", lost)
        with pytest.raises(OutcomeUnknown) as caught:
            shop.closing.cancel(order_id, owner=None)
    assert caught.value.members == {"order_id": str(order_id)}
    assert shop.rollbacks(order_id)[-1].state is State.HALF
    assert shop.check_back() == [CheckAnswer.COMMIT if stands else CheckAnswer.ROLLBACK]
    shop.quiet()
    assert shop.state(order_id) == ("released" if stands else "deducted")


def test_database_down(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closing that certainly did not happen drops its message."""
    (order_id,) = _place(shop, 1)

    def down(_: object) -> None:
        raise DatabaseUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(shop.database, "transact", down)
        with pytest.raises(DatabaseUnavailable):
            shop.closing.cancel(order_id, owner=None)
    assert shop.rollbacks(order_id)[-1].resolution is Resolution.ROLLBACK
    assert shop.state(order_id) == "deducted"


@pytest.mark.parametrize("stands", [True, False], ids=["it committed", "it did not"])
def test_payment_lost_in_commit(shop: Shop, monkeypatch: pytest.MonkeyPatch, stands: bool) -> None:
    """A payment whose outcome is not known is answered so; asked again, it is what the database says."""
    (order_id,) = _place(shop, 1)
    transact = shop.database.transact

    def lost(work: Any) -> None:
        if stands:
            transact(work)
        raise CommitOutcomeUnknown

    with monkeypatch.context() as patch:
        patch.setattr(shop.database, "transact", lost)
        with pytest.raises(OutcomeUnknown) as caught:
            shop.pay(order_id)
    assert caught.value.members == {"order_id": str(order_id)}
    assert _status(shop, order_id) is (Status.PAID if stands else Status.CREATED)


def test_nothing_partly_closed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closing that fails in the middle of its local transaction closes no order of the batch."""
    order_ids = _place(shop, 2)
    transact = shop.database.transact

    def failing(work: Any) -> Any:
        def half_way(connection: Connection) -> None:
            work(connection)
            raise DatabaseUnavailable

        return transact(half_way)

    with monkeypatch.context() as patch:
        patch.setattr(shop.database, "transact", failing)
        with pytest.raises(DatabaseUnavailable):
            shop.closing.close(order_ids, CloseReason.TIMEOUT)
    assert [_status(shop, o) for o in order_ids] == [Status.CREATED] * 2
