"""Reading orders: one's own, page by page."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from common.errors import NotFound
from order.model import Status
from tests.fakes import Shop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with closing(Shop(tmp_path)) as shop:
        shop.sell(1, 100)
        shop.sell(2, 100)
        yield shop


def test_owner(shop: Shop) -> None:
    """An order is shown to its owner and to admins (no owner asked for), to others it does not exist."""
    order = shop.order({1: 1, 2: 2})
    assert shop.reader.get(order.order_id, owner="ann") == shop.reader.get(order.order_id, owner=None) == order
    for wrong, owner in ((order.order_id, "bob"), (1, "ann"), (1, None)):
        with pytest.raises(NotFound):
            shop.reader.get(wrong, owner=owner)


def test_pages(shop: Shop) -> None:
    """Pages go from the newest to the oldest, complete with lines, without another user's."""
    mine = [shop.order({2: 1, 1: 2}) for _ in range(5)]
    shop.order({1: 1}, user="bob")
    newest_first = mine[::-1]
    assert shop.reader.page("ann", status=None, below=None, limit=3) == newest_first[:3]
    assert shop.reader.page("ann", status=None, below=mine[2].order_id, limit=3) == newest_first[3:]
    assert shop.reader.page("ann", status=None, below=mine[0].order_id, limit=3) == []
    assert shop.reader.page("carol", status=None, below=None, limit=3) == []


def test_pages_are_stable(shop: Shop) -> None:
    """An order that comes in between changes no later page."""
    mine = [shop.order({1: 1}) for _ in range(4)]
    first = shop.reader.page("ann", status=None, below=None, limit=2)
    shop.order({1: 1})
    rest = shop.reader.page("ann", status=None, below=first[-1].order_id, limit=10)
    assert first + rest == mine[::-1]


def test_pages_by_status(shop: Shop) -> None:
    """A status narrows the pages."""
    unpaid, paid, closed = (shop.order({1: 1}).order_id for _ in range(3))
    shop.paying.pay(paid, owner=None)
    shop.closing.cancel(closed, owner=None)
    for status, order_id in ((Status.CREATED, unpaid), (Status.PAID, paid), (Status.CLOSED, closed)):
        assert [o.order_id for o in shop.reader.page("ann", status=status, below=None, limit=9)] == [order_id]
