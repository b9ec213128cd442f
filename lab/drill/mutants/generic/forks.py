"""A plugin of pytest: instead of running tests, tries changes, each in a child forked from this one warm process.

Everything is imported and collected once. A child plants one change and runs its tests until one fails, so that most
changes cost some tenths of a second. What the campaign asks for comes in a file; what was found out goes to a pipe.
"""

import gc
import json
import os
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import NoReturn

import pytest

from lab.drill.mutants.generic.mutation import Mutation, mutations
from lab.drill.mutants.mutant import DoesNotFit

PLAN, PIPE = "ORDERS_MUTATE_PLAN", "ORDERS_MUTATE_PIPE"
"""Variables: the file with what is asked for, and the descriptor to which each `Found` goes as a line of JSON."""

_MEMORY = 4 << 30  # bytes of addresses a child may take: a loop without its end is not to take the machine with it
_OUTPUT = 65_536


@dataclass(frozen=True, slots=True)
class Asked:
    """One change to be tried."""

    key: str
    tests: tuple[str, ...]
    """Fastest first."""
    within: float
    """Seconds; what takes longer has hung, and is caught."""


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one change: "caught", "hung", "died" (the test's process did), "survived" or "unfit"."""

    key: str
    verdict: str
    by: str
    """The test that failed, or what was said."""
    seconds: float


@dataclass(frozen=True)
class _Child:
    pid: int
    asked: Asked
    doubted: "Found | None"
    """What it runs one test again for, without any change: a test that fails all the same has caught nothing."""
    pipe: int
    scratch: Path
    began: float

    def end(self) -> None:
        """Kill what is left of it, its own children too, and remove what it wrote."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.pipe)
        shutil.rmtree(self.scratch, ignore_errors=True)


class Forks:
    """Tries changes, `jobs` at a time."""

    def __init__(self, items: Sequence[pytest.Item], root: Path, *, jobs: int, pipe: int) -> None:
        """Run some of `items` in each child."""
        self._items = {item.nodeid: item for item in items}
        self._jobs, self._pipe = jobs, pipe
        self._root = root
        self._mutations: dict[str, Mutation] = {}
        self._held: dict[str, bool] = {}  # by test: whether it passes in a child without any change
        self._running: dict[int, _Child] = {}
        self._scratch = Path(tempfile.mkdtemp(prefix="mutate-"))

    def run(self, asked: Sequence[Asked], seconds: float) -> None:
        """Try one after the other for so long; what is under way then is finished."""
        for file in {one.key.partition(":")[0] for one in asked}:
            self._mutations |= {mutation.key: mutation for mutation in mutations(self._root, file)}
        gc.collect()
        gc.freeze()  # so that a child's garbage collector does not copy all of it
        waiting, until = list(reversed(asked)), time.monotonic() + seconds
        try:
            while self._running or (waiting and time.monotonic() < until):
                while waiting and len(self._running) < self._jobs and time.monotonic() < until:
                    self._start(waiting.pop())
                for child, said in self._ended():
                    waiting += self._judge(child, said)
        finally:
            for child in self._running.values():
                child.end()
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _start(self, asked: Asked, doubted: Found | None = None) -> None:
        tests = asked.tests if doubted is None else (doubted.by,)
        items = [self._items[test] for test in tests if test in self._items and self._held.get(test, True)]
        reading, writing = os.pipe()
        scratch = Path(tempfile.mkdtemp(dir=self._scratch))
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _live(items, self._mutations[asked.key] if doubted is None else None, writing, scratch)
        os.close(writing)
        self._running[reading] = _Child(pid, asked, doubted, reading, scratch, time.monotonic())

    def _ended(self) -> Iterator[tuple[_Child, str]]:
        """Wait for the next child that says something, dies, or takes too long."""
        soonest = min(child.began + child.asked.within for child in self._running.values())
        with DefaultSelector() as selector:
            for pipe in self._running:
                selector.register(pipe, EVENT_READ)
            ready = [key.fd for key, _ in selector.select(max(0.0, soonest - time.monotonic()))]
        for pipe, child in list(self._running.items()):
            if pipe in ready:
                said = os.read(pipe, _OUTPUT).decode() or "died"
            elif time.monotonic() >= child.began + child.asked.within:
                said = "hung"
            else:
                continue
            del self._running[pipe]
            child.end()
            yield child, said

    def _judge(self, child: _Child, said: str) -> list[Asked]:
        """Tell what was found; return what must be tried again."""
        verdict, _, by = said.partition(" ")
        found = child.doubted or Found(child.asked.key, verdict, by, time.monotonic() - child.began)
        if child.doubted is not None:
            self._held[found.by] = verdict == "survived"
        if found.verdict == "caught" and found.by not in self._held:
            self._start(child.asked, doubted=found)
        elif found.verdict == "caught" and not self._held[found.by]:
            return [child.asked]
        else:
            os.write(self._pipe, json.dumps(asdict(found)).encode() + b"\n")
        return []


class _Tell:
    """Ends the child at the first test that fails."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            _say(self._pipe, f"caught {report.nodeid}")


def _say(pipe: int, said: str) -> NoReturn:
    os.write(pipe, said.encode())
    os._exit(0)


def _live(items: Sequence[pytest.Item], mutation: Mutation | None, pipe: int, scratch: Path) -> NoReturn:
    """Be the child."""
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        os.environ["PYTEST_DEBUG_TEMPROOT"] = os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
        if mutation is not None:
            mutation.plant()
        if items:
            items[0].config.pluginmanager.register(_Tell(pipe))
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        _say(pipe, "survived")
    except DoesNotFit as error:
        _say(pipe, f"unfit {error}")
    finally:
        os._exit(1)  # whatever it was: the child never goes on as pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Try changes instead of running tests."""
    plan = json.loads(Path(os.environ[PLAN]).read_text(encoding="utf-8"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that children end with us, see `Forks.run`
    asked = [Asked(one["key"], tuple(one["tests"]), one["within"]) for one in plan["asked"]]
    forks = Forks(session.items, session.config.rootpath, jobs=plan["jobs"], pipe=int(os.environ[PIPE]))
    forks.run(asked, plan["seconds"])
    return True
