"""Rate limits: counted in Redis for all instances together, or in this process where there is none or it is down."""

import math
import time
from typing import Protocol

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import FixedWindowRateLimiter

from common.redis_client import RedisClient, RedisUnavailable


class Limiter(Protocol):
    """Counts hits."""

    def hit(self, limit: str, *of: str) -> int:
        """Count a hit of what `of` names; return 0, or the whole seconds to wait if it is over `limit` (3/second)."""


class ProcessLimiter:
    """Counts in this process."""

    def __init__(self) -> None:
        """Start from nothing."""
        self._counter = _Counter(FixedWindowRateLimiter(MemoryStorage()))

    def hit(self, limit: str, *of: str) -> int:
        """See `Limiter`."""
        return self._counter.hit(limit, *of)


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


class _Counter:
    def __init__(self, limiter: FixedWindowRateLimiter) -> None:
        self._limiter = limiter
        self._parsed: dict[str, RateLimitItem] = {}

    def hit(self, limit: str, *of: str) -> int:
        parsed = self._parsed.get(limit) or self._parsed.setdefault(limit, parse(limit))
        if self._limiter.hit(parsed, *of):
            return 0
        reset_at, _ = self._limiter.get_window_stats(parsed, *of)
        return max(1, math.ceil(reset_at - time.time()))
