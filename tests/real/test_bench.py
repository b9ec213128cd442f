"""The bench on real servers: a share of a running stack, which is gone afterwards."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from lab.commands.bench import command

pytestmark = pytest.mark.in_turn

QUICK = ("--runs", "1", "--seconds", "4", "--warm-up", "2")  # something is answered in it on a busy machine, too


@pytest.mark.parametrize(
    "words",
    [
        "orders --clients 8 --kinds 5 --loop closed",
        "baseline --clients 8",
        "flash --clients 8 --buyers 200 --few 10",
        "rollback --orders 3000 --group 4",
        "timeouts --orders 100 --clients 4",
        "growth --from 1000 --to 10000 --clients 4",
    ],
)
def test_bench(tmp_path: Path, words: str) -> None:
    """It measures on RocketMQ and MariaDB, their processes too, and the ledger is exact."""
    file = tmp_path / "bench.json"
    stack = os.environ["ORDERS_TEST_STACK"]
    result = CliRunner().invoke(command, [*words.split(), *QUICK, "--stack", stack, "--json", str(file)])
    assert result.exit_code == 0, result.output
    found = json.loads(file.read_text(encoding="utf-8"))
    lasting = [load for load in found["measured"] if load["loop"] == "closed"]  # of a burst none need be in its second
    assert all(run["answered"] for load in lasting for run in load["runs"])
    processes = set(found["measured"][-1]["runs"][0]["processes"])
    assert {"broker", "mariadb", "order", "stock"} <= processes


def test_calls() -> None:
    """Order's call of stock is timed over REST and over gRPC, each answered as it should be, and a whole order."""
    words = ["calls", "--calls", "5", "--runs", "2", "--stack", os.environ["ORDERS_TEST_STACK"], "--json"]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    found = {one["kind"]: one["runs"] for one in json.loads(result.output)}
    assert len(found) == 4
    assert [[len(run) for run in runs] for runs in found.values()] == [[5, 5]] * 4
    assert all(ms > 0 for runs in found.values() for run in runs for ms in run)
