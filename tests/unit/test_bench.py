"""The bench measures what it says, and tells a wrong ledger from a right one."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import update

from common.db import Database
from lab.bench.stock import Load, compare
from lab.commands.bench import command
from lab.judge.stock import disagreements
from ops.errors import CommandFailed
from stock import model
from stock.service.levels import Level, Levels
from stock.service.pieces import stock_reservations
from tests.fakes import open_database

LOAD = Load("hot", goods=1, orders=50, threads=4, batch=3)


def test_measure(tmp_path: Path) -> None:
    """Every order is decided, there is enough for 60 %, the ledger is exact, and nothing is left behind."""
    database = open_database(tmp_path / "stock.db", model.metadata)
    results = list(
        compare(database, None, ["conditional", "optimistic"], [LOAD, Load("two", goods=5, lines=2, orders=9)])
    )
    assert [(r.strategy, r.load.name) for r in results] == [
        ("conditional", "hot"), ("optimistic", "hot"), ("conditional", "two"), ("optimistic", "two"),
    ]  # fmt: skip
    for result in results[:2]:
        assert (result.deducted, result.refused, result.failed, result.wrong) == (30, 20, 0, [])
        assert result.per_second > 0
        assert 0 < result.median <= result.slowest_percent
    assert Levels(database).get(1) == Level(1, 0, 0)
    database.close()


def test_stock_of_somebody_is_left_alone(tmp_path: Path) -> None:
    """A database that has stock in it is not measured on."""
    database = open_database(tmp_path / "stock.db", model.metadata)
    Levels(database).set_total(7, 3)
    with pytest.raises(CommandFailed, match="of its own"):
        list(compare(database, None, ["conditional"], [LOAD]))
    assert Levels(database).get(7) == Level(7, 3, 3)
    database.close()


def test_disagreements(tmp_path: Path) -> None:
    """Pieces that are neither left nor held, and pieces held twice, are found, with their goods."""
    database: Database = open_database(tmp_path / "stock.db", model.metadata)
    for goods_id in (1, 2, 3):
        Levels(database).set_total(goods_id, 5)
    stock_reservations(database).deduct(1, {1: {1: 2, 2: 1}})
    assert disagreements(database.engine.url) == []
    for goods_id, available in ((2, 5), (3, 4)):
        change = update(model.stock).where(model.stock.c.goods_id == goods_id).values(available=available)
        database.transact(lambda connection, change=change: connection.execute(change))  # type: ignore[misc]
    assert disagreements(database.engine.url) == [
        "goods 2: total 5, available 5, reserved 1", "goods 3: total 5, available 4, reserved 0"
    ]  # fmt: skip
    database.close()


def test_command() -> None:
    """`./scripts/bench stock` compares, as a table and as JSON, on a database that it makes."""
    arguments = ["stock", "--orders", "20", "--threads", "2", "--strategy", "conditional", "--strategy", "pessimistic"]
    shown = CliRunner().invoke(command, arguments)
    assert shown.exit_code == 0, shown.output
    assert shown.output.count("exact") == 4
    told = json.loads(CliRunner().invoke(command, [*arguments, "--json"]).output)
    assert (told[0]["strategy"], told[0]["load"]["name"], told[0]["wrong"]) == ("conditional", "hot", [])
    assert told[0]["per_second"] > 0
