"""Prices and rate limits that instances share through Redis, and what happens without it."""

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from common.cache import SharedCache
from common.errors import RedisUnavailable
from common.limits import SharedLimiter
from common.redis_client import RedisClient
from lab.drill.proxy import Proxy
from order.clients.goods import GoodsClient
from tests.support import eventually
from tests.unit.test_order_clients import Catalogue, _goods

OpenRedis = Callable[[str], RedisClient]
Stand = Callable[[str], Proxy]
MAX_AGE = 0.5


class SlowCatalogue(Catalogue):
    """A goods service that takes a while and may be down."""

    def __init__(self, *goods_ids: int) -> None:
        super().__init__({goods_id: _goods(goods_id) for goods_id in goods_ids})
        self.takes = 0.05

    def call(self, *asked: Any, within: float = 0) -> tuple[int, Any]:
        del within
        answer = super().call(*asked)
        threading.Event().wait(self.takes)
        return answer


def _client(
    catalogue: Catalogue, redis: RedisClient, *, max_age: float = MAX_AGE, claim_for: float = 0.3
) -> GoodsClient:
    shared = SharedCache(redis, "goods-test", max_age=max_age, claim_for=claim_for)
    return GoodsClient(catalogue, max_age=max_age, timeout=5.0, shared=shared)  # type: ignore[arg-type]


def test_instances_share_prices(redis_url: str, open_redis: OpenRedis) -> None:
    """What one instance looked up, the others don't; goods that don't exist included."""
    catalogue = SlowCatalogue(1, 2)
    for _ in range(4):
        found = _client(catalogue, open_redis(redis_url)).find([1, 2, 9])
        assert set(found) == {1, 2}
        assert found[1].unit_price == 100
    assert len(catalogue.calls) == 1


def test_price_change_is_seen_within_a_second(redis_url: str, open_redis: OpenRedis) -> None:
    """However the instances' looks fall, no order gets a price that was changed a second ago."""
    catalogue = SlowCatalogue(1)
    catalogue.takes = 0.0
    clients = [_client(catalogue, open_redis(redis_url)) for _ in range(3)]
    for client in clients:
        client.find([1])
        time.sleep(0.15)  # so that each looks at another moment of the value's life
    catalogue.known[1] = _goods(1, unit_price=200)
    changed_at = time.monotonic()
    for client in clients:
        eventually(lambda client=client: client.find([1])[1].unit_price == 200, within=1.0)  # type: ignore[misc]
    assert time.monotonic() - changed_at < 1.0


def test_no_stampede(redis_url: str, open_redis: OpenRedis) -> None:
    """Eight instances of eight threads that want the same goods at once cause one look-up."""
    catalogue = SlowCatalogue(1, 2)
    # Neither a claim nor a value runs out while these threads wait for their turn on a busy machine.
    clients = [_client(catalogue, open_redis(redis_url), max_age=30.0, claim_for=30.0) for _ in range(8)]
    start = threading.Barrier(64)

    def find(number: int) -> int:
        start.wait()
        return clients[number % 8].find([1, 2])[1].unit_price

    with ThreadPoolExecutor(64) as pool:
        assert set(pool.map(find, range(64))) == {100}
    assert len(catalogue.calls) == 1


def test_overlapping_wishes_don_t_wait_for_each_other(redis_url: str, open_redis: OpenRedis) -> None:
    """Instances that each want what the other fetches get it as soon as it is fetched."""
    catalogue = SlowCatalogue(*range(1, 7))
    wishes = ([1, 2, 3], [3, 2, 1], [4, 3], [3, 4, 5], [5, 6, 1])
    clients = [_client(catalogue, open_redis(redis_url), max_age=30.0, claim_for=30.0) for _ in wishes]
    start = threading.Barrier(len(wishes))

    def find(client: GoodsClient, wanted: list[int]) -> bool:
        start.wait()
        return set(client.find(wanted)) == set(wanted)

    with ThreadPoolExecutor(len(wishes)) as pool:
        assert all(pool.map(find, clients, wishes))
    asked = [goods_id for call in catalogue.asked for goods_id in call]
    assert len(asked) == len(set(asked)) == 6


def test_fetcher_that_fails_is_not_waited_for(redis_url: str, open_redis: OpenRedis) -> None:
    """A process that claimed a value and could not get it gives the claim back; the next one fetches at once."""
    cache = SharedCache(open_redis(redis_url), "test", max_age=MAX_AGE, claim_for=30.0)

    def fail(_: Collection[str]) -> dict[str, bytes]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        cache.get(["a"], fail)
    began = time.monotonic()
    assert cache.get(["a"], lambda keys: dict.fromkeys(keys, b"1"))["a"][0] == b"1"
    assert time.monotonic() - began < 1.0


def test_fetcher_that_dies_is_waited_for_briefly(redis_url: str, open_redis: OpenRedis) -> None:
    """A claim of a process that was killed runs out, and the value is fetched."""
    redis = open_redis(redis_url)
    redis.call(lambda client: client.set("orders:test:a:claimed", b"1", px=60_000))
    cache = SharedCache(redis, "test", max_age=MAX_AGE, claim_for=0.05)
    began = time.monotonic()
    assert cache.get(["a"], lambda keys: dict.fromkeys(keys, b"1"))["a"][0] == b"1"
    assert time.monotonic() - began < 0.5


def test_values_age(redis_url: str, open_redis: OpenRedis) -> None:
    """A value comes with the time of its question, and is gone when it is too old."""
    redis = open_redis(redis_url)
    cache = SharedCache(redis, "test", max_age=0.2)
    cache.get(["a"], lambda keys: dict.fromkeys(keys, b"old"))
    ages = []

    def look() -> bool:
        value, asked_at = cache.get(["a"], lambda keys: dict.fromkeys(keys, b"new"))["a"]
        ages.append(time.monotonic() - asked_at)
        return value == b"new"

    eventually(look, within=1.0)
    assert all(age <= 0.21 for age in ages)
    assert max(ages) > 0.1


def test_without_redis(redis_url: str, open_redis: OpenRedis, proxy: Stand) -> None:
    """Redis down: prices come from the goods service, and no request waits for Redis each time; back: shared again."""
    between = proxy(redis_url)
    catalogue = SlowCatalogue(1)
    catalogue.takes = 0.0
    redis = open_redis(between.url)
    between.go_down()
    began = time.monotonic()
    for _ in range(5):
        assert _client(catalogue, redis).find([1])[1].unit_price == 100
    assert len(catalogue.calls) == 5
    assert time.monotonic() - began < 1.0
    between.come_back()
    eventually(lambda: _answers(redis), within=3.0)
    before = len(catalogue.calls)
    for _ in range(3):
        _client(catalogue, redis).find([1])
    assert len(catalogue.calls) == before + 1


def _answers(redis: RedisClient) -> bool:
    try:
        redis.ping()
    except RedisUnavailable:
        return False
    return True


def test_silent_redis(redis_url: str, open_redis: OpenRedis, proxy: Stand) -> None:
    """A Redis that takes commands and never answers costs one short wait, then none for a while."""
    between = proxy(redis_url)
    redis = open_redis(between.url)
    redis.ping()
    between.hold()
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(RedisUnavailable):
            redis.ping()
    assert time.monotonic() - began < 1.0


def test_restarted_redis_is_not_noticed(redis_url: str, open_redis: OpenRedis, proxy: Stand) -> None:
    """Kept connections that died with an earlier Redis are replaced without an error."""
    between = proxy(redis_url)
    redis = open_redis(between.url)
    for _ in range(3):
        redis.ping()
        between.cut()
    redis.ping()


def test_instances_share_limits(redis_url: str, open_redis: OpenRedis) -> None:
    """A user gets so many requests from all instances together, and is told how long to wait."""
    limiters = [SharedLimiter(open_redis(redis_url)) for _ in range(3)]
    waits = [limiters[i % 3].hit("5/minute", "POST /orders", "ann") for i in range(8)]
    assert waits[:5] == [0] * 5
    assert all(0 < wait <= 60 for wait in waits[5:])
    assert limiters[0].hit("5/minute", "POST /orders", "bob") == 0


def test_limits_without_redis(redis_url: str, open_redis: OpenRedis, proxy: Stand) -> None:
    """Redis down: each instance counts alone, so a limit still holds; back: together again."""
    between = proxy(redis_url)
    redis = open_redis(between.url)
    limiter = SharedLimiter(redis)
    between.go_down()
    waits = [limiter.hit("5/minute", "POST /orders", "ann") for _ in range(8)]
    assert [wait > 0 for wait in waits] == [False] * 5 + [True] * 3
    between.come_back()
    eventually(lambda: limiter.hit("100/minute", "POST /orders", "bob") == 0 and _answers(redis), within=3.0)
    other = SharedLimiter(open_redis(redis_url))
    assert [other.hit("2/minute", "x", "eve"), limiter.hit("2/minute", "x", "eve")] == [0, 0]
    assert other.hit("2/minute", "x", "eve") > 0
