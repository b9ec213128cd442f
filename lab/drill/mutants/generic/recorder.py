"""A plugin of pytest: records which test runs which line of the core, beside whatever else the run is for."""

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from coverage import Coverage

from lab.drill.mutants.generic.core import core
from lab.drill.mutants.generic.tests_of import FILE, TestsOf


class Recorder:
    """Coverage by test. Where the run measures coverage anyway, that is used."""

    def __init__(self, root: Path) -> None:
        """Record into the clone at `root`."""
        self._root = root
        self._own: Coverage | None = None
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._failed: set[str] = set()
        self._files: set[str] = set()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        """Measure, unless somebody does."""
        if Coverage.current() is None:
            self._own = Coverage(data_file=None, config_file=False, include=[str(self._root / f) for f in self._core])
            self._own.start()

    @property
    def _core(self) -> list[str]:
        return core(self._root)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Tell coverage whose lines these are."""
        measuring = Coverage.current()
        if measuring is not None:
            measuring.switch_context(item.nodeid)
        return (yield)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note which files are run; also one that is skipped as a whole, for want of a library."""
        if not report.failed and report.nodeid.endswith(".py"):
            self._files.add(report.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up how long the test took; one that failed or was skipped says nothing of a change."""
        self._seconds[report.nodeid] += report.duration
        if not report.passed:
            self._failed.add(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Write it."""
        measuring = Coverage.current()
        if measuring is None:
            return
        data, lines = measuring.get_data(), {}
        for file in self._core:
            by_line = data.contexts_by_lineno(str(self._root / file))
            lines[file] = {line: [t for t in tests if t and t not in self._failed] for line, tests in by_line.items()}
        if self._own is not None:
            self._own.stop()
        held = TestsOf.load(self._root / FILE)
        seconds = {test: s for test, s in self._seconds.items() if test not in self._failed}
        held.record(self._root, self._files, lines, seconds)
        held.save(self._root / FILE)


def pytest_configure(config: pytest.Config) -> None:
    """Join in."""
    os.environ.setdefault("COVERAGE_CORE", "ctrace")  # the faster way of newer Pythons knows no contexts
    config.pluginmanager.register(Recorder(config.rootpath))
