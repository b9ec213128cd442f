"""Processes that keep to a core."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common import cores
from ops.deployment import Deployment
from ops.plan import Plan

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system keeps nothing to a core")


def test_threads_and_processes_that_follow_keep_to_it_too() -> None:
    """What a process starts after it was kept to a core stays there."""
    here = cores.at_hand()[-1]
    program = (
        "import os, subprocess, sys, threading\n"
        "from common.cores import keep_to\n"
        f"keep_to({here})\n"
        "seen = []\n"
        "thread = threading.Thread(target=lambda: seen.append(os.sched_getaffinity(0)))\n"
        "thread.start(); thread.join()\n"
        "child = subprocess.run([sys.executable, '-c', 'import os; print(os.sched_getaffinity(0))'],"
        " capture_output=True, text=True)\n"
        "print(seen[0], child.stdout.strip())\n"
    )
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert told == f"{ {here} } { {here} }\n"


def test_a_core_that_is_not_ours_changes_nothing() -> None:
    """In a container without it, a process goes on wherever it may."""
    before = cores.at_hand()
    cores.keep_to(100_000)
    assert cores.at_hand() == before


@pytest.mark.parametrize(
    ("cores_at_hand", "expected"),
    [
        ([2, 5], {"order": 2, "order-2": 5, "stock": 5, "stock-2": 2, "coupon": 5, "pay": 5, "goods": 5, "user": 5}),
        ([2, 5, 7], {"order": 2, "order-2": 5, "stock": 5, "stock-2": 7, "coupon": 7, "pay": 5, "goods": 7, "user": 7}),
        ([0, 1, 2, 3], {"order": 0, "order-2": 1, "stock": 1, "stock-2": 2, "coupon": 2, "pay": 3, "flash": 1}),
    ],
)
def test_each_process_of_a_deployment_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores_at_hand: list[int], expected: dict[str, int]
) -> None:
    """Order instances from the first core on, the others from the second, spread over all that there are."""
    monkeypatch.setattr("ops.deployment.at_hand", lambda: cores_at_hand)
    plan = Plan(20_000, instances={"order": 2, "stock": 2})
    deployment = Deployment(tmp_path, plan, say=lambda _: None)
    given = {name: int(deployment._core(name)["ORDERS_CORE"]) for name in plan.processes}
    assert given.items() >= expected.items()
    assert cores_at_hand[0] not in {core for name, core in given.items() if name not in {"order", "stock-2"}}


def test_one_core_is_no_process_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is nothing to choose from, nothing is set."""
    monkeypatch.setattr("ops.deployment.at_hand", lambda: [0])
    assert Deployment(tmp_path, Plan(20_000), say=lambda _: None)._core("order") == {}
