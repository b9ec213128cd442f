"""Whether a service is ready: its checks, run once for all who ask, each on a thread of its own.

Anybody may ask, as often as they like, and some checks write. So there is one run at a time, whose results are shared.
A check that hangs fails alone, holds one thread however often it is asked for, and keeps few requests waiting.
What else is looked at for callers is looked at in the same way: the gauges of `/metrics`.
"""

import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import structlog

from halfmessage.errors import HalfMessageError

Check = Callable[[], object]
"""Raises `OrdersError` while what it looks at does not do what the service needs of it."""
Result = Literal["ok", "failed"]
Found = tuple[Result, float]
"""A result, and when it was found (time.monotonic())."""

READY_WITHIN: Final = 2.0  # seconds for each check, all at once; one that takes longer has failed
SHARED_FOR: Final = 1.0  # seconds that the results of a run are given to all who ask
MOST_PATIENT: Final = 4  # requests that wait for the slowest check of a run
PATIENCE: Final = 0.25  # seconds from its beginning that all others wait: many times what a sound check takes
STANDS_FOR: Final = READY_WITHIN + 2 * SHARED_FOR  # seconds that a result is told while the next one is on its way

log = structlog.get_logger()


class Checks:
    """The checks of one process. Thread-safe."""

    def __init__(self, checks: Mapping[str, Check], *, failing: str = "not ready") -> None:
        """Take the checks by name; none runs before somebody asks. `failing`: what the log calls one that fails."""
        self._failing = failing
        self._checks = [_OneCheck(name, check, failing) for name, check in checks.items()]
        self._guard = threading.Lock()
        self._run = _Run((), {})
        self._run.fresh_until = float("-inf")

    def add(self, name: str, check: Check) -> None:
        """Make one more; to be called before the first time that somebody asks."""
        self._checks.append(_OneCheck(name, check, self._failing))

    def results(self) -> dict[str, Result]:
        """Return the result of each check, found at most `SHARED_FOR` seconds ago.

        What is not known yet is as it was found last, up to `STANDS_FOR` seconds ago; what has no such result failed.
        One that takes longer than `READY_WITHIN` has failed, however it was before.
        """
        with self._guard:
            begins = time.monotonic() >= self._run.fresh_until
            if begins:
                self._run = _Run([check.name for check in self._checks], self._run.found)
            run = self._run
        if begins:
            for check in self._checks:
                check.start(run)
        run.wait()
        if begins:
            run.tell_unknown(self._failing)
        return run.results


class _Run:
    """One round of all checks, and what they have found so far."""

    def __init__(self, names: Sequence[str], before: Mapping[str, Found]) -> None:
        self._begun_at = time.monotonic()
        self.fresh_until = self._begun_at + READY_WITHIN + SHARED_FOR  # earlier, once all is known
        self._before = before
        self._found: dict[str, Found] = {}
        self._names = names
        self._left = len(names)
        self._all_ended = threading.Event()
        self._guard = threading.Lock()
        self._askers = itertools.count()

    def ended(self, name: str, result: Result) -> None:
        """Note what a check has found."""
        with self._guard:
            self._found[name] = result, time.monotonic()
            self._left -= 1
            if self._left == 0:
                self.fresh_until = min(self.fresh_until, time.monotonic() + SHARED_FOR)
                self._all_ended.set()

    def wait(self) -> None:
        """Return once all is known, or when this request has waited for as long as it may."""
        patience = READY_WITHIN if next(self._askers) < MOST_PATIENT else PATIENCE
        if self._left:
            self._all_ended.wait(self._begun_at + patience - time.monotonic())

    @property
    def found(self) -> dict[str, Found]:
        """What this run has found."""
        with self._guard:
            return self._found.copy()

    @property
    def results(self) -> dict[str, Result]:
        now, found = time.monotonic(), self.found
        known = found if now >= self._begun_at + READY_WITHIN else {**self._before, **found}
        return {
            name: known[name][0] if name in known and now - known[name][1] <= STANDS_FOR else "failed"
            for name in self._names
        }

    def tell_unknown(self, failing: str) -> None:
        """Log which checks did not end in time."""
        with self._guard:
            unknown = [name for name in self._names if name not in self._found]
        for name in unknown:
            log.warning(failing, check=name, reason=f"no answer within {READY_WITHIN:g} s")


class _OneCheck:
    """A check, and the thread that runs it: while that has not come back, the check has failed and no other starts."""

    def __init__(self, name: str, check: Check, failing: str) -> None:
        self.name = name
        self._failing = failing
        self._check = check
        self._running = threading.Lock()

    def start(self, run: _Run) -> None:
        """Begin; tell `run` what was found, at once where the last one still hangs."""
        if not self._running.acquire(blocking=False):
            log.warning(self._failing, check=self.name, reason="the last check has not come back")
            run.ended(self.name, "failed")
            return
        # A daemon, or a check that hangs would keep the process from ending
        thread = threading.Thread(target=self._go, args=(run,), name=f"ready-{self.name}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system gives no more threads
            self._running.release()
            log.warning(self._failing, check=self.name, reason=str(error))
            run.ended(self.name, "failed")

    def _go(self, run: _Run) -> None:
        result: Result = "failed"
        try:
            self._check()
            result = "ok"
        except HalfMessageError as error:
            log.warning(self._failing, check=self.name, reason=error.detail)
        except Exception:  # a thread's edge: a fault of the check itself
            log.exception(self._failing, check=self.name, reason="a fault of the check itself")
        finally:
            self._running.release()
            run.ended(self.name, result)
