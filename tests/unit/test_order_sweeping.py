"""The sweep: finishes from both sides what no message will finish any more, and nothing that is still under way."""

from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select, update

from common.errors import PeerUnavailable
from halfmessage.clock import now_ms
from halfmessage.errors import BrokerError, CommitOutcomeUnknown
from halfmessage.mq.port import CheckAnswer
from halfmessage.tx import coordinator, record
from halfmessage.tx.record import AlreadyAborted, Outcome
from order.model import CloseReason, Status, idempotency_keys, orders, settlements, transaction_records
from order.service import settling, sweeping
from order.service.sweeping import Findings, sweep_once
from tests.fakes import RETENTION, Shop

OLD = 60.0


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with closing(Shop(tmp_path)) as shop:
        shop.sell(1, 10)
        yield shop


def _deducted_only(shop: Shop) -> tuple[int, int]:
    """Deduct for an order whose placing died before its local transaction, and whose message the broker forgot."""
    tx_id, order_id = shop.ids.next(), shop.ids.next()
    shop.reservations.deduct(tx_id, {order_id: {1: 1}})
    return tx_id, order_id


def _closed_unreleased(shop: Shop) -> int:
    """Close an order whose rollback the broker forgot."""
    order_id = shop.order({1: 1}).order_id
    shop.faults.plan("resolve", BrokerError())
    shop.closing.close([order_id], CloseReason.TIMEOUT)
    return order_id


def _confirmed(shop: Shop, order_id: int) -> bool:
    assert shop.reader.get(order_id, owner=None).status is Status.CLOSED
    return (order_id, "stock", "void") not in shop.settled()


def _outcome(shop: Shop, tx_id: int) -> Outcome | None:
    with shop.database.read() as connection:
        return shop.records.find(connection, [tx_id]).get(tx_id)


def test_nothing_to_do(shop: Shop) -> None:
    """A sweep of nothing finds nothing."""
    assert shop.sweep.run(0.0) == Findings()


def test_standing_orders_are_verified_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Created and paid orders are verified; the next sweep has nothing to do with them."""
    created, paid = shop.order({1: 1}).order_id, shop.order({1: 1}).order_id
    shop.pay(paid)
    monkeypatch.setattr(shop.checker, "outcome", None)  # the orders are there: no record is asked for
    assert shop.sweep.run(0.0) == Findings(verified=2)
    assert all(shop.reservations.get(o).verified for o in (created, paid))
    assert [fate for *_, fate in shop.stock.settled] == ["stands", "stands"]  # it need not hear of a payment
    shop.stock.settled.clear()
    assert shop.sweep.run(0.0) == Findings()
    assert shop.stock.settled == []


def test_grace(shop: Shop) -> None:
    """What is younger than the grace period is left alone."""
    shop.order({1: 1})
    _closed_unreleased(shop)
    assert shop.sweep.run(60.0) == Findings()


@pytest.mark.parametrize(
    ("later", "found"), [(59.0, Findings()), (61.0, Findings(verified=1, released=1, confirmed=1))]
)
def test_grace_is_what_was_asked_for(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, later: float, found: Findings
) -> None:
    """Seconds, of the reservation and of the closing: what is a second older is seen to."""
    shop.order({1: 1})
    _closed_unreleased(shop)
    now = sweeping.now_ms
    monkeypatch.setattr(sweeping, "now_ms", lambda: now() + int(later * 1000))
    assert shop.sweep.run(60.0) == found


def test_closed_orders_are_released(shop: Shop) -> None:
    """A closed order whose rollback got lost is released, and then confirmed."""
    order_id = _closed_unreleased(shop)
    assert shop.sweep.run(0.0) == Findings(released=1, confirmed=1)
    assert shop.state(order_id) == "released"
    assert _confirmed(shop, order_id)


def test_verified_orders_can_need_releasing_later(shop: Shop) -> None:
    """A reservation that was verified is released from the order side once its order is closed."""
    order_id = shop.order({1: 1}).order_id
    shop.sweep.run(0.0)
    shop.faults.plan("resolve", BrokerError())
    shop.closing.close([order_id], CloseReason.TIMEOUT)
    assert shop.sweep.run(0.0) == Findings(confirmed=1)
    assert shop.state(order_id) == "released"
    assert shop.available(1) == 10


def test_released_orders_are_confirmed(shop: Shop) -> None:
    """A closed order whose release arrived is confirmed, once."""
    order_id = shop.order({1: 1}).order_id
    shop.closing.close([order_id], CloseReason.TIMEOUT)
    shop.quiet()
    assert shop.sweep.run(0.0) == Findings(confirmed=1)
    assert _confirmed(shop, order_id)
    assert shop.sweep.run(0.0) == Findings()


def test_dropped_out_of_its_batch(shop: Shop) -> None:
    """Record committed but no such order: it dropped out of its batch, and is released."""
    placed = shop.order({1: 1})
    dropped = shop.ids.next()
    shop.reservations.deduct(placed.tx_id, {dropped: {1: 1}})
    assert shop.sweep.run(0.0) == Findings(verified=1, released=1)
    assert [shop.state(o) for o in (placed.order_id, dropped)] == ["deducted", "released"]


def test_no_record_is_fenced_first(shop: Shop) -> None:
    """No record: the transaction is fenced, so that it can't commit any more, and then released."""
    shop.ids.age = OLD
    tx_id, order_id = _deducted_only(shop)
    assert shop.sweep.run(0.0) == Findings(released=1)
    assert _outcome(shop, tx_id) is Outcome.ABORTED
    assert shop.state(order_id) == "released"


def test_older_than_records_are_kept(shop: Shop) -> None:
    """A half-placed order is released however long everything was stopped; nothing of it can be written any more."""
    shop.ids.age = RETENTION + 1
    tx_id, order_id = _deducted_only(shop)
    assert shop.sweep.run(0.0) == Findings(released=1)
    assert (_outcome(shop, tx_id), shop.state(order_id)) == (Outcome.EXPIRED, "released")
    assert shop.available(1) == 10


def test_an_order_whose_record_is_purged_stands(shop: Shop) -> None:
    """Its row says so: it is verified, one that dropped out of its batch is released, and its message is dropped."""
    shop.ids.age = RETENTION - 60
    shop.faults.plan("resolve", BrokerError())
    order = shop.order({1: 1})
    dropped = shop.ids.next()
    shop.reservations.deduct(order.tx_id, {dropped: {1: 1}})
    shop.database.transact(lambda c: c.execute(delete(transaction_records)))
    shop.records._retention_ms -= 120_000  # so much later
    assert shop.sweep.run(0.0) == Findings(verified=1, released=1)
    assert shop.check_back() == [CheckAnswer.ROLLBACK]
    shop.quiet()
    assert [shop.state(o) for o in (order.order_id, dropped)] == ["deducted", "released"]


@pytest.mark.parametrize("ahead", [3600.0, RETENTION + 3600.0])
def test_a_sweep_whose_clock_is_ahead(shop: Shop, monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    """What it takes for old and fences can't be written after it: the client hears so, and nothing is held."""
    deduct, now = shop.stock.deduct, record.now_ms

    def swept_meanwhile(*args: Any) -> Any:
        verdicts = deduct(*args)
        with monkeypatch.context() as patch:
            for module in (record, coordinator, sweeping):
                patch.setattr(module, "now_ms", lambda: now() + int(ahead * 1000))
            assert shop.sweep.run(0.0).released == 1
        return verdicts

    shop.stock.deduct = swept_meanwhile  # type: ignore[assignment, method-assign]
    with pytest.raises(AlreadyAborted):
        shop.order({1: 1})
    assert shop.available(1) == 10


def test_young_and_undecided_is_left_alone(shop: Shop) -> None:
    """A transaction that may still be running is neither fenced nor released, and does not hide what comes after it."""
    tx_id, order_id = _deducted_only(shop)
    placed = shop.order({1: 1})
    assert shop.sweep.run(0.0) == Findings(verified=1, undecided=1)
    assert _outcome(shop, tx_id) is None
    assert [shop.state(o) for o in (order_id, placed.order_id)] == ["deducted"] * 2


def test_only_undecided(shop: Shop) -> None:
    """With nothing decided the stock service is told nothing."""
    _deducted_only(shop)
    assert shop.sweep.run(0.0) == Findings(undecided=1)
    assert shop.stock.settled == []


def test_fenced_under_a_running_placing(shop: Shop) -> None:
    """A placing that the sweep overtook fails cleanly: nothing is created, nothing stays deducted."""
    shop.ids.age = OLD

    deduct = shop.stock.deduct

    def slow(*args: Any) -> Any:
        verdicts = deduct(*args)
        assert shop.sweep.run(0.0).released == 1
        return verdicts

    shop.stock.deduct = slow  # type: ignore[assignment, method-assign]
    with pytest.raises(AlreadyAborted):
        shop.order({1: 1})
    assert shop.available(1) == 10


def test_committed_in_between(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order committed between the look for it and the look for its record stands: it is looked for again."""
    shop.order({1: 1})
    seen, looks = shop.sweep._statuses, []

    def late(participant: Any, order_ids: Any) -> dict[int, Status]:
        looks.append(order_ids)
        return {} if len(looks) == 1 else seen(participant, order_ids)

    monkeypatch.setattr(shop.sweep, "_statuses", late)
    assert shop.sweep.run(0.0) == Findings(verified=1)


def test_committed_before_its_record_is_read(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look for the order before its record says committed may have come too early: its stock is not given back."""
    order_id, committed = shop.order({1: 1}).order_id, list[int]()
    seen, outcome = shop.sweep._statuses, shop.checker.outcome
    monkeypatch.setattr(shop.sweep, "_statuses", lambda *asked: seen(*asked) if committed else {})
    monkeypatch.setattr(shop.checker, "outcome", lambda tx_id: committed.append(tx_id) or outcome(tx_id))
    assert shop.sweep.run(0.0) == Findings(verified=1)
    assert shop.state(order_id) == "deducted"


def test_overdue(shop: Shop) -> None:
    """Unpaid orders whose timeout never came are closed; paid ones and those not due are not."""
    overdue, paid, young = (shop.order({1: 1}).order_id for _ in range(3))
    shop.pay(paid)
    past = update(orders).where(orders.c.order_id.in_([overdue, paid])).values(expires_at=now_ms() - 1)
    shop.database.transact(lambda c: c.execute(past))
    findings = shop.sweep.run(0.0)
    assert findings.closed == 1
    order = shop.reader.get(overdue, owner=None)
    assert (order.status, order.close_reason) == (Status.CLOSED, CloseReason.TIMEOUT)
    assert [shop.reader.get(o, owner=None).status for o in (paid, young)] == [Status.PAID, Status.CREATED]
    shop.quiet()
    assert shop.state(overdue) == "released"


def test_violation(shop: Shop) -> None:
    """An order that stands without its stock is reported, never hidden and never mended."""
    order_id = shop.order({1: 1}).order_id
    settle = shop.stock.settle

    def released_meanwhile(fates: Any) -> dict[int, str | None]:
        shop.reservations.release({order_id: 1})
        return settle(fates)

    shop.stock.settle = released_meanwhile  # type: ignore[method-assign]
    findings = shop.sweep.run(0.0)
    assert findings == Findings(violations=[order_id])
    assert shop.counted["violations"] == 1


def test_violation_among_older_orders(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock says so when it is told that the order stands: also of one that the look at the newest does not come to."""
    monkeypatch.setattr("order.service.auditing.PAGE", 1)
    order_id, _ = shop.order({1: 1}).order_id, shop.order({1: 1})
    settle = shop.stock.settle

    def released_meanwhile(fates: Any) -> dict[int, str | None]:
        shop.reservations.release({order_id: 1})
        return settle(fates)

    shop.stock.settle = released_meanwhile  # type: ignore[method-assign]
    assert shop.sweep.run(0.0) == Findings(verified=1, violations=[order_id])


def test_what_is_found_is_counted(shop: Shop) -> None:
    """Each kind by its name: what an operator's panel and alerts are made of."""
    shop.order({1: 1})
    overdue = shop.order({1: 1}).order_id
    shop.database.transact(lambda c: c.execute(update(orders).where(orders.c.order_id == overdue).values(expires_at=0)))
    _closed_unreleased(shop)
    _deducted_only(shop)
    shop.sweep.run(0.0)
    assert shop.counted == {
        "verified": 2,
        "released": 1,
        "confirmed": 1,
        "closed": 1,
        "reserved": 0,
        "undecided": 1,
        "violations": 0,
    }


def test_closed_while_sweeping(shop: Shop) -> None:
    """An order that is closed and released between our look and our word is no violation."""
    order_id = shop.order({1: 1}).order_id
    settle = shop.stock.settle

    def closed_meanwhile(fates: Any) -> dict[int, str | None]:
        shop.stock.settle = settle  # type: ignore[method-assign]
        shop.closing.close([order_id], CloseReason.CANCELLED)
        shop.quiet()
        return settle(fates)

    shop.stock.settle = closed_meanwhile  # type: ignore[method-assign]
    findings = shop.sweep.run(0.0)
    assert findings.violations == []


def test_pages(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a page of each kind is worked through, page by page."""
    for module in (settling, sweeping):
        monkeypatch.setattr(module, "PAGE", 2)
    shop.ids.age = OLD
    forgotten = [_deducted_only(shop)[1] for _ in range(3)]
    standing = [shop.order({1: 1}).order_id for _ in range(3)]
    closed = [_closed_unreleased(shop) for _ in range(3)]
    assert shop.sweep.run(0.0) == Findings(verified=3, released=6, confirmed=3)
    assert {shop.state(o) for o in forgotten + closed} == {"released"}
    assert {shop.state(o) for o in standing} == {"deducted"}
    assert shop.available(1) == 7


def test_many_overdue(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a page of overdue orders are closed in one sweep, a page at a time."""
    monkeypatch.setattr(sweeping, "PAGE", 2)
    pages: list[int] = []
    close = shop.closing.close
    shop.closing.close = lambda order_ids, reason: pages.append(len(order_ids)) or close(order_ids, reason)  # type: ignore[func-returns-value, method-assign]
    for _ in range(5):
        shop.order({1: 1})
    shop.database.transact(lambda c: c.execute(update(orders).values(expires_at=0)))
    assert shop.sweep.run(0.0).closed == 5
    assert pages == [2, 2, 1]


@pytest.mark.parametrize("step", ["unverified", "settle"])
def test_stock_down(shop: Shop, step: str) -> None:
    """Without the stock service a sweep fails and breaks nothing; the next one finishes."""
    order_id = _closed_unreleased(shop)
    shop.faults.plan(step, PeerUnavailable())
    assert sweep_once(shop.sweep, 0.0) is None
    assert not _confirmed(shop, order_id)
    assert sweep_once(shop.sweep, 0.0) == Findings(released=1, confirmed=1)


def _verified_closed_unreleased(shop: Shop, number: int = 1) -> list[int]:
    """Return orders whose release is the order side's matter alone: stock does not list them to be verified."""
    order_ids = [shop.order({1: 1}).order_id for _ in range(number)]
    shop.sweep.run(0.0)
    for order_id in order_ids:
        shop.faults.plan("resolve", BrokerError())
        shop.closing.close([order_id], CloseReason.TIMEOUT)
    return order_ids


def test_confirmed_after_it_is_released(shop: Shop) -> None:
    """Stock fails while closed orders are released: not one is confirmed, and the next sweep brings the pieces back."""
    (order_id,) = _verified_closed_unreleased(shop)
    shop.faults.plan("settle", PeerUnavailable())
    assert sweep_once(shop.sweep, 0.0) is None
    assert not _confirmed(shop, order_id)
    assert sweep_once(shop.sweep, 0.0) == Findings(confirmed=1)
    assert (shop.state(order_id), shop.available(1)) == ("released", 10)


def test_the_oldest_closing_is_confirmed_first(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the orders' own ages: over the border of a page, each is asked about, and none of them twice."""
    monkeypatch.setattr(settling, "PAGE", 2)
    order_ids, asked = _verified_closed_unreleased(shop, 3), list[list[int]]()
    for since, order_id in enumerate(reversed(order_ids), 1):
        row = update(settlements).where(settlements.c.order_id == order_id).values(since=since)
        shop.database.transact(lambda c, row=row: c.execute(row))
    shop.stock.settle = lambda fates: asked.append([order_id for order_id, *_ in fates]) or {}  # type: ignore[assignment, func-returns-value, method-assign]
    assert shop.sweep.run(0.0) == Findings(undecided=3)
    first, second, third = reversed(order_ids)
    assert asked == [[first, second], [third]]


def test_what_needs_the_broker_comes_last(shop: Shop) -> None:
    """While it is down, releases are confirmed and old records purged all the same."""
    (released,) = _verified_closed_unreleased(shop)
    old = {"tx_id": 1, "outcome": "committed", "decided_at": 0}
    shop.database.transact(lambda c: c.execute(insert(transaction_records), [old]))
    overdue = shop.order({1: 1}).order_id
    shop.database.transact(lambda c: c.execute(update(orders).where(orders.c.order_id == overdue).values(expires_at=0)))
    shop.faults.plan("begin", BrokerError())
    with pytest.raises(BrokerError):
        shop.sweep.run(0.0)
    assert _confirmed(shop, released)
    assert _outcome(shop, 1) is None


def test_what_is_found_is_counted_though_a_participant_is_down(shop: Shop) -> None:
    """What the sweep did beside it is done, and an operator's panel says so."""
    shop.order({1: 1})
    shop.database.transact(lambda c: c.execute(update(orders).values(expires_at=0)))
    shop.faults.plan("unverified", PeerUnavailable())
    with pytest.raises(PeerUnavailable):
        shop.sweep.run(0.0)
    assert shop.counted["closed"] == 1


@pytest.mark.parametrize("told", [{}, {0: "released"}, "deducted", None], ids=["none", "other", "live", "no state"])
def test_only_what_stock_calls_released_is_confirmed(shop: Shop, monkeypatch: pytest.MonkeyPatch, told: Any) -> None:
    """An answer that does not say `released` of an order confirms it not; it is asked about again, after the others."""
    monkeypatch.setattr(settling, "PAGE", 1)
    stubborn, other = _verified_closed_unreleased(shop, 2)
    settle = shop.stock.settle

    def answer(fates: Any) -> dict[int, Any]:
        if fates[0][0] != stubborn:
            return settle(fates)
        return told if isinstance(told, dict) else {stubborn: told}

    shop.stock.settle = answer  # type: ignore[assignment, method-assign]
    assert shop.sweep.run(0.0) == Findings(confirmed=1, undecided=1)
    assert [_confirmed(shop, o) for o in (stubborn, other)] == [False, True]
    shop.stock.settle = settle  # type: ignore[method-assign]
    assert shop.sweep.run(0.0) == Findings(confirmed=1)


def test_only_what_stock_calls_released_counts(shop: Shop) -> None:
    """Nor is a void reservation told as released because stock was told that it is void."""
    shop.ids.age = OLD
    _deducted_only(shop)
    shop.stock.settle = lambda _: {}  # type: ignore[assignment, method-assign]
    assert shop.sweep.run(0.0) == Findings(undecided=1)


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_borders_of_pages(shop: Shop, monkeypatch: pytest.MonkeyPatch, more: int) -> None:
    """A page that is just full, one less, one more, closed in one millisecond, ids that follow each other: all seen."""
    for module in (settling, sweeping):
        monkeypatch.setattr(module, "PAGE", 3)
    monkeypatch.setattr(shop.ids, "next", count(shop.ids.next() - (1 << 40)).__next__)
    forgotten = [_deducted_only(shop)[1] for _ in range(3 + more)]
    standing = [shop.order({1: 1}).order_id for _ in range(3 + more)]
    shop.sweep.run(0.0)
    shop.faults.plan("resolve", BrokerError())
    shop.closing.close(standing, CloseReason.TIMEOUT)
    assert shop.sweep.run(0.0) == Findings(confirmed=3 + more)
    assert {shop.state(o) for o in forgotten + standing} == {"released"}
    assert shop.available(1) == 10


def test_two_at_once(shop: Shop) -> None:
    """A second sweep in the middle of the first does no harm."""
    shop.ids.age = OLD
    _deducted_only(shop)
    standing, closed = shop.order({1: 1}).order_id, _closed_unreleased(shop)
    settle = shop.stock.settle

    def swept_meanwhile(fates: Any) -> dict[int, str | None]:
        shop.stock.settle = settle  # type: ignore[method-assign]
        shop.sweep.run(0.0)
        return settle(fates)

    shop.stock.settle = swept_meanwhile  # type: ignore[method-assign]
    findings = shop.sweep.run(0.0)
    assert findings.violations == []
    assert [shop.state(o) for o in (standing, closed)] == ["deducted", "released"]
    assert shop.available(1) == 9


def test_unknown_fence_is_left_for_the_next(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fence of which it is not known whether it was written releases nothing; the next sweep does."""
    shop.ids.age = OLD
    _, order_id = _deducted_only(shop)

    def lost(_: object) -> None:
        raise CommitOutcomeUnknown

    with monkeypatch.context() as patch:
        patch.setattr(shop.database, "transact", lost)
        assert sweep_once(shop.sweep, 0.0) is None
    assert shop.state(order_id) == "deducted"
    assert sweep_once(shop.sweep, 0.0) == Findings(released=1)


def test_old_records_are_purged(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are deleted long after they decide nothing any more, page by page; younger ones stay."""
    monkeypatch.setattr(sweeping, "PAGE", 2)
    old = now_ms() - int(2000 * RETENTION) - 1000
    rows = [{"tx_id": i, "outcome": "committed", "decided_at": old} for i in range(1, 6)]
    kept = {"tx_id": 6, "outcome": "committed", "decided_at": old + 60_000}
    shop.database.transact(lambda c: c.execute(insert(transaction_records), [*rows, kept]))
    shop.sweep.run(0.0)
    with shop.database.read() as connection:
        assert connection.scalars(select(transaction_records.c.tx_id)).all() == [6]


def test_keys_are_kept(shop: Shop) -> None:
    """A sweep leaves idempotency keys alone."""
    shop.order({1: 1}, key="k")
    shop.sweep.run(0.0)
    with shop.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(idempotency_keys)) == 1
