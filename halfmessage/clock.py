"""The one place that reads the wall clock: milliseconds since the epoch, UTC."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

NOTICED: Final = 500  # ms that a clock must go back to be noticed; that much later may things come


def now_ms() -> int:
    """Return the current time in ms since the epoch."""
    return time.time_ns() // 1_000_000


def rfc3339(ms: int) -> str:
    """Write a time in ms since the epoch as RFC 3339 UTC with milliseconds."""
    return f"{_second(ms // 1000)}.{ms % 1000:03d}Z"


@lru_cache(maxsize=4096)  # what happens at once is told within few seconds
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def from_rfc3339(text: str) -> int:
    """Read a time of RFC 3339, such as `rfc3339` writes. Raise `ValueError`."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


class Watch:
    """Sees the wall clock go back: while this process runs, by a clock that can't be set."""

    def __init__(self, first: Callable[[], bool] = lambda: True) -> None:
        """Take what tells at the first look whether the clock went back before; without it, it may have."""
        self._first = first
        self._ahead: float | None = None  # of the wall clock before the other one, in ms

    def follow(self, bring_near: Callable[[], object]) -> None:
        """Have what lies too far ahead brought near, if the clock went back since the last call.

        Raise what `bring_near` and the first look raise: the next call tries again.
        """
        before, ahead = self._ahead, now_ms() - time.monotonic() * 1000
        if self._first() if before is None else before - ahead > NOTICED:
            bring_near()
        self._ahead = ahead
