"""Rate limits: counted in Redis for all instances together, or in this process where there is none or it is down."""

import math
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Final, Protocol

from limits import RateLimitItem, parse
from limits.storage import RedisStorage
from limits.strategies import FixedWindowRateLimiter

from common.errors import RedisUnavailable
from common.optional_redis import TIMEOUT

if TYPE_CHECKING:
    from common.redis_client import RedisClient

_PATIENCE: Final = TIMEOUT  # seconds that a hit waits for another one of its user that is being counted in Redis
_SHARES = 20  # of a limit: a share is at most this part of it; one used up in this part of a window was too small
_CRUMBS = 1000  # of a limit: where few hits come, so many are counted ahead
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

    def __init__(self, client: "RedisClient") -> None:
        """Take Redis."""
        storage = RedisStorage(client.url, connection_pool=client.pool, key_prefix="orders:limit")
        self._shared = _Counter(FixedWindowRateLimiter(storage), lambda count: client.call(lambda _: count()))
        self._alone = ProcessLimiter()

    def hit(self, limit: str, *of: str) -> int:
        """See `Limiter`."""
        try:
            return self._shared.hit(limit, *of)
        except RedisUnavailable:  # which the client has logged
            return self._alone.hit(limit, *of)


class _Share:
    """One user's hits that were counted ahead. Hold its lock: the next request then finds what was counted."""

    __slots__ = ("_counted_at", "_full_until", "_left", "_size", "_until", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._size = self._left = 0
        self._counted_at = self._until = self._full_until = float("-inf")  # of time.monotonic()

    def take(self, now: float) -> bool:
        if self._left == 0 or now > self._until:
            return False
        self._left -= 1
        return True

    def wait(self, now: float) -> int:
        """Return the whole seconds until a limit that was reached is begun anew, 0 if none is known to be."""
        return math.ceil(self._full_until - now) if now < self._full_until else 0

    def next_size(self, parsed: RateLimitItem, now: float) -> int:
        """Return how many to count next: twice as many if the last ones were used up soon, half as many if late."""
        window = parsed.get_expiry()
        took = now - self._counted_at
        if self._left > 0 or took > window:
            return _crumb(parsed)
        if took <= window / _SHARES:
            return max(_crumb(parsed), min(2 * self._size, parsed.amount // _SHARES))
        return max(_crumb(parsed), self._size if took <= 2 * window / _SHARES else self._size // 2)

    def counted(self, size: int, parsed: RateLimitItem, now: float) -> None:
        """Keep hits, one of which was the one that asked."""
        self._size, self._left = size, size - 1
        self._counted_at, self._until = now, now + parsed.get_expiry()

    def full(self, seconds: float, now: float) -> None:
        """Remember that there is nothing to ask for until so many seconds from now."""
        self._full_until = now + seconds


class _Counter:
    """Counts hits, those that come fast ahead and several at a time: asking for each would cost as much as the rest.

    A share is a twentieth of a limit at most, and forfeited after a window. So each process counts no more in vain, and
    may exceed a limit by no more, than that; small limits are counted hit by hit.
    """

    def __init__(self, limiter: FixedWindowRateLimiter, ask: Callable[[Callable[[], int]], int]) -> None:
        """Take what counts in a storage, and what runs that; `RedisUnavailable` if it can't, or failed just before."""
        self._limiter = limiter
        self._ask = ask
        self._shares: dict[tuple[str, ...], _Share] = {}
        self._guard = threading.Lock()

    def hit(self, limit: str, *of: str) -> int:
        parsed = _parsed(limit)
        share = self._share(limit, *of)
        if not share.lock.acquire(timeout=_PATIENCE):
            raise RedisUnavailable
        try:
            now = time.monotonic()
            if share.take(now):
                return 0
            return share.wait(now) or self._ask(lambda: self._count(share, parsed, of, now))
        finally:
            share.lock.release()

    def _count(self, share: _Share, parsed: RateLimitItem, of: tuple[str, ...], now: float) -> int:
        size = share.next_size(parsed, now)
        # A hit that is refused counts all the same, so more than one is tried only where there is room for it
        if size > 1 and self._limiter.test(parsed, *of, cost=size) and self._limiter.hit(parsed, *of, cost=size):
            share.counted(size, parsed, now)
            return 0
        if self._limiter.hit(parsed, *of):
            share.counted(1, parsed, now)
            return 0
        reset_at, _ = self._limiter.get_window_stats(parsed, *of)
        seconds = max(0.0, reset_at - time.time())
        share.full(seconds, now)
        return max(1, math.ceil(seconds))

    def _share(self, *key: str) -> _Share:
        with self._guard:
            share = self._shares.get(key)
            if share is None:
                if len(self._shares) >= _MOST_USERS:
                    self._shares.clear()
                share = self._shares[key] = _Share()
            return share


def _crumb(parsed: RateLimitItem) -> int:
    return max(1, parsed.amount // _CRUMBS)
