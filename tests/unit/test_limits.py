"""Rate limits: never more than allowed, and not counted one by one where hits come fast."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from common import limits as limits_module
from common.errors import RedisUnavailable
from common.limits import ProcessLimiter


class Counting:
    """What counts hits ahead in a storage, and how often it asked it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.limiter: Any = limits_module._Counter(FixedWindowRateLimiter(MemoryStorage()), lambda count: count())
        self.asked, self.takes = 0, 0.0
        hit = self.limiter._limiter.hit

        def counted(*arguments: Any, **options: Any) -> bool:
            self.asked += 1
            threading.Event().wait(self.takes)
            return bool(hit(*arguments, **options))

        monkeypatch.setattr(self.limiter._limiter, "hit", counted)

    def hits(self, number: int, limit: str, user: str = "ann") -> list[int]:
        return [self.limiter.hit(limit, "POST /orders", user) for _ in range(number)]


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    return Counting(monkeypatch)


@pytest.mark.parametrize("limit", [1, 3, 120])
def test_a_process_counts_alone(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as allowed, then the rest of the window to wait; then as many again. Each user for himself."""
    now = [1000.0]
    monkeypatch.setattr("common.limits.time.monotonic", lambda: now[0])
    limiter = ProcessLimiter()
    for _ in range(2):
        assert [limiter.hit(f"{limit}/minute", "place", "ann") for _ in range(limit)] == [0] * limit
        assert limiter.hit(f"{limit}/minute", "place", "bob") == 0
        now[0] += 20.5
        assert limiter.hit(f"{limit}/minute", "place", "ann") == 40
        now[0] += 39.5


def test_a_process_counts_from_many_threads_at_once() -> None:
    """Exactly as many as allowed get through, and no caller gets an error."""
    limiter = ProcessLimiter()
    with ThreadPoolExecutor(16) as pool:
        waits = list(pool.map(lambda _: limiter.hit("500/hour", "place", "ann"), range(2000)))
    assert waits.count(0) == 500


def test_a_process_forgets_windows_that_are_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many users there were, memory is bounded; who is being counted is not forgotten for them."""
    now = [1000.0]
    monkeypatch.setattr("common.limits.time.monotonic", lambda: now[0])
    monkeypatch.setattr("common.limits._MOST_USERS", 10)
    limiter = ProcessLimiter()
    assert [limiter.hit("1/hour", "place", "ann"), limiter.hit("1/hour", "place", "ann")] == [0, 3600]
    for number in range(100):
        now[0] += 1
        assert limiter.hit("1/second", "place", f"user-{number}") == 0
    assert len(limiter._windows) <= 10
    assert limiter.hit("1/hour", "place", "ann") == 3500
    for number in range(20):
        limiter.hit("1/hour", "place", f"user-{number}")
    assert len(limiter._windows) <= 10


@pytest.mark.parametrize("limit", [1, 3, 49, 120, 1000])
def test_exactly_as_many_as_allowed(counting: Counting, limit: int) -> None:
    """Whatever was counted ahead, the limit itself is reached, and never passed; then one has to wait."""
    waits = counting.hits(limit + 20, f"{limit}/hour")
    assert waits[:limit] == [0] * limit
    assert all(0 < wait <= 3600 for wait in waits[limit:])


def test_fast_hits_are_counted_together(counting: Counting) -> None:
    """Five thousand of them ask the storage some dozen times, not five thousand."""
    assert sum(counting.hits(5000, "10000/hour")) == 0
    assert counting.asked < 60


def test_users_have_shares_of_their_own(counting: Counting) -> None:
    """No user uses up what was counted for another."""
    assert sum(counting.hits(60, "100/hour", "ann")) == 0
    assert sum(counting.hits(100, "100/hour", "bob")) == 0
    assert sum(counting.hits(40, "100/hour", "ann")) == 0
    assert counting.hits(1, "100/hour", "ann") != [0]


def test_slow_hits_under_a_large_limit_are_counted_together(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousandth of a limit is counted ahead for a whole window: who hits ten times in it asks once."""
    clock = iter(range(0, 10**9, 100))
    monkeypatch.setattr("common.limits.time.monotonic", lambda: next(clock))
    assert sum(counting.hits(10, "10000/hour")) == 0
    assert counting.asked == 1


def test_slow_hits_are_counted_one_by_one(counting: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after a share ran out is not counted in vain."""
    clock = iter(range(0, 10**9, 1000))
    monkeypatch.setattr("common.limits.time.monotonic", lambda: next(clock))
    assert sum(counting.hits(100, "100/hour")) == 0
    assert counting.asked == 100


def test_many_threads_of_one_user_use_what_one_of_them_counted(counting: Counting) -> None:
    """Of one limit as many get through as it allows, however many ask at once: nothing is counted to be thrown away."""
    counting.takes = 0.001  # seconds, as a server does: meanwhile the others come
    with ThreadPoolExecutor(32) as pool:
        waits = [wait for found in pool.map(lambda _: counting.hits(300, "10000/hour"), range(32)) for wait in found]
    assert waits.count(0) == 9600
    assert counting.asked < 200


@pytest.mark.parametrize("rate", [50, 700, 2100, 4900, 9000])
def test_a_user_below_the_limit_is_not_refused(rate: int, counting: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any steady rate below it, over ten of its windows."""
    now = [1000.0]
    monkeypatch.setattr("common.limits.time.monotonic", lambda: now[0])
    monkeypatch.setattr("limits.storage.memory.time.time", lambda: now[0])
    refused = 0
    for _ in range(10 * rate):
        refused += counting.hits(1, "10000/second") != [0]
        now[0] += 1 / rate
    assert refused == 0


def test_a_limit_that_was_reached_is_not_asked_about_again_until_it_begins_anew(counting: Counting) -> None:
    """Who is refused costs nothing until the window is over."""
    counting.hits(3, "3/hour")
    assert all(0 < wait <= 3600 for wait in counting.hits(10, "3/hour"))
    assert counting.asked == 4


def test_who_waits_in_vain_for_another_count_counts_alone(counting: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds a count of its user under way waits for it, but not for as long as Redis may take."""
    monkeypatch.setattr(limits_module, "_PATIENCE", 0.05)
    share = counting.limiter._share("3/hour", "POST /orders", "ann")
    with ThreadPoolExecutor(1) as pool, share.lock, pytest.raises(RedisUnavailable):
        pool.submit(counting.hits, 1, "3/hour").result(5)
    assert counting.hits(1, "3/hour") == [0]
