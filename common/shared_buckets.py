"""Token buckets in Redis, for all processes together. Slow to load, see `common.optional_redis`."""

from collections.abc import Mapping
from hashlib import sha1
from typing import Final

import redis

from common.buckets import Grant, ProcessBuckets, Rate
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
    """Those in Redis, all that are asked for in one round trip; while it is down, each process has its own."""

    def __init__(self, client: RedisClient, name: str, rate: Rate) -> None:
        """Take Redis, what the buckets are of (a part of their keys), and what all of them have."""
        self._client, self._name, self._rate = client, name, rate
        self._alone = ProcessBuckets(rate)

    def take(self, wanted: Mapping[str, int]) -> dict[str, Grant]:
        """See `Buckets`."""
        try:
            answers = self._client.call(lambda client: self._ask(client, wanted))
        except RedisUnavailable:  # which the client has logged
            return self._alone.take(wanted)
        return {
            name: Grant(int(granted), wait / 1_000_000) for name, (granted, wait) in zip(wanted, answers, strict=True)
        }

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
