"""The judge of a bench finds every way in which orders and stock can disagree, also among many."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from common.db import Database
from lab.bench.fill import Filling, Kind, Series
from lab.bench.judge import Judge
from order.model import metadata as order_tables
from stock.model import metadata as stock_tables
from stock.service.levels import Levels
from tests.fakes import open_database

GOODS = ["11", "12", "13"]
ORDERS = 100
PIECES = 1000
SERIES = Series(Kind.SETTLED, first_ms=1_790_000_000_000, gap=5, group=4)


class Filled:
    """Two databases with a hundred settled orders in them."""

    def __init__(self, place: Path) -> None:
        self.order = open_database(place / "order.db", order_tables)
        self.stock = open_database(place / "stock.db", stock_tables)
        for goods_id in GOODS:
            Levels(self.stock).set_total(int(goods_id), PIECES)
        self.judge = Judge(self.order, self.stock)

    def fill(self, series: Series = SERIES) -> None:
        with Filling.open(self.order, self.stock, GOODS, series) as filling:
            filling.add(0, 60)
            filling.add(60, ORDERS)


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Filled]:
    """Yield two databases that agree."""
    found = Filled(tmp_path)
    found.fill()
    yield found
    found.order.close()
    found.stock.close()


def test_what_was_filled_in_agrees(filled: Filled) -> None:
    """Orders filled in bulk agree with their stock, and are as many as asked for; the helping tables are gone."""
    everyone = [SERIES.order_id(number) for number in range(ORDERS)]
    assert filled.judge.wrong(everyone) == []
    assert filled.judge.newest() == everyone[-1]
    with filled.order.read() as connection:
        rows = connection.execute(text("SELECT status, count(*) FROM orders GROUP BY status")).all()
        records = connection.scalar(text("SELECT count(*) FROM transaction_records"))
        tables = set(connection.scalars(text("SELECT name FROM sqlite_schema WHERE type = 'table'")))
    assert sorted(map(tuple, rows)) == [("closed", 10), ("paid", 90)]
    assert records == ORDERS / SERIES.group
    assert not {"bench_numbers", "bench_kinds"} & tables


@pytest.mark.parametrize("kind", [Kind.UNPAID, Kind.CANCELLED])
def test_other_fillings(tmp_path: Path, kind: Kind) -> None:
    """Unpaid orders agree with their stock; cancelled ones disagree until their rollbacks are handled."""
    found = Filled(tmp_path)
    found.fill(Series(kind, SERIES.first_ms, due=SERIES.first_ms + 1))
    wrong = found.judge.wrong([])
    assert bool(wrong) == (kind is Kind.CANCELLED)
    assert all("reserved only" in line for line in wrong[:5])
    found.order.close()
    found.stock.close()


NUMBER = 7  # of the order that is tampered with; paid
ID = SERIES.order_id(NUMBER)


@pytest.mark.parametrize(
    ("service", "statement", "told"),
    [
        ("stock", "UPDATE stock SET available = available - 1 WHERE goods_id = 12", "goods 12"),
        ("stock", "UPDATE reservations SET state = 'released' WHERE order_id = :id", "ordered only"),
        ("order", "UPDATE orders SET status = 'closed' WHERE order_id = :id", "reserved only"),
        ("order", "UPDATE order_lines SET quantity = 2 WHERE order_id = :id", f"order {ID}: 2 of goods 12"),
        ("order", "DELETE FROM order_lines WHERE order_id = :id", "1 orders without lines"),
        ("stock", "DELETE FROM reservation_lines WHERE order_id = :id", "1 live reservations without lines"),
        ("order", "DELETE FROM orders WHERE order_id = :id", "acknowledged with 201, but it does not exist"),
        ("order", "DELETE FROM transaction_records WHERE tx_id = :tx_id", "4 orders whose transaction"),
        ("order", "UPDATE transaction_records SET outcome = 'aborted'", "100 orders whose transaction"),
    ],
)
def test_what_is_wrong_is_found(filled: Filled, service: str, statement: str, told: str) -> None:
    """Each way to disagree is found, and named."""
    database: Database = getattr(filled, service)
    with database.engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        assert raw is not None
        raw.execute("PRAGMA foreign_keys=OFF")  # type: ignore[attr-defined]
        raw.execute(statement, {"id": ID, "tx_id": SERIES.tx_id(NUMBER)})  # type: ignore[attr-defined]
    assert any(told in line for line in filled.judge.settle([ID], within=0.1))
    assert len(filled.judge.wrong([])) < 20, "few lines, however much is wrong"


def test_since(filled: Filled) -> None:
    """Of orders, only those from an id on are looked at: a bench that comes after others judges its own."""
    close = text("UPDATE orders SET status = 'closed' WHERE order_id = :id")
    filled.order.transact(lambda connection: connection.execute(close, {"id": ID}))
    assert filled.judge.wrong([], since=ID)
    assert filled.judge.wrong([], since=ID + 1) == []
