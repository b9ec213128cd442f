"""Data directories as people have them: with names that mean something elsewhere, copied, and moved."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from common.registry import ALL_NAMES
from ops.deployment import Deployment, free_port_base

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(400),  # several starts
    pytest.mark.embedded("tests/unit/test_stack_real.py has those of a stack"),
]

NASTY = "run #1?%20 ;&'\"$x[red]*é😀\n -end "


def orders(*words: str, data_dir: Path) -> subprocess.CompletedProcess[str]:
    """Run a command on a data directory."""
    command = [sys.executable, "-m", "ops", *words, "--data-dir", str(data_dir)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORDERS_")}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=180, env=environment)


@contextmanager
def running(data_dir: Path, *, port_base: int | None = None) -> Iterator[Deployment]:
    """Run a deployment by the command line for a while."""
    up = orders("up", "--detach", "--port-base", str(port_base or free_port_base()), data_dir=data_dir)
    try:
        assert up.returncode == 0, up.stderr
        yield Deployment.find(data_dir)
    finally:
        orders("down", data_dir=data_dir)


def order(deployment: Deployment) -> str:
    """Place an order; return its id."""
    with closing(deployment.client("alice")) as alice:
        goods = alice.get("goods", "/goods")["items"][-1]["goods_id"]
        placed = alice.post("order", "/orders", {"items": [{"goods_id": goods, "quantity": 1}]})
        return str(placed["order_id"])


def orders_of(deployment: Deployment) -> set[str]:
    """Return the ids of Alice's orders."""
    with closing(deployment.client("alice")) as alice:
        return {str(one["order_id"]) for one in alice.get("order", "/orders")["items"]}


def test_any_legal_name_works(tmp_path: Path) -> None:
    """Up, an order, all that looks at it, and down, where URLs, shells and patterns take the name amiss."""
    data_dir = tmp_path / NASTY
    with running(data_dir) as deployment:
        placed = order(deployment)
        assert placed in orders("messages", "--key", placed, "--json", data_dir=data_dir).stdout
        assert orders("reconcile", data_dir=data_dir).returncode == 0
        assert orders("status", data_dir=data_dir).returncode == 0
    assert orders("status", data_dir=data_dir).returncode == 3
    assert [path.name for path in tmp_path.iterdir()] == [NASTY]
    assert {path.name for path in data_dir.glob("*.db")} == {*(f"{name}.db" for name in ALL_NAMES), "broker.db"}


def test_a_copy_of_a_running_deployment_lives_its_own_life(tmp_path: Path) -> None:
    """It is told that its ports are taken, starts on others, and its orders and its end are its own."""
    base = free_port_base()
    with running(tmp_path / "one", port_base=base) as original:
        before = order(original)
        copy = tmp_path / "copy"
        subprocess.run(["cp", "-a", str(tmp_path / "one"), str(copy)], check=True)
        refused = orders("up", "--port-base", str(base), data_dir=copy)
        assert refused.returncode != 0
        assert f"Port {base - 1} of 127.0.0.1, which gateway needs" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
        assert orders("reconcile", "--repair", data_dir=copy).stderr.startswith("Error: Nothing runs")
        with running(copy) as other:
            placed = order(other)
            assert placed not in orders_of(original)
            assert placed in orders_of(other)
            assert "Stopped" in orders("down", "--all", data_dir=copy).stdout
        assert order(original) not in {before, placed}
        assert orders("status", data_dir=tmp_path / "one").returncode == 0
    moved = (tmp_path / "one").rename(tmp_path / "moved")
    with running(moved, port_base=base) as again:
        assert before in orders_of(again)
