"""Borders of pages: of every list each row comes once, whatever the size of a page, where ids follow each other.

One that goes on after `last + 1` leaves out the first of a page; one that stops too early leaves out a last full page.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from common.paging import PageQuery, decode_cursor, encode_cursor
from flash.pieces.paging import pages_of_open
from flash.pieces.port import Buyer
from flash.service import rebuilding
from tests.fakes import Ids
from tests.flash import Market
from tests.payments import Till
from tests.unit.test_sandbox import Sandbox, sandbox

__all__ = ["sandbox"]  # a fixture

NUMBER: Final = 4
SIZES: Final = range(1, NUMBER + 2)
T = TypeVar("T")


def walked(look: Callable[[int, int | None], Sequence[T]], id_of: Callable[[T], int], size: int) -> list[int]:
    """Walk a list page by page, as routes do; return all ids."""
    found: list[int] = []
    query = PageQuery(limit=size)
    for _ in range(NUMBER + 2):
        page, cursor = query.page(look(size + 1, query.before), id_of)
        assert 0 < len(page) <= size
        found += map(id_of, page)
        if cursor is None:
            return found
        query = PageQuery(limit=size, cursor=cursor)
    raise AssertionError(f"it does not end: {found}")


@pytest.mark.parametrize("size", SIZES)
def test_payments(tmp_path: Path, size: int) -> None:
    """Newest first."""
    with closing(Till(tmp_path)) as till:
        till.owe(*range(1, NUMBER + 1))
        ids = walked(
            lambda limit, below: till.reader.page(None, below=below, limit=limit), lambda one: one.order_id, size
        )
        assert ids == list(range(NUMBER, 0, -1))


@pytest.mark.parametrize("size", SIZES)
def test_sessions_of_the_sandbox(sandbox: Sandbox, size: int) -> None:
    """Oldest first."""
    begun = [sandbox.begin(attempt_id=number).row.session_id for number in range(1, NUMBER + 1)]
    found: list[int] = []
    cursor: str | None = encode_cursor(0)
    while cursor is not None:
        page = sandbox.reader.list(size + 1, decode_cursor(cursor)[0])
        found += [one.row.session_id for one in page[:size]]
        cursor = encode_cursor(found[-1]) if len(page) > size else None
    assert found == begun


@pytest.fixture
def market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Market]:
    with closing(Market(tmp_path)) as market:
        numbers = iter(range(1 << 40, 1 << 41))  # which follow each other
        monkeypatch.setattr(market.ids, "next", lambda: next(numbers))
        yield market


@pytest.mark.parametrize("size", SIZES)
def test_sales(market: Market, size: int) -> None:
    """Newest first."""
    opened = [market.open(1).sale_id for _ in range(NUMBER)]
    newest: Callable[[int, int | None], Sequence[Any]] = lambda limit, before: market.reader.newest(  # noqa: E731
        limit, before, is_open=True
    )
    assert walked(newest, lambda one: one.sale_id, size) == opened[::-1]


@pytest.mark.parametrize("size", SIZES)
def test_purchases_of_a_sale(market: Market, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """As its store pages them, and as its rows are told to a store anew."""
    sale = market.open(NUMBER)
    bought = [Buyer((1 << 50) + number, f"u{number}", 1) for number in range(NUMBER)]
    pieces = market.pieces
    monkeypatch.setattr(pieces, "open_purchases", _smaller(pieces.open_purchases, size))
    monkeypatch.setattr(rebuilding, "_PAGE", size)
    rows = [
        {"purchase_id": one.purchase_id, "sale_id": sale.sale_id, "user_id": one.user_id, "quantity": 1}
        | {"holders": 1, "fate": "held"}
        for one in bought
    ]
    market.database.transact(lambda connection: connection.execute(rebuilding.purchases.insert(), rows))
    told = [row.purchase_id for row in rebuilding._purchases(market.database, sale.sale_id)]
    assert told == [one.purchase_id for one in bought]
    pieces.take(sale.sale_id, Ids().next(), bought)
    pages = list(pages_of_open(pieces, sale.sale_id))
    assert [one.purchase_id for page in pages for one in page] == told
    assert max(map(len, pages)) <= size


def _smaller(look: Callable[..., Any], size: int) -> Callable[..., Any]:
    return lambda *args, **options: look(*args, **options | {"limit": size})
