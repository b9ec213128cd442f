"""Runs the test of each mutant with it planted, which must fail, and all of them without, which must not."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import lab
from lab.drill.mutants.mutant import Mutant
from lab.drill.mutants.plant import VARIABLE

_CLONE = Path(lab.__file__).parents[1]
_PASSED, _FAILED = 0, 1  # exit codes of pytest; others: nothing was found out
_TEST_WITHIN = 60  # seconds; a test that hangs has caught its mutant as well
_RUN_WITHIN = 600.0  # seconds
_TOLD = 12  # lines of pytest's output

_PYTEST = (
    *(sys.executable, "-m", "pytest", "-p", "lab.drill.mutants.plant", "-p", "pytest_timeout"),
    *("-p", "no:cacheprovider", "-q", "--no-header", "--tb=line", f"--timeout={_TEST_WITHIN}"),
)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one mutant."""

    mutant: Mutant
    caught: bool
    seconds: float
    output: str
    """The end of what pytest said."""


def root() -> Path:
    """Return the clone whose tests are run."""
    return _CLONE


def environment() -> dict[str, str]:
    """Return the variables of a process of pytest that loads our plugins, which are not installed, and no others."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ORDERS_")}
    # Plugins that happen to be installed cost more than most of these tests.
    return own | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(_CLONE)}


def healthy(mutants: Sequence[Mutant], *, jobs: int) -> str | None:
    """Run the mutants' tests without any mutant, in `jobs` parts; return None if they pass, else what pytest said."""
    tests = sorted({mutant.test for mutant in mutants})
    parts = [part for number in range(jobs) if (part := tests[number::jobs])]
    with ThreadPoolExecutor(jobs) as pool:
        finished = list(pool.map(lambda part: _pytest(part, {}), parts))
    return "\n".join(one.stdout for one in finished if one.returncode != _PASSED) or None


def run_all(mutants: Sequence[Mutant], *, jobs: int) -> Iterator[Result]:
    """Run each mutant's test with it planted, `jobs` at a time; yield results as they come."""
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(_run, mutant) for mutant in mutants]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _run(mutant: Mutant) -> Result:
    started = time.monotonic()
    finished = _pytest(["-x", mutant.test], {VARIABLE: mutant.name})
    said = "\n".join(finished.stdout.strip().splitlines()[-_TOLD:])
    return Result(mutant, finished.returncode == _FAILED, time.monotonic() - started, said)


def _pytest(arguments: Sequence[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_PYTEST, *arguments],
        cwd=root(),
        env=environment() | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_RUN_WITHIN,
        check=False,
    )
