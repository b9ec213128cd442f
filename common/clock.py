"""The one place that reads the wall clock: milliseconds since the epoch, UTC."""

import time
from datetime import UTC, datetime


def now_ms() -> int:
    """Return the current time in ms since the epoch."""
    return time.time_ns() // 1_000_000


def rfc3339(ms: int) -> str:
    """Write a time in ms since the epoch as RFC 3339 UTC with milliseconds."""
    moment = datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{moment}.{ms % 1000:03d}Z"


def from_rfc3339(text: str) -> int:
    """Read what `rfc3339` wrote. Raise `ValueError`."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)
