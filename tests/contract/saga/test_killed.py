"""Real processes, killed with SIGKILL at each step of the engine, and three at once."""

import signal
import subprocess
import sys

import pytest

from halfmessage.failpoints import of_saga
from halfmessage.saga.model import Run, RunState
from halfmessage.saga.operating import Sagas
from tests.contract.saga.process import made
from tests.contract.saga.shop import Shop
from tests.support import eventually

WITHIN = 60.0  # seconds that a process has to its end, on a busy machine
MOMENTS = [
    *(f"{point}=kill" for point in sorted(of_saga("saga"))),
    *("saga.recorded=kill@3", "saga.answered=kill@4", "saga.before_commit=kill@2"),
]


def _process(shop: Shop, runs: int, spec: str = "") -> "subprocess.Popen[str]":
    words = [sys.executable, "-m", "tests.contract.saga.process", shop.url, str(runs), spec]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")


def _ends(process: "subprocess.Popen[str]") -> int:
    said, _ = process.communicate(timeout=WITHIN)
    assert process.returncode in {0, -signal.SIGKILL}, said
    return process.returncode


def _runs(shop: Shop) -> list[Run]:
    return Sagas(made(shop)).list(list(RunState))


def _check(shop: Shop, runs: list[Run]) -> None:
    """Every run ended as it had to, with each effect once, or none."""
    for run in runs:
        refused = run.input["refuse"]
        assert run.state is (RunState.UNDONE if refused else RunState.DONE), run
        assert set(shop.effects_of(run).values()) == {0 if refused else 1}, (run, shop.effects_of(run))


@pytest.mark.parametrize("spec", MOMENTS)
def test_killed_at_each_step(shop: Shop, spec: str) -> None:
    """Another process takes the runs over once the claim is over, and brings them to their ends."""
    runs = 2
    assert _ends(_process(shop, runs, spec)) == -signal.SIGKILL, "the failpoint was never passed"
    assert _ends(_process(shop, runs)) == 0
    found = _runs(shop)
    assert len(found) == runs
    _check(shop, found)


@pytest.mark.timeout(300)
def test_three_killed_at_once(shop: Shop) -> None:
    """Three processes work on the same runs and are all killed, twice; those that come after end them."""
    runs = 6
    for ended in (0, 2):
        processes = [_process(shop, runs) for _ in range(3)]
        try:
            eventually(lambda ended=ended, all_=processes: _ended(shop) > ended or _all_over(all_), within=WITHIN)
        finally:
            for process in processes:
                process.kill()
            for process in processes:
                process.communicate(timeout=WITHIN)
    assert _ends(_process(shop, runs)) == 0
    found = _runs(shop)
    assert len(found) == runs
    _check(shop, found)


def _ended(shop: Shop) -> int:
    return sum(run.ended_at is not None for run in _runs(shop))


def _all_over(processes: "list[subprocess.Popen[str]]") -> bool:
    return all(process.poll() is not None for process in processes)
