"""What a deployment of an earlier release must keep when it is migrated: every promise, whatever was half done."""

from pathlib import Path

from sqlalchemy import select

from common import migrations
from order.model import CloseReason, Status, orders
from stock.model import reservation_lines, reservations
from tests.fakes import Shop
from tests.upgrade.stored import load, order_id

_HELD = (1, 3)
"""Orders of the copy that stand, and hold two pieces each."""


def keeps_every_promise(directory: Path, order_url: str, stock_url: str) -> None:
    """Migrate a stored copy, sweep it, and look at each of its orders. Raise `AssertionError`."""
    for service, url in (("order", order_url), ("stock", stock_url)):
        load(url, service)
        migrations.upgrade(service, url)
    shop = Shop(directory, urls=(order_url, stock_url), pay=True)
    try:
        _look_at_rows(shop)
        findings = shop.sweep.run(0.0)
        assert findings.violations == [order_id(11)]
        assert (findings.verified, findings.released, findings.confirmed, findings.closed) == (1, 3, 2, 1)
        shop.quiet()
        assert shop.sweep.run(0.0).confirmed == 2  # what was closed just now, by stock and by pay
        assert shop.settled() == set()
        _look_at_orders(shop)
        _conserved(shop)
    finally:
        shop.close()


def _look_at_rows(shop: Shop) -> None:
    """Find what was not confirmed as a row, what was written down still written down, and every price unchanged."""
    assert shop.settled() == {(order_id(4), "stock", "void"), (order_id(5), "stock", "void")}
    with shop.database.read() as connection:
        amounts = select(orders.c.goods_amount, orders.c.discount_amount, orders.c.total_amount, orders.c.coupon_id)
        assert {tuple(row) for row in connection.execute(amounts)} == {(500, 0, 500, None)}
    assert shop.audits[0].unheld() == [order_id(11)]


def _look_at_orders(shop: Shop) -> None:
    replayed = shop.reader.first_answer("ann", "k")
    assert replayed is not None
    assert replayed[1] is not None
    assert replayed[1].order_id == order_id(1)
    assert shop.pay(order_id(1), owner="ann").paid_through == "sandbox"  # which makes its payment
    assert shop.payments.state(order_id(1)) == "deducted"
    before = shop.reader.get(order_id(3), owner="ann")  # paid when there were no payments
    assert (before.status, before.paid_through, shop.shown.of([before])) == (Status.PAID, None, {})
    assert shop.payments.state(order_id(3)) is None
    overdue = shop.reader.get(order_id(2), owner="ann")
    assert (overdue.status, overdue.close_reason) == (Status.CLOSED, CloseReason.TIMEOUT)
    assert [shop.reader.get(order_id(n), owner="ann").status for n in (3, 4, 5, 6)] == ["paid", *["closed"] * 3]
    held = [n for n in range(1, 12) if shop.state(order_id(n)) == "deducted"]
    assert held == list(_HELD)


def _conserved(shop: Shop) -> None:
    with shop.stock_database.read() as connection:
        live = select(reservations.c.order_id).where(reservations.c.state == "deducted")
        lines = select(reservation_lines.c.quantity).where(reservation_lines.c.order_id.in_(live))
        reserved = sum(connection.scalars(lines))
    level = shop.levels.get(1)
    assert reserved == 2 * len(_HELD)
    assert level.total == level.available + reserved
