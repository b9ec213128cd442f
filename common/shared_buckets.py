"""Token buckets in Redis, for all processes together. Slow to load, see `common.optional_redis`."""

import threading
import time
from collections.abc import Collection, Mapping
from hashlib import sha1
from typing import Final

import redis

from common.buckets import MOST, Grant, ProcessBuckets, Rate
from common.errors import RedisUnavailable
from common.redis_client import RedisClient

_PREFIX: Final = "orders:bucket"
_SCRIPT: Final = """
-- KEYS: a bucket. ARGV: tokens, microseconds between two, microseconds until an empty one is full.
-- Returns how many are granted, and microseconds until there is one more. Lua's numbers are exact to 2^53.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local tokens, between, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
-- What another release wrote, or anybody, is no bucket: it would be an error here, or never run out.
local found = redis.pcall('GET', KEYS[1])
local full_at = type(found) == 'string' and string.match(found, '^%d+$') and tonumber(found) or 0
if full_at < now or full_at > now + burst then
    full_at = now
end
local granted = math.min(tokens, math.floor((now + burst - full_at) / between))
full_at = full_at + granted * between
if granted > 0 then
    redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000))
end
return { granted, granted < tokens and full_at + between - burst - now or 0 }
"""
_SHA: Final = sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


class SharedBuckets:
    """Those in Redis, all that are asked for in one round trip; while it is down, each process has its own.

    It is not asked for a bucket of which it has said that there is no token yet: who tries on and on costs it nothing.
    """

    def __init__(self, client: RedisClient, name: str, rate: Rate) -> None:
        """Take Redis, what the buckets are of (a part of their keys), and what all of them have."""
        self._client, self._name, self._rate = client, name, rate
        self._alone = ProcessBuckets(rate)
        self._empty = _Empty()

    def take(self, wanted: Mapping[str, int]) -> dict[str, Grant]:
        """See `Buckets`."""
        refused = self._empty.among(wanted)
        asked = {name: tokens for name, tokens in wanted.items() if name not in refused}
        if not asked:
            return refused
        began = time.monotonic()
        try:
            answers = self._client.call(lambda client: self._ask(client, asked))
        except RedisUnavailable:  # which the client has logged
            return refused | self._alone.take(asked)
        found = {
            name: Grant(int(granted), wait / 1_000_000) for name, (granted, wait) in zip(asked, answers, strict=True)
        }
        self._empty.note(found, began)
        return refused | found

    def _ask(self, client: redis.Redis, wanted: Mapping[str, int]) -> list[list[int]]:
        try:
            return self._run(client, wanted)
        except redis.exceptions.NoScriptError:  # it was restarted, or flushed
            client.script_load(_SCRIPT)
            return self._run(client, wanted)

    def _run(self, client: redis.Redis, wanted: Mapping[str, int]) -> list[list[int]]:
        between = self._rate.between
        with client.pipeline(transaction=False) as pipeline:
            for name, tokens in wanted.items():
                pipeline.evalsha(
                    _SHA, 1, f"{_PREFIX}:{self._name}:{name}", tokens, between, between * self._rate.amount
                )
            found: list[list[int]] = pipeline.execute()
        return found


class _Empty:
    """Until when buckets have no token: others only take from them, so that holds in every process. Thread-safe."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}  # of time.monotonic()
        self._guard = threading.Lock()

    def among(self, names: Collection[str]) -> dict[str, Grant]:
        """Return a refusal for each that is known to be empty now."""
        now = time.monotonic()
        with self._guard:
            return {name: Grant(0, until - now) for name in names if (until := self._until.get(name, 0.0)) > now}

    def note(self, found: Mapping[str, Grant], asked_at: float) -> None:
        """Keep what was told of those that are empty; `asked_at`: before the question, so it never holds too long.

        Beyond `MOST` those that are over are forgotten, or all if none is: then Redis is asked.
        """
        with self._guard:
            if len(self._until) + len(found) > MOST:
                kept = {name: until for name, until in self._until.items() if until > asked_at}
                self._until = kept if len(kept) < MOST // 2 else {}
            self._until.update({name: asked_at + grant.wait for name, grant in found.items() if grant.wait})
