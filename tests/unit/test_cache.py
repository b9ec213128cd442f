"""Prices and limits without a Redis that answers: everything works, and nobody waits for it twice."""

import time
from collections.abc import Collection, Iterator

import pytest
import structlog

from common import redis_client
from common.cache import SharedCache
from common.limits import ProcessLimiter, SharedLimiter
from common.redis_client import RedisClient, RedisUnavailable

NOBODY = "redis://127.0.0.1:1"  # the port of a service that nobody runs


@pytest.fixture
def redis() -> Iterator[RedisClient]:
    client = RedisClient(NOBODY)
    yield client
    client.close()


def test_down_is_told(redis: RedisClient) -> None:
    """The driver's exception does not get out."""
    with pytest.raises(RedisUnavailable):
        redis.ping()


def test_back_off(redis: RedisClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure nobody tries for a while; then one does. It is logged once, and once when it is over."""
    now = [1000.0]
    monkeypatch.setattr(redis_client.time, "monotonic", lambda: now[0])
    tries: list[int] = []

    def fail(_: object) -> None:
        tries.append(1)
        raise redis_client.redis.ConnectionError

    with structlog.testing.capture_logs() as logs:
        for step in (0.0, 0.5, 0.4, 0.2):
            now[0] += step
            with pytest.raises(RedisUnavailable):
                redis.call(fail)
        assert len(tries) == 2
        now[0] += 1.1
        assert redis.call(lambda _: "answer") == "answer"
        assert redis.call(lambda _: "answer") == "answer"
    assert [log["event"] for log in logs] == ["Redis does not answer; going on without it", "Redis answers again"]


def test_cache_without_redis(redis: RedisClient) -> None:
    """Values are fetched each time, and are as old as the question."""
    cache = SharedCache(redis, "test", max_age=0.5)
    asked: list[list[str]] = []

    def fetch(keys: Collection[str]) -> dict[str, bytes]:
        asked.append(list(keys))
        return {key: key.encode() for key in keys} | {"more": b"than asked for"}

    for _ in range(2):
        found = cache.get(["a", "b"], fetch)
        assert {key: value for key, (value, _) in found.items()} == {"a": b"a", "b": b"b", "more": b"than asked for"}
        assert all(0 <= age < 0.5 for _, age in found.values())
    assert asked == [["a", "b"]] * 2


def test_limits_without_redis(redis: RedisClient) -> None:
    """Each process counts alone; the wait is told in whole seconds."""
    limiter = SharedLimiter(redis)
    began = time.monotonic()
    waits = [limiter.hit("2/minute", "POST /orders", "ann") for _ in range(4)]
    assert waits[:2] == [0, 0]
    assert all(0 < wait <= 60 for wait in waits[2:])
    assert limiter.hit("2/minute", "POST /orders", "bob") == 0
    assert time.monotonic() - began < 1.0


def test_limits_of_a_process() -> None:
    """Names, users and limits are counted apart."""
    limiter = ProcessLimiter()
    assert [limiter.hit("1/minute", *of) for of in (("a", "ann"), ("a", "bob"), ("b", "ann"))] == [0, 0, 0]
    assert limiter.hit("1/minute", "a", "ann") > 0
    assert limiter.hit("9/minute", "a", "ann") == 0
