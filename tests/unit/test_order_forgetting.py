"""Idempotency keys, and ids of calls, are kept for as long as is told, and then forgotten."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, select

from order.model import idempotency_keys
from order.service.forgetting import forget_calls, forget_keys
from tests.fakes import Shop
from tests.support import Transactions, eventually


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with closing(Shop(tmp_path)) as shop:
        shop.sell(1, 100)
        yield shop


def _keys(shop: Shop) -> int:
    with shop.database.read() as connection:
        return int(connection.scalar(select(func.count()).select_from(idempotency_keys)) or 0)


def test_old_keys_go(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many in one transaction, until none is left that is old enough; then the key is a new one."""
    monkeypatch.setattr("common.purging.VALUES", 2)
    first = shop.order({1: 1}, key="k")
    for n in range(4):
        shop.order({1: 1}, key=f"k{n}")
    rows = Transactions(shop.database)
    purged: list[int] = []
    eventually(lambda: purged.append(forget_keys(shop.database, 0.001)) or sum(purged) == 5)
    assert rows.largest == 2
    assert _keys(shop) == 0
    assert shop.order({1: 1}, key="k").order_id != first.order_id


def test_old_ids_of_calls_go(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many in one transaction, until none is left that is old enough; the orders stay."""
    monkeypatch.setattr("common.purging.VALUES", 2)
    made = [shop.order({1: 1}, asked_as=f"call-{n}") for n in range(5)]
    assert forget_calls(shop.database, 60.0) == 0
    assert shop.reader.found("call-4", limit=5)["x-request-id"] == made[4:]
    rows = Transactions(shop.database)
    purged: list[int] = []
    eventually(lambda: purged.append(forget_calls(shop.database, 0.001)) or sum(purged) == 5)
    assert rows.largest == 2
    assert shop.reader.found("call-4", limit=5)["x-request-id"] == []
    assert shop.reader.get(made[4].order_id, owner="ann") == made[4]


def test_young_keys_stay(shop: Shop) -> None:
    """And answer as they did first."""
    first = shop.order({1: 1}, key="k")
    assert forget_keys(shop.database, 60.0) == 0
    assert shop.order({1: 1}, key="k").order_id == first.order_id
