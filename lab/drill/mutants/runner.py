"""Runs the test of each mutant with it planted, which must fail, and all of them without, which must not."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from queue import SimpleQueue

import lab
from lab.drill.mutants.mutant import Mutant
from lab.drill.mutants.plant import VARIABLE
from lab.drill.mutants.warm import Warm

_CLONE = Path(lab.__file__).parents[1]
_PASSED, _FAILED = 0, 1  # exit codes of pytest; with others, no test has come to its end
_KILLED = -9
_TEST_WITHIN = 60  # seconds
_TIMED_OUT = "from pytest-timeout"  # what it says, wherever it ends a test: in the middle of pytest it is no failure
_RUN_WITHIN = 600.0  # seconds; for what even that can't end
_TOLD = 12  # lines of pytest's output
_UNSTABLE = 3  # tests or planted bugs of one run, and how often each is tried by itself: see docs/decisions/0035

_PYTEST = (
    *("-p", "lab.drill.mutants.plant", "-p", "pytest_timeout", "-p", "no:cacheprovider"),
    *("-q", "--no-header", "--tb=line"),
)

_Pytest = Callable[[Sequence[str], dict[str, str]], tuple[int, str]]
"""Called with arguments and variables of a run of pytest; returns its exit code and what it said."""


class Verdict(StrEnum):
    """What became of one mutant."""

    CAUGHT = "caught"
    TIMED_OUT = "timed out"
    UNSTABLE = "missed once, then caught 3 times: UNSTABLE"
    SURVIVED = "survived"
    UNKNOWN = "no test ran to its end"


@dataclass(frozen=True, slots=True)
class Result:
    """The verdict on one mutant, and how it came."""

    mutant: Mutant
    verdict: Verdict
    seconds: float
    output: str
    """The end of what pytest said."""

    @property
    def caught(self) -> bool:
        """Whether somebody who runs the tests would have seen it: a hang is seen, too."""
        return self.verdict in {Verdict.CAUGHT, Verdict.TIMED_OUT, Verdict.UNSTABLE}


@dataclass(frozen=True, slots=True)
class Health:
    """How the tests do without any mutant."""

    failed: str | None
    """What pytest said of what failed; None: they pass."""
    unstable: Sequence[str]
    """Tests that failed once, beside others, and then passed by themselves."""


def root() -> Path:
    """Return the clone whose tests are run."""
    return _CLONE


def environment() -> dict[str, str]:
    """Return the variables of a process of pytest that loads our plugins, which are not installed, and no others."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ORDERS_")}
    # Plugins that happen to be installed cost more than most of these tests.
    return own | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(_CLONE)}


def healthy(mutants: Sequence[Mutant], *, jobs: int) -> Health:
    """Run the mutants' tests without any mutant, in `jobs` parts; a few that fail are tried again by themselves."""
    tests = sorted({mutant.test for mutant in mutants})
    parts = [part for number in range(jobs) if (part := tests[number::jobs])]
    with _pytest(jobs) as pytest:
        with ThreadPoolExecutor(jobs) as pool:
            finished = list(pool.map(lambda part: pytest(part, {}), parts))
        bad = [(code, said) for code, said in finished if code != _PASSED]
        lines = [line for _, said in bad for line in said.splitlines()]
        failed = [test for test in tests if any(line.startswith(f"FAILED {test}") for line in lines)]
        told = "\n".join(said for _, said in bad) or None
        if not failed or len(failed) > _UNSTABLE or any(code != _FAILED for code, _ in bad):
            return Health(told, ())
        if any(pytest(failed, {})[0] != _PASSED for _ in range(_UNSTABLE)):
            return Health(told, ())
    return Health(None, failed)


def run_all(mutants: Sequence[Mutant], *, jobs: int) -> Iterator[Result]:
    """Run each mutant's test with it planted, `jobs` at a time; yield results as they come."""
    with _pytest(jobs) as pytest, ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(_run, mutant, pytest) for mutant in mutants]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def again(results: Sequence[Result]) -> list[Result]:
    """Plant a few that survived again, by themselves; those whose test fails each time are unstable, not survivors."""
    missed = [result.mutant for result in results if result.verdict is Verdict.SURVIVED]
    if not missed or len(missed) > _UNSTABLE:
        return list(results)
    caught: set[str] = set()
    with _pytest(1) as pytest:
        for mutant in missed:
            if all(_run(mutant, pytest).caught for _ in range(_UNSTABLE)):
                caught.add(mutant.name)
    return [replace(result, verdict=Verdict.UNSTABLE) if result.mutant.name in caught else result for result in results]


def _run(mutant: Mutant, pytest: _Pytest) -> Result:
    started = time.monotonic()
    code, said = pytest(["-x", mutant.test], {VARIABLE: mutant.name})
    told = "\n".join(said.strip().splitlines()[-_TOLD:])
    return Result(mutant, _verdict(code, said), time.monotonic() - started, told)


def _verdict(code: int, said: str) -> Verdict:
    if code == _PASSED:
        return Verdict.SURVIVED
    if _TIMED_OUT in said:
        return Verdict.TIMED_OUT
    return Verdict.CAUGHT if code == _FAILED else Verdict.UNKNOWN


@contextmanager
def _pytest(jobs: int) -> Iterator[_Pytest]:
    """Return what runs pytest, in so many processes; what took too long is killed, and says so."""
    with ExitStack() as stack:
        free: SimpleQueue[Warm] = SimpleQueue()
        for _ in range(jobs):
            free.put(stack.enter_context(Warm(root(), environment())))

        def run(arguments: Sequence[str], variables: dict[str, str]) -> tuple[int, str]:
            warm = free.get()
            try:
                options = [*_PYTEST, f"--timeout={_TEST_WITHIN}", *arguments]
                return warm.run(options, variables, within=_RUN_WITHIN)
            except subprocess.TimeoutExpired as late:
                return _KILLED, f"{late.output}\nkilled after {_RUN_WITHIN} s, as {_TIMED_OUT} is not heard there"
            finally:
                free.put(warm)

        yield run
