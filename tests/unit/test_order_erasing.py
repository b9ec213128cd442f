"""Receivers erased on request: all of one user's, nothing else, again without effect."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from order.model import RequestState, order_requests, orders
from order.service.erasing import Erased, erase_receivers
from tests.fakes import Shop

RECEIVER = {"receiver_name": "Nemo", "receiver_phone": "1", "receiver_address": "Nowhere"}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with closing(Shop(tmp_path)) as shop:
        shop.sell(1, 100)
        yield shop


def sent_to(shop: Shop, user: str, number: int) -> list[int]:
    """Place orders, and have them go to a receiver and be a user's."""
    made = [shop.order({1: 1}).order_id for _ in range(number)]
    values = RECEIVER | {"user_id": user}
    shop.database.transact(lambda c: c.execute(update(orders).where(orders.c.order_id.in_(made)).values(values)))
    return made


def requested(shop: Shop, request_id: int, user: str, state: RequestState = RequestState.QUEUED) -> None:
    wanted = {"items": [["1", 1]], "receiver": {"name": "Nemo"}, "coupon_id": None, "asked_as": ""}
    row = {"request_id": request_id, "tx_id": 1, "user_id": user, "idempotency_key": str(request_id)}
    row |= {"request_hash": "h", "state": state.value, "wanted": wanted, "submitted_at": 1}
    shop.database.transact(lambda c: c.execute(insert(order_requests).values(row)))


def rows(shop: Shop, table: Any) -> list[dict[str, Any]]:
    with shop.database.read() as connection:
        return [dict(row) for row in connection.execute(select(table)).mappings()]


def test_all_of_a_user_and_no_other_s(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name, phone and address; all else of an order is as it was. So many in one transaction."""
    monkeypatch.setattr("order.service.erasing._TOGETHER", 2)
    ann, bob = sent_to(shop, "ann", 5), sent_to(shop, "bob", 1)
    before = {row["order_id"]: row for row in rows(shop, orders)}
    assert erase_receivers(shop.database, "ann") == Erased(5, 0)
    for row in rows(shop, orders):
        told = dict.fromkeys(RECEIVER) if row["order_id"] in ann else {}
        assert row == before[row["order_id"]] | told
    assert shop.reader.get(ann[0], owner="ann").receiver is None
    assert shop.reader.get(bob[0], owner="bob").receiver is not None
    assert erase_receivers(shop.database, "ann") == Erased(0, 0)


def test_orders_that_are_to_be_placed_soon_too(shop: Shop) -> None:
    """What waits is placed without a receiver; what was decided has none any more."""
    requested(shop, 1, "ann")
    requested(shop, 2, "bob")
    assert erase_receivers(shop.database, "ann") == Erased(0, 1)
    wanted = {row["user_id"]: row["wanted"] for row in rows(shop, order_requests)}
    assert wanted["ann"] == wanted["bob"] | {"receiver": None}
    assert erase_receivers(shop.database, "ann") == Erased(0, 0)
