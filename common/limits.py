"""Rate limits: counted in Redis for all instances together, or in this process where there is none or it is down."""

import math
import threading
import time
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from limits import RateLimitItem, parse
from limits.storage import RedisStorage
from limits.strategies import FixedWindowRateLimiter

from common.redis_client import RedisClient, RedisUnavailable

_SHARES = 20  # of a limit, and of its window: a share is at most this part, and held no longer
_CRUMBS = 1000  # of a limit: a share this small is held for a whole window
_MOST_USERS = 10_000


@cache
def _parsed(limit: str) -> RateLimitItem:
    return parse(limit)


class Limiter(Protocol):
    """Counts hits."""

    def hit(self, limit: str, *of: str) -> int:
        """Count a hit of what `of` names; return 0, or the whole seconds to wait if it is over `limit` (3/second)."""


class ProcessLimiter:
    """Counts in this process, in windows that begin with a first hit. Thread-safe, as the memory of `limits` is not."""

    def __init__(self) -> None:
        """Start from nothing."""
        self._windows: dict[tuple[str, ...], tuple[float, int]] = {}  # when it began (time.monotonic()), hits in it
        self._guard = threading.Lock()

    def hit(self, limit: str, *of: str) -> int:
        """See `Limiter`."""
        parsed, now = _parsed(limit), time.monotonic()
        with self._guard:
            began, hits = self._windows.get((limit, *of), (now, 0))
            if now - began >= parsed.get_expiry():
                began, hits = now, 0
            if hits >= parsed.amount:
                return max(1, math.ceil(began + parsed.get_expiry() - now))
            if len(self._windows) >= _MOST_USERS:
                self._forget(now)
            self._windows[limit, *of] = (began, hits + 1)
            return 0

    def _forget(self, now: float) -> None:
        """Make room: drop the windows that are over, or all if none is."""
        self._windows = {
            key: window for key, window in self._windows.items() if now - window[0] < _parsed(key[0]).get_expiry()
        }
        if len(self._windows) >= _MOST_USERS:
            self._windows.clear()


class SharedLimiter:
    """Counts in Redis; while that is down, each process counts alone."""

    def __init__(self, client: RedisClient) -> None:
        """Take Redis."""
        self._client = client
        storage = RedisStorage(client.url, connection_pool=client.pool, key_prefix="orders:limit")
        self._shared = _Counter(FixedWindowRateLimiter(storage))
        self._alone = ProcessLimiter()

    def hit(self, limit: str, *of: str) -> int:
        """See `Limiter`."""
        try:
            return self._client.call(lambda _: self._shared.hit(limit, *of))
        except RedisUnavailable:  # which the client has logged
            return self._alone.hit(limit, *of)


@dataclass(slots=True)
class _Share:
    """Hits that were counted ahead."""

    size: int
    left: int
    soon: float  # time.monotonic(): used up by then, it was too small
    until: float  # then it is forfeited


class _Counter:
    """Counts hits, those that come fast ahead and several at a time: asking for each would cost as much as the rest.

    A share is twice as large as the last one if that was used up in time, else it is a crumb again: of small limits one
    hit. So each process counts no more in vain than was hit, or than crumbs; and it may exceed a limit by a crumb.
    """

    def __init__(self, limiter: FixedWindowRateLimiter) -> None:
        self._limiter = limiter
        self._shares: dict[tuple[str, ...], _Share] = {}
        self._guard = threading.Lock()

    def hit(self, limit: str, *of: str) -> int:
        parsed = _parsed(limit)
        if self._take_share((limit, *of)):
            return 0
        size = self._next_size(parsed, (limit, *of))
        # A hit that is refused counts all the same, so more than one is tried only where there is room for it
        if size > 1 and self._limiter.test(parsed, *of, cost=size) and self._limiter.hit(parsed, *of, cost=size):
            self._keep((limit, *of), parsed, size)
            return 0
        if self._limiter.hit(parsed, *of):
            self._keep((limit, *of), parsed, 1)
            return 0
        reset_at, _ = self._limiter.get_window_stats(parsed, *of)
        return max(1, math.ceil(reset_at - time.time()))

    def _take_share(self, key: tuple[str, ...]) -> bool:
        with self._guard:
            share = self._shares.get(key)
            if share is None or share.left == 0 or time.monotonic() > share.until:
                return False
            share.left -= 1
            return True

    def _next_size(self, parsed: RateLimitItem, key: tuple[str, ...]) -> int:
        with self._guard:
            last = self._shares.get(key)
        if last is None or last.left > 0 or time.monotonic() > last.soon:
            return _crumb(parsed)
        return max(1, min(2 * last.size, parsed.amount // _SHARES))

    def _keep(self, key: tuple[str, ...], parsed: RateLimitItem, size: int) -> None:
        with self._guard:
            if len(self._shares) >= _MOST_USERS:
                self._shares.clear()
            now = time.monotonic()
            soon, whole = now + parsed.get_expiry() / _SHARES, now + parsed.get_expiry()
            self._shares[key] = _Share(size, size - 1, soon, whole if size <= _crumb(parsed) else soon)


def _crumb(parsed: RateLimitItem) -> int:
    return max(1, parsed.amount // _CRUMBS)
