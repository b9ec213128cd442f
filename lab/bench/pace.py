"""When requests are sent: as soon as a client is free (closed loop), or at times fixed beforehand (open loop).

A closed loop asks less of a system that stalls, and hides the stall (coordinated omission: Gil Tene, "How NOT to
Measure Latency"). An open loop does not: a request that had to wait for its turn is late from when it was to be sent.
"""

from typing import Protocol


class Pace(Protocol):
    """When the next request is due. Times are seconds of one clock."""

    due: float

    def take(self, now: float) -> float:
        """Take the request that is due; return when its time began to count."""


class ClosedLoop:
    """Every free client sends at once."""

    due = 0.0  # always

    def take(self, now: float) -> float:
        """Count from when it is sent."""
        return now


def requests_of(rate: float, seconds: float) -> int:
    """Return how many requests an open loop sends: `rate` a second for so many seconds, at least one."""
    return max(1, round(rate * seconds))


class OpenLoop:
    """`rate` requests a second, evenly, for so many `seconds`, whatever became of those before: see `requests_of`."""

    def __init__(self, rate: float, begin: float, seconds: float) -> None:
        self._rate, self._begin, self._last = rate, begin, requests_of(rate, seconds)
        self._number = 0
        self.due = begin

    def take(self, now: float) -> float:  # noqa: ARG002 - it does not matter when it is sent
        """Count from when it was to be sent."""
        intended = self.due
        self._number += 1
        due = self._begin + self._number / self._rate  # not a sum: its rounding errors would add up
        self.due = due if self._number < self._last else float("inf")
        return intended
