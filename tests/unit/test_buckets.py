"""Token buckets: so many at once, as many again evenly over the period; shared where there is a Redis."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from common import buckets as module
from common import shared_buckets
from common.buckets import Buckets, Grant, ProcessBuckets, Rate, whole_seconds
from common.redis_client import RedisClient
from common.shared_buckets import SharedBuckets
from tests.redis_server import RedisServer, valkey_program

MakeBuckets = Callable[[str], Buckets]


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with closing(RedisServer(valkey_program(), tmp_path_factory.mktemp("valkey"))) as server:
        yield server


@pytest.fixture
def shared(valkey: RedisServer, request: pytest.FixtureRequest) -> Iterator[MakeBuckets]:
    """Make buckets as several processes have them."""
    with closing(RedisClient(valkey.url, timeout=30.0)) as client:
        yield lambda limit: SharedBuckets(client, request.node.name, Rate.of(limit))


@pytest.fixture(params=["process", "shared"])
def make(request: pytest.FixtureRequest) -> MakeBuckets:
    if request.param == "process":
        return lambda limit: ProcessBuckets(Rate.of(limit))
    made: MakeBuckets = request.getfixturevalue("shared")
    return made


def test_so_many_at_once(make: MakeBuckets) -> None:
    """Then none, and it is told when there is one more; another bucket has all of its own."""
    some = make("3/hour")
    assert some.take({"ann": 2}) == {"ann": Grant(2)}
    found = some.take({"ann": 2, "bob": 1})
    assert (found["ann"].tokens, found["bob"]) == (1, Grant(1))
    assert 1190 < found["ann"].wait <= 1200
    again = some.take({"ann": 1})["ann"]
    assert again.tokens == 0
    assert 1180 < again.wait <= found["ann"].wait


def test_one_more_at_a_time(make: MakeBuckets) -> None:
    """Evenly, not all of them when a window begins anew: who waits as long as is told gets one."""
    some = make("5/second")
    assert some.take({"ann": 6})["ann"].tokens == 5
    ends, got = time.monotonic() + 0.5, 0
    while (now := time.monotonic()) < ends:
        got += some.take({"ann": 1})["ann"].tokens
    assert 1 <= got <= 1 + int((now - ends + 0.5) * 5)


def test_many_at_once_share_one_bucket(make: MakeBuckets) -> None:
    """Exactly as many as there are."""
    some = make("500/hour")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: some.take({"ann": 3})["ann"].tokens, range(400)))
    assert sum(found) == 500


def test_processes_share_them(shared: MakeBuckets) -> None:
    """What one has taken, another has not."""
    assert shared("5/hour").take({"ann": 3})["ann"].tokens == 3
    assert shared("5/hour").take({"ann": 3})["ann"].tokens == 2


def test_a_redis_that_was_emptied(shared: MakeBuckets, valkey: RedisServer) -> None:
    """It has forgotten the script, and learns it again; the buckets are full then."""
    some = shared("2/hour")
    assert some.take({"ann": 2})["ann"].tokens == 2
    valkey.admin.flushall()
    valkey.admin.script_flush()
    assert some.take({"ann": 3})["ann"].tokens == 2


@pytest.mark.parametrize("foreign", ["", "abc", "-1", "nan", "inf", "9" * 15, "9" * 400, None])
def test_what_is_no_bucket_counts_as_none(
    shared: MakeBuckets, valkey: RedisServer, request: pytest.FixtureRequest, foreign: str | None
) -> None:
    """Another release wrote it, or anybody (None: a list): that user has a full bucket, and all others have theirs."""
    some = shared("2/hour")
    with closing(RedisClient(valkey.url)) as client:
        key = f"orders:bucket:{request.node.name}:ann"
        if foreign is None:
            client.call(lambda redis: redis.rpush(key, "x"))
        else:
            client.call(lambda redis: redis.set(key, foreign))
        assert [one.tokens for one in some.take({"bob": 3, "ann": 1}).values()] == [2, 1]
        assert [one.tokens for one in shared("2/hour").take({"bob": 1, "ann": 3}).values()] == [0, 1]
        assert client.call(lambda redis: redis.pttl(key)) > 0


def test_redis_is_not_asked_for_what_it_has_refused(shared: MakeBuckets, valkey: RedisServer) -> None:
    """Who tries on and on costs Redis nothing until there is a token again; others are asked for as before."""
    some = shared("2/hour")
    assert some.take({"ann": 3})["ann"].tokens == 2
    before = _scripts_run(valkey)
    tries = [some.take({"ann": 1})["ann"] for _ in range(50)]
    assert _scripts_run(valkey) == before
    assert all(one.tokens == 0 and 1700 < one.wait <= 1800 for one in tries)
    assert some.take({"ann": 1, "bob": 1})["bob"] == Grant(1)


def _scripts_run(valkey: RedisServer) -> int:
    found = valkey.admin.info("commandstats")
    return int(found["cmdstat_evalsha"]["calls"]) if "cmdstat_evalsha" in found else 0


def test_so_many_refusals_are_kept(shared: MakeBuckets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are more all are forgotten, and memory stays bounded: Redis says again what it has said."""
    monkeypatch.setattr(shared_buckets, "MOST", 10)
    some = shared("1/hour")
    for number in range(25):
        assert some.take({str(number): 2})[str(number)].tokens == 1
    assert [some.take({str(number): 1})[str(number)].tokens for number in range(25)] == [0] * 25


def test_a_full_bucket_takes_no_room(shared: MakeBuckets, valkey: RedisServer) -> None:
    """Redis forgets it when it is full again."""
    shared("1000/second").take({"ann": 1})
    for key in valkey.admin.keys("orders:bucket:*ann"):
        assert 0 <= valkey.admin.pttl(key) <= 3_600_000 or valkey.admin.pttl(key) == -2


def test_while_redis_is_down_each_process_counts_alone(tmp_path: Path) -> None:
    """Buying goes on, and is still limited."""
    with closing(RedisServer(valkey_program(), tmp_path / "valkey")) as server:
        client = RedisClient(server.url)
        some = SharedBuckets(client, "down", Rate.of("2/hour"))
        assert some.take({"ann": 1})["ann"].tokens == 1
        server.kill()
        assert some.take({"ann": 3})["ann"].tokens == 2
        assert some.take({"ann": 3})["ann"].tokens == 0
        client.close()


def test_a_process_keeps_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are full again go first; where most are not, all go, and memory stays bounded."""
    monkeypatch.setattr(module, "MOST", 10)
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    some = ProcessBuckets(Rate.of("1/second"))
    for number in range(10):
        some.take({str(number): 1})
    now[0] += 2
    assert some.take({"ann": 1})["ann"].tokens == 1
    assert some.take({"ann": 1})["ann"].tokens == 0
    for number in range(100, 110):
        some.take({str(number): 1})
    assert some.take({"ann": 1})["ann"].tokens == 1


def test_rates() -> None:
    """As other limits are written; Retry-After is never 0."""
    assert Rate.of("20/second") == Rate(20, 1_000_000)
    assert Rate.of("20/second").between == 50_000
    assert Rate(10**7, 10**6).between == 1
    assert [whole_seconds(wait) for wait in (0.0, 0.05, 1.0, 1.01)] == [1, 1, 1, 2]
