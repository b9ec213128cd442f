"""A sale as an operator sees it, and why it is not done."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from flash.model import PurchaseFate, purchases, sales
from flash.schema import SurveyOut
from flash.service.surveying import Survey, Surveying
from halfmessage.errors import NotFound, Unavailable
from tests.flash import Market


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with closing(Market(tmp_path)) as market:
        yield market


def survey(market: Market, sale_id: int) -> Survey:
    return Surveying(market.database, market.pieces).survey(sale_id)


def test_a_sale_that_goes_on(market: Market) -> None:
    """Purchases by fate, what is under way, and when they were made; it waits for its end."""
    sale = market.open(5)
    first, second = market.bought(sale, "ann"), market.bought(sale, "bob")
    market.hold(sale, first, 41)
    found = survey(market, sale.sale_id)
    assert (found.left, found.held, found.owned, found.under_way) == (3, 1, 5, 1)
    assert found.purchases == {"held": 1}
    assert sum(number for _, number in found.sold) == 1
    assert found.waits_for == ["it goes on until its end, or until it is closed"]
    assert found.store is not None
    assert found.store.pieces == 2
    shown = SurveyOut.of(found)
    assert (shown.counted, shown.purchases[PurchaseFate.RETURNED], shown.state) == (2, 0, "open")
    del second


def test_a_closed_sale_tells_what_it_waits_for(market: Market) -> None:
    """Purchases that are no order yet, or held by none now; returned ones, and stock, that have not heard."""
    sale = market.open(5)
    ids = [market.bought(sale, user) for user in ("ann", "bob", "cid")]
    market.hold(sale, ids[0], 41)
    market.hold(sale, ids[1], 42, "bob")
    market.reservations.release({42: 2})
    market.selling.close(sale.sale_id)
    untold = update(purchases).where(purchases.c.purchase_id == ids[0]).values(fate="returned", told=False)
    unheard = update(sales).values(word=sales.c.word + 1)
    for change in (untold, unheard):
        market.database.transact(lambda connection, change=change: connection.execute(change))
    assert survey(market, sale.sale_id).waits_for == [
        "1 purchases took their pieces and are no order yet",
        "1 purchases are held by no order now, and it is not known whether one will",
        "stock has not heard how many pieces it owns",
        "1 purchases came back, which the store of pieces has not heard",
    ]


def test_a_closed_sale_with_nothing_under_way(market: Market) -> None:
    """It waits for what is free alone."""
    sale = market.open(5)
    purchase = market.bought(sale, "ann")
    market.hold(sale, purchase, 41)
    market.reservations.release({41: 2})
    market.selling.close(sale.sale_id)
    assert survey(market, sale.sale_id).waits_for == [
        "1 purchases are held by no order now, and it is not known whether one will"
    ]
    market.hold(sale, purchase, 42)
    assert survey(market, sale.sale_id).waits_for == []


def test_more_under_way_than_are_counted(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said that there are more."""
    sale = market.open(5)
    market.bought(sale, "ann")
    market.selling.close(sale.sale_id)
    monkeypatch.setattr("flash.service.surveying.MOST_PAGES", 0)
    found = survey(market, sale.sale_id)
    assert not found.is_all_under_way


def test_a_store_that_does_not_answer(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """What rows say is told all the same."""
    sale = market.open(5)
    market.bought(sale, "ann")
    market.selling.close(sale.sale_id)

    def down(*_: Any, **__: Any) -> None:
        raise Unavailable

    monkeypatch.setattr(market.pieces, "totals", down)
    found = survey(market, sale.sale_id)
    assert (found.store, found.under_way) == (None, None)
    assert found.waits_for == ["the store of pieces does not tell what is under way"]
    assert SurveyOut.of(found).counted is None


def test_a_sale_that_is_being_opened(market: Market) -> None:
    """It is seen here, though no service is told of it yet; one that there is not is not found."""
    market.faults.plan("allot", Unavailable(), "after")
    with pytest.raises(Unavailable):
        market.open(5)
    with market.database.read() as connection:
        sale_id = connection.scalar(sales.select())
    change = update(sales).values(state="opening")
    market.database.transact(lambda connection: connection.execute(change))
    assert len(survey(market, sale_id or 0).waits_for) == 1
    with pytest.raises(NotFound):
        survey(market, 5)
