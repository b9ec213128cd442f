"""Which changes are tried, in which order, and what became of them."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import click

from halfmessage.chunks import chunks
from lab.drill.mutants import runner
from lab.drill.mutants.generic.core import core
from lab.drill.mutants.generic.forks import PIPE, PLAN, Asked, Found
from lab.drill.mutants.generic.mutation import Mutation, mutations
from lab.drill.mutants.generic.tests_of import FILE, TestsOf
from ops.errors import CommandFailed

_SECONDS_OF_TESTS = 10.0  # that one change is given, by what the tests took when they were recorded
_SECONDS_OF_SLOWER = 120.0  # that a survivor is given then
_PATIENCE = 5.0  # times as long, on a machine that is busier
_AT_LEAST = 20.0  # seconds, before a change is taken for one that hangs
_RECORDED_WITHIN = 1200.0  # seconds, of so many files of tests
_FILES_AT_ONCE = 8  # what is known of them is kept, even if somebody stops the rest

_PASSED, _FAILED, _NONE_RUN = 0, 1, 5  # exit codes of pytest

_PYTEST = (sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "pytest_timeout")


def chosen(root: Path, paths: Sequence[str]) -> list[str]:
    """Return the files of the core in these files and folders; all, where none are named. Raise `CommandFailed`."""
    files = core(root)
    if not paths:
        return files
    places = [str(Path(path).absolute().relative_to(root)) for path in paths]
    found = [f for f in files if any(f == place or f.startswith(f"{place}/") for place in places)]
    if not found:
        raise CommandFailed(f"Nothing of the core is in {', '.join(paths)}.")
    return found


def changed_lines(root: Path, base: str) -> dict[str, set[int]]:
    """Return the lines that were changed since `base` and this commit parted, by file. Raise `CommandFailed`."""
    parted = _git(root, "merge-base", base, "HEAD").strip()
    lines: dict[str, set[int]] = {}
    file = ""
    for line in _git(root, "diff", "--unified=0", "--no-color", "--no-ext-diff", parted, "--", "*.py").splitlines():
        if line.startswith("+++ "):
            file = line.removeprefix("+++ b/")
        elif hunk := re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line):
            first, number = int(hunk[1]), int(hunk[2] or 1)
            lines.setdefault(file, set()).update(range(first, first + number))
    return lines


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise CommandFailed(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


def drawn(found: Sequence[Mutation], seed: int) -> list[Mutation]:
    """Return the changes in an order that is the same for the same seed, whatever else there is."""
    return sorted(found, key=lambda mutation: hashlib.sha256(f"{seed} {mutation.key}".encode()).digest())


def on_lines(root: Path, files: Sequence[str], lines: dict[str, set[int]] | None) -> list[Mutation]:
    """Return the changes of these files; where `lines` are given, those that touch one of them."""
    if lines is None:
        return [mutation for file in files for mutation in mutations(root, file)]
    return [
        mutation
        for file in files
        if file in lines
        for mutation in mutations(root, file)
        if not lines[file].isdisjoint(range(mutation.first, mutation.last + 1))
    ]


def record(root: Path, files: Sequence[str], *, fresh: bool) -> None:
    """Find out which test runs which line of these files, where that is not known. Raise `CommandFailed`."""
    held = TestsOf() if fresh else TestsOf.load(root / FILE)
    stale = held.outdated(root, files)
    if fresh:
        (root / FILE).unlink(missing_ok=True)
    if not stale:
        return
    for part in chunks(stale, _FILES_AT_ONCE):
        command = [*_PYTEST, "-p", "lab.drill.mutants.generic.recorder", "--tb=short", *part]
        done = subprocess.run(
            command, cwd=root, env=_environment(), capture_output=True, text=True, timeout=_RECORDED_WITHIN, check=False
        )
        if done.returncode == _FAILED:  # what failed is recorded as running nothing
            click.echo(
                "These fail without any change, so they notice none:\n" + "\n".join(_failed(done.stdout)), err=True
            )
        elif done.returncode not in {_PASSED, _NONE_RUN}:
            what = f"pytest ended with {done.returncode} without any change, so nothing can be said:\n"
            raise CommandFailed(what + (done.stdout + done.stderr)[-4000:])


def _failed(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith(("FAILED ", "ERROR "))]


@dataclass(frozen=True)
class Plan:
    """What is asked for."""

    asked: tuple[Asked, ...]
    slower: Mapping[str, Asked]
    """By key, of changes that more tests run: what is asked for if they survive."""
    untested: tuple[Mutation, ...]
    """Changes of lines that no test runs."""


def plan(found: Sequence[Mutation], held: TestsOf) -> Plan:
    """Choose the tests of each change."""
    asked, slower, untested = [], {}, []
    for mutation in found:
        tests = held.of(mutation.function, mutation.first, mutation.last)
        if not tests:
            untested.append(mutation)
            continue
        tests.sort(key=partial(_is_named_otherwise, mutation.function.file))
        asked.append(_asked(mutation, tests, held, _SECONDS_OF_TESTS))
        if more := [test for test in tests if test not in asked[-1].tests]:
            slower[mutation.key] = _asked(mutation, more, held, _SECONDS_OF_SLOWER)
    return Plan(tuple(asked), slower, tuple(untested))


def _is_named_otherwise(file: str, test: str) -> bool:
    """Whether a test is in a file called neither like the module that is changed nor like its folder."""
    of = Path(test.partition("::")[0]).stem
    return Path(file).stem not in of and Path(file).parent.name not in of


def _asked(mutation: Mutation, tests: Sequence[str], held: TestsOf, most: float) -> Asked:
    """Ask for the first of these tests, without those that would take more seconds together; one in any case."""
    chosen: list[str] = []
    total = 0.0
    for test in tests:
        seconds = held.seconds.get(test, 0.0)
        if not chosen or total + seconds <= most:
            chosen.append(test)
            total += seconds
    return Asked(mutation.key, tuple(chosen), max(_AT_LEAST, _PATIENCE * total))


def tried(root: Path, asked: Sequence[Asked], *, jobs: int, seconds: float) -> Iterator[Found]:
    """Try changes for so long, the first ones first; yield what was found as it comes. Raise `CommandFailed`."""
    files = sorted({test.partition("::")[0] for one in asked for test in one.tests})
    with tempfile.TemporaryDirectory(prefix="mutate-") as directory, _pipe() as (reading, writing):
        file = Path(directory) / "plan.json"
        file.write_text(json.dumps({"asked": [asdict(a) for a in asked], "jobs": jobs, "seconds": seconds}), "utf-8")
        said = Path(directory) / "said"
        with said.open("w", encoding="utf-8") as output:
            process = subprocess.Popen(
                [*_PYTEST, "-p", "lab.drill.mutants.plant", "-p", "lab.drill.mutants.generic.forks", *files],
                cwd=root,
                env=_environment() | {PLAN: str(file), PIPE: str(writing)},
                pass_fds=(writing,),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        os.close(writing)
        try:
            with os.fdopen(reading, encoding="utf-8", closefd=False) as lines:
                for line in lines:
                    yield Found(**json.loads(line))
            if process.wait() not in {_PASSED, _NONE_RUN}:
                raise CommandFailed("pytest failed:\n" + said.read_text(encoding="utf-8")[-4000:])
        finally:
            process.terminate()
            process.wait()


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        os.close(reading)


def _environment() -> dict[str, str]:
    return runner.environment() | {"COVERAGE_CORE": "ctrace"}  # the faster way of newer Pythons knows no contexts
