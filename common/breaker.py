"""A circuit breaker: who failed several times in a row is left alone, and then asked by one caller to see.

The states are pybreaker's; https://martinfowler.com/bliki/CircuitBreaker.html tells what they are for. It holds its
lock for as long as a call takes, so calls are made outside of it and only told to it, but for the one that probes.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from pybreaker import (
    STATE_CLOSED,
    STATE_OPEN,
    CircuitBreaker,
    CircuitBreakerError,
    CircuitBreakerListener,
    CircuitBreakerState,
    CircuitMemoryStorage,
)

T = TypeVar("T")
Changed = Callable[[bool], None]
"""Told when it opens (True) and when it is closed again (False)."""

FAILURES: Final = 5  # in a row
OPEN_FOR: Final = 0.5  # seconds until somebody may try: short, for one caller at a time is all that it costs


class BreakerOpen(Exception):
    """Not tried: it failed too often lately."""


class Breaker:
    """Guards calls to one place. Thread-safe."""

    def __init__(
        self, changed: Changed = lambda _: None, *, failures: int = FAILURES, open_for: float = OPEN_FOR
    ) -> None:
        """Open after so many `failures` in a row; then have one caller try every `open_for` seconds."""
        self._states = CircuitBreaker(
            fail_max=failures,
            reset_timeout=open_for,
            state_storage=_Storage(STATE_CLOSED),
            listeners=[_Listener(changed)],
            throw_new_error_on_trip=False,
        )
        self._probing = threading.Lock()

    @property
    def is_closed(self) -> bool:
        """Whether calls are made as usual."""
        return self._states.current_state == STATE_CLOSED

    def call(self, work: Callable[[], T]) -> T:
        """Return what `work` returns; whatever it raises is a failure. Raise `BreakerOpen` at once instead."""
        if not self.is_closed:
            return self._probe(work)
        try:
            result = work()
        except Exception:
            self._tell(_fail)
            raise
        if self._states.fail_counter:
            self._tell(_succeed)
        return result

    def invite(self) -> None:
        """Have the next caller try, however short a time it was open: there is a sign that it may work again."""
        if self._states.current_state == STATE_OPEN:
            self._states.half_open()

    def _probe(self, work: Callable[[], T]) -> T:
        if not self._probing.acquire(blocking=False):
            raise BreakerOpen
        try:
            return self._states.call(work)
        except CircuitBreakerError as error:  # not open for long enough
            raise BreakerOpen from error
        finally:
            self._probing.release()

    def _tell(self, outcome: Callable[[], None]) -> None:
        if self.is_closed:  # what began before it opened has nothing to say about now
            with suppress(_Failure, CircuitBreakerError):
                self._states.call(outcome)


class _Failure(Exception):
    pass


def _fail() -> None:
    raise _Failure


def _succeed() -> None:
    pass


class _Storage(CircuitMemoryStorage):
    """Tells times as if the clock had never been set: pybreaker compares with `datetime.now`."""

    _at = 0.0

    @property
    def opened_at(self) -> datetime:
        """When it opened, by the clock of now."""
        return datetime.now(UTC) - timedelta(seconds=time.monotonic() - self._at)

    @opened_at.setter
    def opened_at(self, _: datetime) -> None:
        self._at = time.monotonic()


class _Listener(CircuitBreakerListener):
    def __init__(self, changed: Changed) -> None:
        self._changed = changed

    def state_change(
        self, cb: CircuitBreaker, old_state: CircuitBreakerState | None, new_state: CircuitBreakerState
    ) -> None:
        del cb
        if old_state is not None and STATE_CLOSED in {old_state.name, new_state.name}:
            self._changed(new_state.name != STATE_CLOSED)
