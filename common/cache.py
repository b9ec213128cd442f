"""Values of a short life, shared by instances through Redis and fetched by one of them at a time.

A value goes from Redis by Redis's own clock, as old as the question that it answers, so clocks of machines don't
matter. With it stands how long it was given to live, so that its age can be told by an instance that gives another
time. The first to find some missing claims them, fetches them and puts them; the second waits for what the first
puts. Without Redis each instance fetches, as if there were no cache.
"""

import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Final

import structlog

from common.errors import RedisUnavailable

if TYPE_CHECKING:
    import redis

    from common.redis_client import RedisClient

Fetch = Callable[[Collection[str]], Mapping[str, bytes]]
Usable = Callable[[str, bytes], bool]
"""Whether a value may stand under its key."""

_DIGITS: Final = 12  # of a lifetime in ms: thirty years
_POLL: Final = 0.01  # seconds between two looks for what another instance fetches

log = structlog.get_logger()


class SharedCache:
    """Values by key."""

    def __init__(
        self,
        client: "RedisClient",
        name: str,
        *,
        max_age: float,
        usable: Usable = lambda *_: True,
        claim_for: float = 0.3,
    ) -> None:
        """Keep values for `max_age` seconds; somebody who fetches is waited for `claim_for` seconds.

        A value that is not `usable` counts as missing: Redis may hold what another release wrote, or anybody.
        """
        self._usable = usable
        self._client = client
        self._name = name
        self._max_age = max_age
        self._claim_for = claim_for

    def get(
        self, keys: Collection[str], fetch: Fetch, *, oldest: float = float("-inf")
    ) -> dict[str, tuple[bytes, float]]:
        """Return the values, and when each was asked for; none that was asked for before `oldest`.

        Both are times of `time.monotonic()`: an age would be out of date by the time that the caller looks at it.
        `fetch` must give the keys that it is asked for, or may give more. Raises what `fetch` raises.
        """
        try:
            found = self._read(keys, oldest)
            claimed = self._claim([key for key in keys if key not in found])
        except RedisUnavailable:
            return self._fetch(keys, fetch)
        if claimed:
            found |= self._fetch(claimed, fetch)  # before waiting for others, who may wait for ours
        found |= self._await([key for key in keys if key not in found], oldest)
        undelivered = [key for key in keys if key not in found]
        return found | (self._fetch(undelivered, fetch) if undelivered else {})

    def _fetch(self, keys: Collection[str], fetch: Fetch) -> dict[str, tuple[bytes, float]]:
        asked_at = time.monotonic()
        try:
            values = fetch(keys)
            self._put(values, asked_at)
        finally:
            self._unclaim(keys)
        return {key: (value, asked_at) for key, value in values.items()}

    def _read(self, keys: Collection[str], oldest: float) -> dict[str, tuple[bytes, float]]:
        def read(client: "redis.Redis") -> list[tuple[object, int]]:
            pipeline = client.pipeline(transaction=False)
            for key in keys:
                pipeline.get(self._value(key))
                pipeline.pttl(self._value(key))
            answers = pipeline.execute(raise_on_error=False)  # a key of another type is an error of its own
            return list(zip(answers[::2], answers[1::2], strict=True))

        read_at = time.monotonic()
        answers = self._client.call(read) if keys else []
        known = {key: _aged(stored, left) for key, (stored, left) in zip(keys, answers, strict=True)}
        return {
            key: (aged[0], read_at - aged[1])
            for key, aged in known.items()
            if aged is not None and aged[1] <= min(self._max_age, read_at - oldest) and self._usable(key, aged[0])
        }

    def _claim(self, keys: Collection[str]) -> list[str]:
        def claim(client: "redis.Redis") -> list[object]:
            pipeline = client.pipeline(transaction=False)
            for key in keys:
                pipeline.set(self._claimed(key), b"1", nx=True, px=int(self._claim_for * 1000))
            return list(pipeline.execute())

        return [key for key, got in zip(keys, self._client.call(claim), strict=True) if got] if keys else []

    def _await(self, keys: Collection[str], oldest: float) -> dict[str, tuple[bytes, float]]:
        give_up_at = time.monotonic() + self._claim_for
        found: dict[str, tuple[bytes, float]] = {}
        while len(found) < len(keys) and time.monotonic() < give_up_at:
            time.sleep(_POLL)
            try:
                found = self._read(keys, oldest)
            except RedisUnavailable:
                break
        return found

    def _put(self, values: Mapping[str, bytes], asked_at: float) -> None:
        left = int((self._max_age - (time.monotonic() - asked_at)) * 1000)
        if left > 0:
            head = b"%d:" % int(self._max_age * 1000)
            self._do(lambda pipeline: [pipeline.set(self._value(k), head + v, px=left) for k, v in values.items()])

    def _unclaim(self, keys: Collection[str]) -> None:
        self._do(lambda pipeline: pipeline.delete(*map(self._claimed, keys)))

    def _do(self, fill: "Callable[[redis.client.Pipeline], object]") -> None:
        def run(client: "redis.Redis") -> None:
            pipeline = client.pipeline(transaction=False)
            fill(pipeline)
            pipeline.execute()

        try:
            self._client.call(run)
        except RedisUnavailable:
            log.debug("not shared", cache=self._name)

    def _value(self, key: str) -> str:
        return f"orders:{self._name}:{key}"

    def _claimed(self, key: str) -> str:
        return f"orders:{self._name}:{key}:claimed"


def _aged(stored: object, left: int) -> tuple[bytes, float] | None:
    """Return a value and its age (s), by the ms that it was given and has left; None where it is gone or not ours."""
    if not isinstance(stored, bytes):
        return None
    lifetime, separator, value = stored.partition(b":")
    if left <= 0 or not separator or not lifetime.isdigit() or len(lifetime) > _DIGITS:
        return None
    return value, max(0, int(lifetime) - left) / 1000
