"""Token buckets: so many at once, and as many again evenly over a period; in Redis for all processes together.

A bucket is kept as the time at which it would be full again (the "theoretical arrival time" of the generic cell rate
algorithm, ITU-T I.371; as a token bucket in its annex A): one number each, and nothing has to refill it.
"""

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from limits import parse

MOST: Final = 10_000
"""Buckets that one process keeps; beyond, those that are full again are forgotten, or all if none is."""


@dataclass(frozen=True, slots=True)
class Rate:
    """`amount` at once, and `amount` in each `period` (microseconds) after it."""

    amount: int
    period: int

    @classmethod
    def of(cls, limit: str) -> "Rate":
        """Read `20/second`, as of `common.limits`."""
        parsed = parse(limit)
        return cls(parsed.amount, parsed.get_expiry() * 1_000_000)

    @property
    def between(self) -> int:
        """Microseconds from a token to the next one, at least 1: a million a second is the highest rate."""
        return max(1, self.period // self.amount)


@dataclass(frozen=True, slots=True)
class Grant:
    """How many tokens there were, and seconds until there is one more, 0 where all that were wanted are granted."""

    tokens: int
    wait: float = 0.0


class Buckets(Protocol):
    """Hands out tokens."""

    def take(self, wanted: Mapping[str, int]) -> dict[str, Grant]:
        """Take from several buckets, of each up to so many tokens; raises nothing."""


class ProcessBuckets:
    """Those of this process. Thread-safe."""

    def __init__(self, rate: Rate) -> None:
        """Take what all of them have."""
        self._rate = rate
        self._full_at: dict[str, int] = {}  # of time.monotonic(), in microseconds
        self._guard = threading.Lock()

    def take(self, wanted: Mapping[str, int]) -> dict[str, Grant]:
        """See `Buckets`."""
        now = int(time.monotonic() * 1_000_000)
        with self._guard:
            if len(self._full_at) + len(wanted) > MOST:
                self._forget(now)
            return {name: self._take(name, tokens, now) for name, tokens in wanted.items()}

    def _take(self, name: str, tokens: int, now: int) -> Grant:
        between, burst = self._rate.between, self._rate.between * self._rate.amount
        full_at = max(self._full_at.get(name, now), now)
        granted = min(tokens, (now + burst - full_at) // between)
        full_at += granted * between
        self._full_at[name] = full_at
        return Grant(granted, 0.0 if granted == tokens else (full_at + between - burst - now) / 1_000_000)

    def _forget(self, now: int) -> None:
        self._full_at = {name: full_at for name, full_at in self._full_at.items() if full_at > now}
        if len(self._full_at) >= MOST // 2:
            self._full_at.clear()


def whole_seconds(wait: float) -> int:
    """Return what Retry-After says: at least 1."""
    return max(1, math.ceil(wait))
