"""Prices and limits without a Redis that answers: everything works, and no request waits for it twice."""

import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pytest
import structlog

from common import redis_client
from common.cache import SharedCache
from common.errors import RedisUnavailable
from common.limits import ProcessLimiter, SharedLimiter
from common.redis_client import RedisClient

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
    """After a failure no thread tries for a while; then one does. It is logged once, and once when it is over."""
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
        assert all(0 <= time.monotonic() - asked_at < 0.5 for _, asked_at in found.values())
    assert asked == [["a", "b"]] * 2


class Store:
    """As much of a Redis as the cache uses, by a clock that is set; stands in for the client and for its pipelines."""

    def __init__(self) -> None:
        self.ms = 0
        self.values: dict[str, tuple[bytes, int]] = {}
        self._answers: list[object] = []

    def call(self, work: Callable[["Store"], Any]) -> Any:
        return work(self)

    def pipeline(self, *, transaction: bool) -> "Store":
        del transaction
        return self

    def execute(self, *, raise_on_error: bool = True) -> list[object]:
        del raise_on_error
        answers, self._answers = self._answers, []
        return answers

    def get(self, key: str) -> None:
        self._answers.append(self.values[key][0] if self._left(key) > 0 else None)

    def pttl(self, key: str) -> None:
        self._answers.append(self._left(key))

    def set(self, key: str, value: bytes, *, px: int, nx: bool = False) -> None:
        done = not nx or self._left(key) <= 0
        if done:
            self.values[key] = (value, self.ms + px)
        self._answers.append(done)

    def delete(self, *keys: str) -> None:
        for key in keys:
            self.values.pop(key, None)

    def _left(self, key: str) -> int:
        return self.values[key][1] - self.ms if key in self.values else -2


def test_age_of_what_another_setting_wrote() -> None:
    """Told by what the value was given, not by what its reader would give; one that is too old for it is a miss."""
    store = Store()
    patient = SharedCache(store, "test", max_age=60.0)  # type: ignore[arg-type]
    hasty = SharedCache(store, "test", max_age=0.5)  # type: ignore[arg-type]
    patient.get(["a"], lambda keys: dict.fromkeys(keys, b"1"))
    store.ms += 400
    value, asked_at = hasty.get(["a"], lambda _: {})["a"]
    assert (value, time.monotonic() - asked_at) == (b"1", pytest.approx(0.4, abs=0.1))
    store.ms += 200
    assert hasty.get(["a"], lambda keys: dict.fromkeys(keys, b"2"))["a"][0] == b"2"
    store.ms += 300
    value, asked_at = patient.get(["a"], lambda _: {})["a"]
    assert (value, time.monotonic() - asked_at) == (b"2", pytest.approx(0.3, abs=0.1))


def test_a_value_that_is_older_than_the_reader_takes_is_a_miss() -> None:
    """It is fetched, though it would be good for others."""
    store = Store()
    cache = SharedCache(store, "test", max_age=0.5)  # type: ignore[arg-type]
    cache.get(["a"], lambda keys: dict.fromkeys(keys, b"1"))
    store.ms += 300
    assert cache.get(["a"], lambda _: {}, oldest=time.monotonic() - 0.4)["a"][0] == b"1"
    assert cache.get(["a"], lambda keys: dict.fromkeys(keys, b"2"), oldest=time.monotonic() - 0.2)["a"][0] == b"2"


@pytest.mark.parametrize("stored", [b"", b"{}", b":x", b"-1:x", b"a:x", b"9" * 400 + b":x", b"9" * 5000 + b":x"])
def test_what_no_cache_of_ours_wrote_is_a_miss(stored: bytes) -> None:
    """It is fetched, and replaced."""
    store = Store()
    cache = SharedCache(store, "test", max_age=0.5)  # type: ignore[arg-type]
    store.values["orders:test:a"] = (stored, 400)
    for fetched in ([b"1"], []):
        assert cache.get(["a"], lambda keys, fetched=fetched: dict(zip(keys, fetched, strict=True)))["a"][0] == b"1"  # type: ignore[misc]


def test_a_value_that_is_not_usable_is_a_miss() -> None:
    """What another release, or any program, wrote in a form that can't be read is fetched anew, and replaced."""
    store = Store()
    cache = SharedCache(store, "test", max_age=0.5, usable=lambda key, value: value == key.encode())  # type: ignore[arg-type]
    store.values["orders:test:a"] = (b"500:of another form", 400)
    assert cache.get(["a"], lambda keys: {key: key.encode() for key in keys})["a"][0] == b"a"
    assert cache.get(["a"], lambda _: {})["a"][0] == b"a"


def test_a_key_of_another_type_is_a_miss() -> None:
    """Redis answers with an error for that key alone."""
    store = Store()
    cache = SharedCache(store, "test", max_age=0.5)  # type: ignore[arg-type]
    wrong = redis_client.redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
    store.values["orders:test:a"] = (wrong, 400)  # type: ignore[assignment]
    assert cache.get(["a", "b"], lambda keys: dict.fromkeys(keys, b"1"))["a"][0] == b"1"


def test_one_wrong_key_does_not_silence_redis(redis: RedisClient) -> None:
    """Redis is asked on: what another program wrote under one key says nothing of the others."""

    def wrong(_: object) -> None:
        raise redis_client.redis.ResponseError("ERR value is not an integer or out of range")

    with pytest.raises(RedisUnavailable):
        redis.call(wrong)
    assert redis.call(lambda _: "answer") == "answer"


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
