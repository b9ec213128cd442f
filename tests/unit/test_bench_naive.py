"""What orders are compared with: it is right, and a wrong one would be seen."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text

from lab.bench.baseline import Naive, ratios
from lab.bench.figures import Figure, Measured, Run
from lab.bench.naive import PRICE, NaiveOrders
from order.model import InsufficientStock


@pytest.fixture
def naive(tmp_path: Path) -> Iterator[Naive]:
    """Yield the naive service's database, with two goods in it; no process runs."""
    plan = SimpleNamespace(instances={})
    sut: Any = SimpleNamespace(
        deployment=SimpleNamespace(plan=plan), new_database=lambda: f"sqlite:///{tmp_path / 'naive.db'}"
    )
    found = Naive(sut, ["11", "12"])
    yield found
    found.database.close()


def test_naive_orders(naive: Naive) -> None:
    """An order takes its stock and is there; one that is too large changes nothing."""
    service = NaiveOrders(naive.database, worker=1, pay_timeout=60)
    order = service.place("alice", {12: 2, 11: 1})
    assert (order.total_amount, [line.goods_id for line in order.lines]) == (3 * PRICE, [12, 11])
    with pytest.raises(InsufficientStock):
        service.place("alice", {11: 1, 12: 10**9})
    assert naive.placed() == 1
    assert naive.wrong(before=0, placed=1) == []


def test_a_wrong_one_is_seen(naive: Naive) -> None:
    """Stock that went nowhere is seen, and an order that was acknowledged and is not there."""
    naive.database.transact(lambda c: c.execute(text("UPDATE stock SET available = available - 3 WHERE goods_id = 11")))
    assert naive.wrong(before=0, placed=1) == [
        "naive: goods 11: 1000000000 in all, 999999997 left, 0 ordered",
        "naive: 1 orders acknowledged, 0 there",
    ]


def test_ratio_is_taken_run_by_run() -> None:
    """A ratio is that of two runs beside each other, so that a busy machine is busy for both."""

    def measured(name: str, *per_second: float) -> Measured:
        runs = [Run(rate, None, 1, {}, 0.0, {}) for rate in per_second]
        return Measured(f"{name}, 8 clients", "closed", 8, 100, runs=runs)

    found = ratios([measured("naive", 100, 1000, 10), measured("orders", 200, 1500, 10)])
    assert found == {"8 clients": Figure(1.5, 1.0, 2.0)}
