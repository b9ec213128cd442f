"""Each command of the bench, tiny, on the embedded servers: it measures, and fails where the ledger is wrong."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from common.registry import NAMES
from lab.bench.soak import SoakBench
from lab.bench.sut import SystemUnderTest
from lab.commands.bench import command

pytestmark = [pytest.mark.e2e, pytest.mark.embedded("tests/real/test_bench.py has it on real servers")]

QUICK = ("--runs", "1", "--seconds", "2", "--warm-up", "0.1")  # an answer may take most of a second on a busy machine


def bench(*words: str) -> Result:
    """Run a command of the bench."""
    return CliRunner().invoke(command, words)


def figures(tmp_path: Path, *words: str) -> dict[str, Any]:
    """Run a command of the bench, which must succeed; return what it wrote as JSON."""
    file = tmp_path / "bench.json"
    result = bench(*words, *QUICK, "--place", str(tmp_path), "--json", str(file))
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    assert (found["schema"], found["wrong"]) == (1, [])
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [], "its data is gone"
    return found


def answered(found: dict[str, Any]) -> Sequence[int]:
    """Return how many successes each load had."""
    return [sum(run["answered"] for run in load["runs"]) for load in found["measured"]]


def test_orders(tmp_path: Path) -> None:
    """Orders are placed in both loops, up to the knee; the processes are measured, a chart is drawn."""
    page = tmp_path / "bench.html"
    words = ("--clients", "2", "--kinds", "3", "--rate", "20", "--keys", "--html", str(page))
    found = figures(tmp_path, "orders", *words)
    assert [(load["loop"], load["rate"]) for load in found["measured"]] == [("closed", None), ("open", 20.0)]
    assert min(answered(found)) > 0
    processes = found["measured"][0]["runs"][0]["processes"]
    assert processes.keys() == {*NAMES, "load", "others"}
    assert all(usage["memory"] > 0 for name, usage in processes.items() if name != "others")
    assert "<svg" in page.read_text(encoding="utf-8")


def test_console(tmp_path: Path) -> None:
    """Every page is there, and timed; what one takes on a busy machine is judged by no test."""
    file = tmp_path / "bench.json"
    result = bench(
        "console", "--orders", "300", "--runs", "1", "--seconds", "2", "--place", str(tmp_path), "--json", str(file)
    )
    found = json.loads(file.read_text(encoding="utf-8"))
    assert not [line for line in found["wrong"] if "more than" not in line], result.output
    assert all(one["polls"] >= 50 and one["cores"]["console"] > 0 for one in found["facts"]["open_pages"])
    assert (found["facts"]["orders"], found["facts"]["messages"]) == (300, 300)
    pages = found["facts"]["pages"]
    assert {"/", "/orders", "/find", "/messages", "/drills/<id:drill_id>"} <= {page["rule"] for page in pages}
    assert all(0 < page["median"] <= page["worst"] for page in pages)


def test_burst(tmp_path: Path) -> None:
    """Each answer of 202 came to one order, and it is told how fast they were worked off."""
    found = figures(tmp_path, "burst", "--clients", "4")
    assert min(answered(found)) > 0
    (worked_off,) = found["facts"]["worked_off_per_second"]
    assert worked_off > 0


def test_flash(tmp_path: Path) -> None:
    """Pieces are taken, then refused as sold out, then few of them by many at once: each 202 came to one order."""
    found = figures(tmp_path, "flash", "--clients", "4", "--buyers", "40", "--few", "5")
    taken, refused, rush = answered(found)
    assert min(taken, refused) > 0
    assert rush >= 0, "on a slow machine they are answered after their second is over"
    assert [load["name"] for load in found["measured"]] == [
        "4 clients, a piece taken", "4 clients, sold out", "40 within 1 s, 5 pieces",
    ]  # fmt: skip
    assert all(load["errors"] == {} for load in (run for each in found["measured"] for run in each["runs"]))
    assert found["facts"]["worked_off_per_second"][0] > 0
    assert found["facts"]["rush_answered_within"] > 0


def test_a_sale_that_is_sold_out_too_soon_fails(tmp_path: Path) -> None:
    """It would measure refusals as if they were purchases."""
    words = ("flash", "--clients", "2", "--pieces", "1", "--buyers", "0")
    result = bench(*words, *QUICK, "--place", str(tmp_path))
    assert result.exit_code == 1, result.output
    assert "1 pieces were sold out before the time was over" in result.output


def test_orders_with_coupons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without in turns: each order of the second load, and no other, holds a coupon."""
    close, held = SystemUnderTest.close, []

    def counted(sut: SystemUnderTest) -> None:
        with sut.database("coupon").read() as connection:
            held.append(connection.scalar(text("SELECT sum(held) FROM coupons")))
        with sut.database("order").read() as connection:
            held.append(connection.scalar(text("SELECT count(*) FROM orders WHERE coupon_id IS NULL")))
        close(sut)

    monkeypatch.setattr(SystemUnderTest, "close", counted)
    words = ("--clients", "2", "--kinds", "3", "--loop", "closed", "--coupons", "both")
    found = figures(tmp_path, "orders", *words)
    assert [load["name"] for load in found["measured"]] == ["2 clients, 3 goods", "2 clients, 3 goods, a coupon each"]
    without, coupons = answered(found)
    assert held[0] >= coupons > 0
    assert held[1] >= without > 0


def test_coupons_that_are_wrong_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A use that no order has is found after the run, and the exit code is 1."""
    monkeypatch.setattr("lab.bench.bench.JUDGED_WITHIN", 0.1)
    create = SystemUnderTest.new_coupons

    def tampered(sut: SystemUnderTest) -> list[str]:
        coupons = create(sut)
        use = text("UPDATE coupons SET held = held + 1 WHERE coupon_id = :coupon_id")
        sut.database("coupon").transact(lambda c: c.execute(use, {"coupon_id": int(coupons[-1])}))
        return coupons

    monkeypatch.setattr(SystemUnderTest, "new_coupons", tampered)
    words = ("orders", "--clients", "2", "--kinds", "3", "--loop", "closed", "--coupons", "each")
    result = bench(*words, *QUICK, "--place", str(tmp_path))
    assert result.exit_code == 1, result.output
    assert "counted" in result.output


def test_a_wrong_ledger_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast it was: where a piece of stock is missing afterwards, the exit code is 1, and it says which."""
    monkeypatch.setattr("lab.bench.bench.JUDGED_WITHIN", 0.1)
    create = SystemUnderTest.new_goods

    def tampered(sut: SystemUnderTest, number: int) -> list[str]:
        goods = create(sut, number)
        steal = text("UPDATE stock SET available = available - 1 WHERE goods_id = :goods_id")
        sut.database("stock").transact(lambda c: c.execute(steal, {"goods_id": int(goods[0])}))
        return goods

    monkeypatch.setattr(SystemUnderTest, "new_goods", tampered)
    file = tmp_path / "bench.json"
    words = ("--clients", "2", "--kinds", "3", "--loop", "closed", "--json", str(file))
    result = bench("orders", *words, *QUICK, "--place", str(tmp_path))
    assert result.exit_code == 1, result.output
    assert "WRONG" in result.output
    found = json.loads(file.read_text(encoding="utf-8"))
    assert min(answered(found)) > 0
    assert any(line.startswith("goods ") and "available" in line for line in found["wrong"])


def test_soak(tmp_path: Path) -> None:
    """Processes are killed while orders are placed, as often as said; what got a 201 is there in the end."""
    found = figures(tmp_path, "soak", "--orders", "200", "--clients", "4", "--kill-every", "0.5")
    assert found["facts"]["placed"] >= 200
    assert sum(found["facts"]["kills"].values()) > 0
    assert found["facts"]["kills"].keys() <= set(NAMES)
    (load,) = found["measured"]
    assert sum(run["answered"] for run in load["runs"][:-1]) < 200, "it goes on until there are enough, and no longer"


def test_soak_looks_at_all_orders_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that got a 201 and is not there fails it, though each round was fine."""
    monkeypatch.setattr("lab.bench.soak.JUDGED_WITHIN", 0.1)
    judge = SoakBench.judge

    def forgetful(bench: SoakBench) -> list[str]:
        bench.placed.append(2**60)
        return judge(bench)

    monkeypatch.setattr(SoakBench, "judge", forgetful)
    result = bench("soak", "--orders", "5", "--clients", "2", "--kill-every", "0", *QUICK, "--place", str(tmp_path))
    assert result.exit_code == 1, result.output
    assert "acknowledged with 201, but it does not exist" in result.output
    assert "killed meanwhile: none" in result.output


def test_baseline(tmp_path: Path) -> None:
    """Both are measured in the same run, and their ratio told."""
    found = figures(tmp_path, "baseline", "--clients", "2")
    assert [load["name"] for load in found["measured"]] == ["naive, 2 clients", "orders, 2 clients"]
    naive, system = (load["per_second"]["median"] for load in found["measured"])
    assert found["facts"]["orders / naive, 2 clients"]["median"] == pytest.approx(system / naive)


def test_reads(tmp_path: Path) -> None:
    """Replays, orders and pages are read, and no read makes an order."""
    found = figures(tmp_path, "reads", "--clients", "2", "--filling", "0.5")
    assert len(found["measured"]) == 3
    assert min(answered(found)) > 0


def test_rollback(tmp_path: Path) -> None:
    """A backlog of rollbacks is drained, by an instance that was not there when it arose."""
    found = figures(tmp_path, "rollback", "--orders", "600", "--group", "4")
    (load,) = found["measured"]
    assert load["per_second"]["median"] > 0
    assert load["runs"][0]["processes"]["stock"]["cores"] > 0


def test_timeouts(tmp_path: Path) -> None:
    """Orders fall due together, and all are closed and their stock is back while others are placed."""
    found = figures(tmp_path, "timeouts", "--orders", "40", "--group", "4", "--clients", "2")
    assert found["facts"]["due"] == 40
    assert 0 <= found["facts"]["closed_after"] <= 60
    assert found["facts"]["closed_after"] <= found["facts"]["back_after"]
    assert min(answered(found)) > 0


def test_growth(tmp_path: Path) -> None:
    """It is measured at each size, and how long a sweep took is told."""
    found = figures(tmp_path, "growth", "--from", "30", "--to", "200", "--clients", "2")
    assert [load["name"].split()[0] for load in found["measured"]] == ["30", "30", "200", "200"]
    assert found["facts"]["sweep_seconds"].keys() == {"30", "200"}
    assert found["facts"]["sweep_orders"]["30"] == 0, "what is filled in is settled"


def test_settings_are_read() -> None:
    """A setting that is none, or does not exist, is refused in one line."""
    assert "NAME=VALUE" in bench("orders", "--set", "threads").output
    result = bench("orders", "--set", "nonsense=1")
    assert result.exit_code != 0
    assert "nonsense" in f"{result.output}{result.exception}"
