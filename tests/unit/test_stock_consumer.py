"""`order_rollback` messages: released in one transaction, acknowledged after it, retried where that failed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from common.db import Database
from halfmessage.chunks import ROWS
from halfmessage.errors import DatabaseUnavailable, NotReleased
from halfmessage.mq.port import Delivery, Message, Verdict
from halfmessage.participant.consumer import RollbackConsumer
from halfmessage.participant.event import OrderEvent
from halfmessage.participant.model import ReservationState
from halfmessage.participant.reservations import Reservations
from stock import model
from stock.service.levels import Levels
from stock.service.pieces import stock_reservations
from stock.service.strategies.port import Lines
from tests.fakes import open_database
from tests.support import Transactions

TX = 100


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path / "stock.db", model.metadata)
    yield database
    database.close()


@pytest.fixture
def levels(database: Database) -> Levels:
    levels = Levels(database)
    levels.set_total(1, 5)
    return levels


@pytest.fixture
def reservations(database: Database) -> Reservations[Lines]:
    return stock_reservations(database)


def _delivery(body: bytes, message_id: str = "m") -> Delivery:
    return Delivery(message_id, Message("order_rollback", body), 1, 0)


def test_batch(reservations: Reservations[Lines], levels: Levels) -> None:
    """A batch of rollbacks is released in one go; one that can't be read is retried alone."""
    reservations.deduct(TX, {7: {1: 2}, 9: {1: 3}})
    counted: list[tuple[str, int]] = []
    consumer = RollbackConsumer(reservations, lambda what, number: counted.append((what, number)))
    good = OrderEvent(tx_id=TX, order_ids=(7, 8)).to_body()
    more = OrderEvent(tx_id=TX, order_ids=(9,)).to_body()
    verdicts = consumer([_delivery(b"no JSON", "bad"), _delivery(good, "good"), _delivery(more, "more")])
    assert verdicts == [Verdict.RETRY, Verdict.ACK, Verdict.ACK]
    assert levels.get(1).available == 5
    assert reservations.get(8).state is ReservationState.RELEASED
    assert counted == [("released", 2), ("retried", 1)]


def test_database_down(reservations: Reservations[Lines], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rollbacks that could not be done are retried, all of them, once the database is there again."""
    failed: list[bool] = []

    def down(_: object) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(reservations, "release", down)
    good = OrderEvent(tx_id=TX, order_ids=(7,)).to_body()
    consumer = RollbackConsumer(reservations, failed=lambda: failed.append(True))
    assert consumer([_delivery(good)] * 2) == [Verdict.RETRY] * 2
    assert failed


@pytest.fixture
def miscounted(database: Database, levels: Levels, reservations: Reservations[Lines]) -> int:
    """Order 7, whose piece of goods 1 is told to be available, beside 8, 9 and 10, which hold goods 2."""
    levels.set_total(2, 5)
    reservations.deduct(TX, {7: {1: 2}, 8: {2: 1}, 9: {2: 2}, 10: {2: 1}})
    _set_available(database, 5)
    return 7


def _set_available(database: Database, available: int) -> None:
    wrong = update(model.stock).where(model.stock.c.goods_id == 1).values(available=available)
    database.transact(lambda connection: connection.execute(wrong))


def test_a_miscounted_row_is_the_matter_of_its_own_orders(
    database: Database, reservations: Reservations[Lines], levels: Levels, miscounted: int
) -> None:
    """Rollbacks beside it are done, in its transaction and in later ones; its own is, once the row is put right."""
    failed: list[bool] = []
    consumer = RollbackConsumer(reservations, failed=lambda: failed.append(True))
    wide = (10, *range(1000, 999 + ROWS))
    bodies = [OrderEvent(tx_id=TX, order_ids=ids).to_body() for ids in ((miscounted,), (8,), (9, 11), wide)]
    verdicts = consumer([_delivery(body) for body in bodies])
    assert verdicts == [Verdict.RETRY, Verdict.ACK, Verdict.ACK, Verdict.ACK]
    assert not failed  # the database is there: no reason to stand by
    states = reservations.states([7, 8, 9, 10, 11, 1000])
    assert states.pop(7) is ReservationState.DEDUCTED
    assert set(states.values()) == {ReservationState.RELEASED}
    assert (levels.get(1).available, levels.get(2).available) == (5, 5)
    _set_available(database, 3)
    assert consumer([_delivery(bodies[0])]) == [Verdict.ACK]
    assert levels.get(1).available == 5


def test_a_release_names_what_was_refused(reservations: Reservations[Lines], miscounted: int) -> None:
    """It raises once all others are released."""
    with pytest.raises(NotReleased) as refused:
        reservations.release(dict.fromkeys((miscounted, 8, 9), TX))
    assert refused.value.order_ids == {miscounted}
    assert [reservations.get(order_id).state.value for order_id in (7, 8, 9)] == ["deducted", "released", "released"]


def test_settling_beside_a_miscounted_row(reservations: Reservations[Lines], miscounted: int) -> None:
    """The answer tells that it is still held, which no caller takes for done."""
    states = reservations.settle({miscounted: (TX, "void"), 8: (TX, "void"), 9: (TX, "stands")})
    assert [states[order_id].value for order_id in (miscounted, 8, 9)] == ["deducted", "released", "deducted"]
    assert reservations.get(9).verified


def test_delivered_again(reservations: Reservations[Lines], levels: Levels) -> None:
    """A rollback that is delivered again, because its acknowledgement got lost, releases nothing more."""
    reservations.deduct(TX, {7: {1: 2}})
    rollback = _delivery(OrderEvent(tx_id=TX, order_ids=(7,)).to_body())
    for _ in range(2):
        assert RollbackConsumer(reservations)([rollback]) == [Verdict.ACK]
        assert levels.get(1).available == 5


def test_transactions_are_bounded_by_what_they_write(database: Database, reservations: Reservations[Lines]) -> None:
    """However many orders the messages name, one transaction takes so many: of one message, too, and of small ones."""
    rows = Transactions(database)
    large = OrderEvent(tx_id=TX, order_ids=tuple(range(1, 3 * ROWS)))
    small = [OrderEvent(tx_id=TX, order_ids=tuple(range(n, n + 100))) for n in range(10_000, 11_000, 100)]
    consumer = RollbackConsumer(reservations)
    assert consumer([_delivery(event.to_body()) for event in (large, *small)]) == [Verdict.ACK] * 11
    assert rows.largest == ROWS
    assert sum(rows.sizes) == 3 * ROWS - 1 + 1000
    assert reservations.get(3 * ROWS - 1).state is ReservationState.RELEASED
    assert reservations.get(10_999).state is ReservationState.RELEASED


def test_what_is_worked_on_is_kept(reservations: Reservations[Lines]) -> None:
    """After each transaction the broker is told that the messages are still worked on."""
    kept: list[int] = []
    body = OrderEvent(tx_id=TX, order_ids=tuple(range(1, 2 * ROWS + 2))).to_body()
    delivery = Delivery("m", Message("order_rollback", body), 1, 0, lambda: kept.append(1))
    assert RollbackConsumer(reservations)([delivery]) == [Verdict.ACK]
    assert len(kept) == 3


def test_failure_between_parts(reservations: Reservations[Lines], monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages that were released whole are acknowledged; after a failure no other part is tried."""
    release, tried = reservations.release, []

    def fail_at_the_second(orders: dict[int, int]) -> None:
        tried.append(len(orders))
        if len(tried) == 2:
            raise DatabaseUnavailable
        release(orders)

    monkeypatch.setattr(reservations, "release", fail_at_the_second)
    sizes = (ROWS, ROWS + 1, ROWS)
    events = [
        OrderEvent(tx_id=TX, order_ids=tuple(range(n, n + size)))
        for n, size in zip((1, 2000, 4000), sizes, strict=True)
    ]
    verdicts = RollbackConsumer(reservations)([_delivery(event.to_body()) for event in events])
    assert verdicts == [Verdict.ACK, Verdict.RETRY, Verdict.RETRY]
    assert tried == [ROWS, ROWS]
