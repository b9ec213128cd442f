"""Which test runs which line of the core, and how long it takes: recorded once, and again for what has changed.

Lines are counted from their function's ``def``, so that a change elsewhere in the file moves nothing. Of a function
that has itself changed, it is only known which tests ran it at all.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from common.replacing import replace_file
from lab.drill.mutants.generic.core import SUITES
from lab.drill.mutants.generic.mutation import Function, functions

ANYWHERE = "*"
FILE = ".tests-of-lines.json"
"""In the clone; git ignores it."""


@dataclass
class Reached:
    """The tests that run one function."""

    fingerprint: str
    """Of the function as it was then."""
    tests: dict[str, list[str]]
    """By offset of the line, or `ANYWHERE`."""


@dataclass
class TestsOf:
    """The tests of each line: `functions` by ``file:name``, `seconds` by test, fingerprints by file of tests."""

    __test__ = False  # pytest takes what is called so for a test

    functions: dict[str, Reached] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, file: Path) -> Self:
        """Return what was recorded; nothing, where nothing was."""
        try:
            held = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls()
        reached = {name: Reached(**values) for name, values in held["functions"].items()}
        return cls(reached, held["seconds"], held["files"])

    def save(self, file: Path) -> None:
        """Write it, whole or not at all."""
        reached = {name: {"fingerprint": r.fingerprint, "tests": r.tests} for name, r in self.functions.items()}
        held = {"functions": reached, "seconds": self.seconds, "files": self.files}
        replace_file(file, json.dumps(held).encode())

    def of(self, function: Function, first: int, last: int) -> list[str]:
        """Return the tests that run any of these lines, fastest first."""
        reached = self.functions.get(f"{function.file}:{function.name}")
        if reached is None:
            return []
        if reached.fingerprint == function.fingerprint:
            offsets = [ANYWHERE, *(str(line - function.first) for line in range(first, last + 1))]
        else:
            offsets = list(reached.tests)
        found = {test for offset in offsets for test in reached.tests.get(offset, ())}
        return sorted(found, key=lambda test: (self.seconds.get(test, 0.0), test))

    def outdated(self, root: Path, files: Iterable[str]) -> list[str]:
        """Return the files of tests that must be recorded again, as far as it is about these files of the core.

        They have changed themselves, or run a function that has. Of a file that is new, all that run what is no more.
        """
        now = fingerprints(root)
        stale = {file for file, fingerprint in now.items() if self.files.get(file) != fingerprint}
        known = {f"{f.file}:{f.name}": f.fingerprint for file in files for f in functions(root, file)}
        asked = {name.partition(":")[0] for name in known}
        recorded = {name.partition(":")[0] for name in self.functions}
        if not asked <= recorded:
            asked |= {file for file in recorded if not (root / file).exists()}
        for name, reached in self.functions.items():
            if name.partition(":")[0] in asked and known.get(name) != reached.fingerprint:
                tests = (test for tests in reached.tests.values() for test in tests)
                stale |= {test.partition("::")[0] for test in tests} & now.keys()
        return sorted(stale)

    def record(
        self,
        root: Path,
        ran: Collection[str],
        lines: Mapping[str, Mapping[int, Sequence[str]]],
        seconds: Mapping[str, float],
    ) -> None:
        """Take in what running some files of tests, each as a whole, has shown: tests by line by file of the core."""
        now = fingerprints(root)
        self._forget({file for file in self.files if file in ran or file not in now})
        self.seconds |= seconds
        self.files |= {file: now[file] for file in ran if file in now}
        for file, of_lines in lines.items():
            for function in functions(root, file):
                self._add(function, of_lines)

    def _forget(self, files: set[str]) -> None:
        self.files = {file: fingerprint for file, fingerprint in self.files.items() if file not in files}
        self.seconds = {test: s for test, s in self.seconds.items() if test.partition("::")[0] not in files}
        for reached in self.functions.values():
            kept = {o: [t for t in tests if t.partition("::")[0] not in files] for o, tests in reached.tests.items()}
            reached.tests = {offset: tests for offset, tests in kept.items() if tests}

    def _add(self, function: Function, of_lines: Mapping[int, Sequence[str]]) -> None:
        name = f"{function.file}:{function.name}"
        before = self.functions.get(name)
        tests: dict[str, set[str]] = defaultdict(set)
        if before is not None:
            same = before.fingerprint == function.fingerprint
            for offset, known in before.tests.items():
                tests[offset if same else ANYWHERE] |= set(known)
        for line in range(function.first + 1, function.last + 1):
            if line in of_lines:
                tests[str(line - function.first)] |= set(of_lines[line])
        self.functions[name] = Reached(function.fingerprint, {o: sorted(t) for o, t in tests.items() if t})


def fingerprints(root: Path) -> dict[str, str]:
    """Return the fingerprint of each file of tests, by its path in the clone."""
    files = [file for suite in SUITES for file in sorted((root / suite).rglob("test_*.py"))]
    return {str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest()[:16] for f in files}
