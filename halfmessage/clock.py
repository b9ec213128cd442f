"""The one place that reads the wall clock: milliseconds since the epoch, UTC."""

import time
from datetime import UTC, datetime
from functools import lru_cache


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
