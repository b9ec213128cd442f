"""The bench measures what it says, and tells a wrong ledger from a right one."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import update

from common.db import Database
from lab.bench.library import BARE, _bare
from lab.bench.saga import MESSAGE, SAGA
from lab.bench.stock import Load, compare
from lab.commands.bench import command
from lab.commands.bench.library import command as library
from lab.commands.bench.saga import command as saga
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


def test_stock_of_others_is_left_alone(tmp_path: Path) -> None:
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


def test_what_the_library_adds() -> None:
    """`./scripts/bench library` writes rows in each way, tells its ratio to the bare one, and leaves nothing behind."""
    told = json.loads(CliRunner().invoke(library, ["--turns", "2", "--each", "3", "--json"]).output)
    assert [one["way"] for one in told] == [BARE, "with a message, table://", "with a message, embedded://"]
    assert told[0]["ratio"] == 1.0
    assert all(len(one["turns"]) == 2 and one["seconds"] > 0 for one in told)
    shown = CliRunner().invoke(library, ["--turns", "1", "--each", "1"])
    assert shown.exit_code == 0, shown.output
    assert "with a message, table:// " in shown.output


def test_a_message_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is timed is what a service does: a row each, and a message of it. Else there are no figures."""
    monkeypatch.setattr("lab.bench.library._with_message", lambda engine, _tx, number: _bare(engine, number))
    done = CliRunner().invoke(library, ["--turns", "2", "--each", "3"])
    assert isinstance(done.exception, CommandFailed)
    assert done.exception.detail == "18 rows and 0 messages of the outbox are there, not 18 and 6."


def test_a_saga_beside_a_message() -> None:
    """`./scripts/bench saga` places orders in both ways in turns, sees that all agrees, and tells rates and ratios."""
    arguments = ["--turns", "2", "--seconds", "0.01", "--clients", "2"]
    message, by_saga = json.loads(CliRunner().invoke(saga, [*arguments, "--json"]).output)
    assert [message["way"], by_saga["way"]] == [MESSAGE, SAGA]
    assert message["ratio"] == {"per_second": 1.0, "p50": 1.0, "p99": 1.0}
    assert all(turn["per_second"] > 0 and 0 < turn["p50"] <= turn["p99"] for turn in by_saga["turns"])
    shown = CliRunner().invoke(saga, ["--turns", "1", "--seconds", "0.01"])
    assert shown.exit_code == 0, shown.output
    assert shown.output.count("p99") == 2


def test_a_saga_that_does_not_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that was not placed is no fast one: a refusal ends the bench, and says of which order."""
    monkeypatch.setattr("lab.bench.saga._MANY", 0)
    done = CliRunner().invoke(saga, ["--turns", "1", "--seconds", "0.01"])
    assert isinstance(done.exception, CommandFailed)
    assert done.exception.detail.startswith("The saga of order ")
    assert "nothing is left of goods_id 1" in done.exception.detail
