"""The audit, on databases that were restored from older backups: what disagrees is found, and repaired or told."""

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import chain, count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from common.errors import PeerUnavailable
from halfmessage.clock import now_ms
from halfmessage.errors import Unavailable
from order.model import CloseReason, Status, order_lines, orders, orders_unheld, settlements
from order.service import auditing, sweeping
from order.service.sweeping import Findings
from stock.model import reservation_lines, reservations, stock
from tests.fakes import Shop

Rows = dict[Any, list[dict[str, Any]]]

OLD = 60.0


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with closing(Shop(tmp_path)) as shop:
        shop.ids.age = OLD
        shop.sell(1, 10)
        yield shop


def _backup(shop: Shop, service: str) -> Callable[[], None]:
    """Take a backup of a service's tables; return what restores it."""
    database, tables = {
        "order": (shop.database, (orders, order_lines, orders_unheld, settlements)),
        "stock": (shop.stock_database, (stock, reservations, reservation_lines)),
    }[service]
    with database.read() as connection:
        rows = [(table, [dict(row._mapping) for row in connection.execute(select(table))]) for table in tables]

    def restore() -> None:
        def work(connection: Any) -> None:
            for table, _ in reversed(rows):
                connection.execute(delete(table))
            for table, kept in rows:
                if kept:
                    connection.execute(insert(table), kept)

        database.transact(work)

    return restore


def _paid(shop: Shop, quantity: int = 1) -> int:
    order_id = shop.order({1: quantity}).order_id
    shop.pay(order_id)
    return order_id


def _close(shop: Shop, order_id: int) -> None:
    shop.closing.close([order_id], CloseReason.CANCELLED)
    shop.quiet()


def _status(shop: Shop, order_id: int) -> Status:
    return shop.reader.get(order_id, owner=None).status


def _repair(shop: Shop) -> Findings:
    findings = shop.sweep.run(0.0, full=True)
    shop.quiet()
    return findings


def test_stock_restored_lacks_reservations(shop: Shop) -> None:
    """Orders newer than the backup are found in the next sweep, counted, not payable, and get their stock anew."""
    restore = _backup(shop, "stock")
    created, paid = shop.order({1: 2}).order_id, _paid(shop)
    shop.sweep.run(0.0)
    restore()
    assert shop.sweep.run(0.0) == Findings(violations=[created, paid])
    assert shop.counted["violations"] == 2
    with pytest.raises(Unavailable, match="not held"):
        shop.pay(created)
    findings = _repair(shop)
    assert (findings.reserved, findings.closed, findings.violations) == (2, 0, [])
    assert shop.counted["reserved"] == 2
    assert (shop.state(created), shop.state(paid), shop.available(1)) == ("deducted", "deducted", 7)
    assert shop.pay(created).status is Status.PAID
    assert shop.sweep.run(0.0) == Findings(verified=2)


def test_stock_restored_is_too_little(shop: Shop) -> None:
    """Where pieces are short, an unpaid order is closed and a paid one is told, until an admin restocks."""
    restore = _backup(shop, "stock")
    created, paid = shop.order({1: 2}).order_id, _paid(shop, 3)
    restore()
    shop.levels.set_total(1, 1)
    findings = _repair(shop)
    assert (findings.reserved, findings.closed, findings.violations) == (0, 1, [paid])
    assert (_status(shop, created), _status(shop, paid)) == (Status.CLOSED, Status.PAID)
    assert _repair(shop).violations == [paid]
    shop.levels.restock(1, 2)
    findings = _repair(shop)
    assert (findings.reserved, findings.violations) == (1, [])
    assert (shop.state(paid), shop.available(1)) == ("deducted", 0)


def test_stock_restored_holds_for_closed_orders(shop: Shop) -> None:
    """A reservation that was released after the backup, verified and confirmed, is released again."""
    order_id = shop.order({1: 2}).order_id
    shop.sweep.run(0.0)
    restore = _backup(shop, "stock")
    _close(shop, order_id)
    shop.sweep.run(0.0)
    restore()
    assert (shop.state(order_id), shop.available(1)) == ("deducted", 8)
    assert shop.sweep.run(0.0) == Findings()
    assert _repair(shop).released == 1
    assert (shop.state(order_id), shop.available(1)) == ("released", 10)


def test_orders_restored_lack_orders(shop: Shop) -> None:
    """Verified reservations of orders that are gone are released; nothing can write such an order any more."""
    restore = _backup(shop, "order")
    order_id = _paid(shop)
    shop.sweep.run(0.0)
    restore()
    assert shop.sweep.run(0.0) == Findings()
    assert _repair(shop).released == 1
    assert (shop.state(order_id), shop.available(1)) == ("released", 10)


def test_orders_restored_are_open_again(shop: Shop) -> None:
    """An order that was closed after the backup can't be paid, and is closed by the repair."""
    order_id = shop.order({1: 2}).order_id
    restore = _backup(shop, "order")
    _close(shop, order_id)
    restore()
    with pytest.raises(Unavailable):
        shop.pay(order_id)
    assert shop.sweep.run(0.0).violations == [order_id]
    findings = _repair(shop)
    assert (findings.closed, findings.violations) == (1, [])
    assert (_status(shop, order_id), shop.available(1)) == (Status.CLOSED, 10)


def test_the_better_backup_comes_later(shop: Shop) -> None:
    """Orders repaired away come back with a newer database: the paid one gets its stock, though it was released."""
    older = _backup(shop, "order")
    paid = _paid(shop, 2)
    newer = _backup(shop, "order")
    older()
    assert _repair(shop).released == 1
    newer()
    assert shop.sweep.run(0.0).violations == [paid]
    findings = _repair(shop)
    assert (findings.reserved, findings.violations) == (1, [])
    assert (shop.state(paid), shop.available(1)) == ("deducted", 8)
    shop.reservations.release({paid: 1})
    assert shop.available(1) == 10


def test_nothing_to_repair(shop: Shop) -> None:
    """On databases that agree a repair changes nothing, and a young order is left alone."""
    paid, closed = _paid(shop), shop.order({1: 1}).order_id
    _close(shop, closed)
    shop.sweep.run(0.0)
    assert _repair(shop) == Findings(verified=1)
    restore = _backup(shop, "stock")
    young = shop.order({1: 1}).order_id
    restore()
    assert shop.sweep.run(60.0, full=True) == Findings()
    assert (shop.state(paid), shop.state(young)) == ("deducted", None)


@pytest.mark.parametrize("more", [-1, 0, 1, 3])
def test_borders_of_pages(shop: Shop, monkeypatch: pytest.MonkeyPatch, more: int) -> None:
    """Every order is looked at, where ids follow each other and pages are just full: by the sweep and by the repair.

    All are told, however many, and none is written down any more once it has its stock: it may be paid at once.
    """
    for module in (auditing, sweeping):
        monkeypatch.setattr(module, "PAGE", 3)
    first = shop.ids.next()
    order_then_tx = chain.from_iterable(zip(count(first), count(first + 1000), strict=False))
    monkeypatch.setattr(shop.ids, "next", order_then_tx.__next__)
    restore = _backup(shop, "stock")
    placed = [shop.order({1: 1}).order_id for _ in range(3 + more)]
    assert placed == list(range(first, first + 3 + more))
    restore()
    assert shop.sweep.run(0.0).violations == placed
    assert shop.sweep.run(0.0).violations == placed
    with shop.database.read() as connection:
        assert connection.scalars(select(orders_unheld.c.order_id)).all() == placed
    assert _repair(shop) == Findings(reserved=len(placed), confirmed=0)
    assert shop.available(1) == 10 - len(placed)
    for order_id in placed:
        assert shop.pay(order_id).status is Status.PAID


@pytest.mark.parametrize("at", [1, 2, 3], ids=["newest", "all", "known"])
def test_closed_between_the_looks(shop: Shop, at: int) -> None:
    """An order that is closed while stock is asked is no violation, whichever of the three looks asks."""
    restore = _backup(shop, "stock")
    order_id = shop.order({1: 1}).order_id
    restore()
    states, looks = shop.stock.states, count(1)

    def closed_meanwhile(order_ids: Any) -> dict[int, str | None]:
        if next(looks) == at:
            _close(shop, order_id)
        return states(order_ids)

    shop.stock.states = closed_meanwhile  # type: ignore[method-assign]
    assert shop.sweep.run(0.0).violations == []
    assert _status(shop, order_id) is Status.CLOSED


def test_closed_while_it_is_repaired(shop: Shop) -> None:
    """An order without stock that is closed just before its stock is reserved anew gets none."""
    restore = _backup(shop, "stock")
    order_id = shop.order({1: 1}).order_id
    restore()
    deduct = shop.stock.deduct

    def closed_meanwhile(*args: Any, **options: Any) -> Any:
        _close(shop, order_id)
        return deduct(*args, **options)

    shop.stock.deduct = closed_meanwhile  # type: ignore[method-assign]
    findings = _repair(shop)
    assert (findings.reserved, findings.closed, findings.violations) == (0, 0, [])
    assert (shop.state(order_id), shop.available(1)) == ("released", 10)


def _asked(shop: Shop) -> list[list[int]]:
    """Return a list that tells which orders stock is asked about from now on."""
    asked: list[list[int]] = []
    states = shop.stock.states
    shop.stock.states = lambda order_ids: asked.append(list(order_ids)) or states(order_ids)  # type: ignore[func-returns-value, method-assign]
    return asked


@pytest.mark.parametrize("full", [False, True], ids=["a sweep", "a repair"])
def test_stock_is_asked_before_the_first_look_only(shop: Shop, full: bool) -> None:
    """A payment costs no call once all was looked at; while stock is down nothing is known against an order."""
    first, second, third = (shop.order({1: 1}).order_id for _ in range(3))
    asked = _asked(shop)
    shop.faults.plan("states", PeerUnavailable())
    shop.pay(first)
    shop.pay(second)
    assert asked == [[first], [second]]
    shop.sweep.run(0.0, full=full)
    asked.clear()
    shop.pay(third)
    assert asked == []


@pytest.mark.parametrize("full", [False, True], ids=["a sweep", "a repair"])
def test_a_look_that_failed_was_none(shop: Shop, full: bool) -> None:
    """Stock fails in the middle of it: payments go on asking, so that an order without its stock is not paid."""
    restore = _backup(shop, "stock")
    order_id = shop.order({1: 1}).order_id
    restore()
    shop.faults.plan("states", PeerUnavailable())
    with pytest.raises(PeerUnavailable):
        shop.sweep.run(0.0, full=full)
    with pytest.raises(Unavailable, match="not held"):
        shop.pay(order_id)


def test_only_orders_without_stock_are_not_paid(shop: Shop) -> None:
    """Of orders that were looked at, those written down; their neighbours are paid."""
    held = shop.order({1: 1}).order_id
    restore = _backup(shop, "stock")
    lost = shop.order({1: 1}).order_id
    restore()
    assert shop.sweep.run(0.0).violations == [lost]
    assert shop.pay(held).status is Status.PAID
    with pytest.raises(Unavailable, match="not held"):
        shop.pay(lost)


def test_what_agrees_costs_a_look_at_the_newest(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many orders there are: only if one of the newest lacks its stock, each of the others is asked once."""
    monkeypatch.setattr(auditing, "PAGE", 2)
    monkeypatch.setattr(auditing, "WALKED", 0)
    placed = [shop.order({1: 1}).order_id for _ in range(5)]
    asked = _asked(shop)
    assert shop.audits[0].look(now_ms()) == []
    assert asked == [placed[-2:]]
    shop.reservations.release({placed[-1]: 1})
    asked.clear()
    assert shop.audits[0].look(now_ms()) == placed[-1:]
    assert asked == [placed[-2:], placed[:2], placed[2:4], placed[4:], placed[4:]]


def test_looks_come_to_older_orders_too(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many pages each, on from where the last one ended, then from the newest again: each costs the same."""
    monkeypatch.setattr(auditing, "PAGE", 2)
    monkeypatch.setattr(auditing, "WALKED", 1)
    placed = [shop.order({1: 1}).order_id for _ in range(7)]
    asked = _asked(shop)
    for older in (placed[3:5], placed[1:3], placed[:1], None, placed[3:5]):
        assert shop.audits[0].look(now_ms()) == []
        assert asked == [placed[5:], *([] if older is None else [older])]
        asked.clear()
    shop.reservations.release({placed[0]: 1})
    assert [shop.audits[0].look(now_ms()) for _ in range(2)] == [[], placed[:1]]


def test_found_once(shop: Shop) -> None:
    """What is written down is not written again; what is closed since is forgotten."""
    restore = _backup(shop, "stock")
    order_id = shop.order({1: 1}).order_id
    restore()
    for _ in range(2):
        assert shop.sweep.run(0.0).violations == [order_id]
    shop.database.transact(lambda c: c.execute(update(orders).values(status="closed")))
    assert shop.sweep.run(60.0).violations == []
    with shop.database.read() as connection:
        assert connection.scalars(select(orders_unheld.c.order_id)).all() == []
