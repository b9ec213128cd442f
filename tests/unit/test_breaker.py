"""The circuit breaker: opens after failures in a row, tries with one caller, closes by itself."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from common.breaker import Breaker, BreakerOpen


class Clock:
    """The monotonic clock and the wall clock, each to be set by itself (seconds)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 1000.0
        monkeypatch.setattr("common.breaker.time.monotonic", lambda: self.seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Down(Exception):
    """What is called does not work."""


def _down() -> None:
    raise Down


def _fail(breaker: Breaker, times: int = 1, work: Callable[[], None] = _down) -> None:
    for _ in range(times):
        with pytest.raises(Down):
            breaker.call(work)


def _opened(told: list[bool] | None = None) -> Breaker:
    breaker = Breaker((told if told is not None else []).append, failures=3, open_for=10)
    _fail(breaker, 3)
    return breaker


def test_opens_after_failures_in_a_row() -> None:
    """The third failure in a row is the last one that is made; it is told once."""
    told: list[bool] = []
    breaker = _opened(told)
    with pytest.raises(BreakerOpen):
        breaker.call(pytest.fail)
    assert told == [True]


def test_a_success_between_failures_counts_from_the_start() -> None:
    """Failures now and then open nothing."""
    breaker = Breaker(failures=3)
    for _ in range(4):
        _fail(breaker, 2)
        assert breaker.call(lambda: 7) == 7
    assert breaker.is_closed


def test_closes_by_itself(clock: Clock) -> None:
    """After a while one call is made to see; it works, and all is as before, counted from the start."""
    told: list[bool] = []
    breaker = _opened(told)
    clock.seconds += 9.9
    with pytest.raises(BreakerOpen):
        breaker.call(pytest.fail)
    clock.seconds += 0.2
    assert breaker.call(lambda: 7) == 7
    assert told == [True, False]
    _fail(breaker, 2)
    assert breaker.is_closed


def test_a_try_that_fails_keeps_it_open(clock: Clock) -> None:
    """One failed try, and no caller tries again for the same while."""
    told: list[bool] = []
    breaker = _opened(told)
    clock.seconds += 11
    _fail(breaker)
    clock.seconds += 9
    with pytest.raises(BreakerOpen):
        breaker.call(pytest.fail)
    assert told == [True]


def test_one_tries_while_the_others_are_refused_at_once(clock: Clock) -> None:
    """However long the try takes, no other caller waits for it."""
    breaker = _opened()
    clock.seconds += 11
    trying, done = threading.Event(), threading.Event()

    def slow() -> int:
        trying.set()
        assert done.wait(10)
        return 7

    with ThreadPoolExecutor(1) as pool:
        tried = pool.submit(breaker.call, slow)
        assert trying.wait(10)
        for _ in range(5):
            with pytest.raises(BreakerOpen):
                breaker.call(pytest.fail)
        done.set()
        assert tried.result(10) == 7
    assert breaker.is_closed


def test_calls_do_not_wait_for_each_other() -> None:
    """While it is closed, calls are made side by side."""
    breaker, both = Breaker(), threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(lambda _: breaker.call(lambda: both.wait(10)), range(2))) == [0, 1]


@pytest.mark.parametrize("works", [True, False])
def test_what_began_before_it_opened_says_nothing_about_now(clock: Clock, works: bool) -> None:
    """A call that ends after others opened it neither closes it nor keeps it open for longer."""
    breaker = Breaker(failures=3, open_for=10)

    def late() -> None:
        _fail(breaker, 3)
        clock.seconds += 11
        if not works:
            raise Down

    if works:
        breaker.call(late)
    else:
        _fail(breaker, work=late)
    assert not breaker.is_closed
    assert breaker.call(lambda: 7) == 7


def test_invited() -> None:
    """A sign of life from elsewhere has the next call made; one that fails opens it again."""
    breaker = _opened()
    breaker.invite()
    _fail(breaker)
    with pytest.raises(BreakerOpen):
        breaker.call(pytest.fail)
    breaker.invite()
    assert breaker.call(lambda: 7) == 7
    breaker.invite()
    assert breaker.is_closed


def test_a_clock_that_is_set_changes_nothing(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour back on the wall clock does not keep it open for an hour."""
    breaker = _opened()
    import common.breaker  # noqa: PLC0415 - whose clock this test turns

    class Earlier(common.breaker.datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Earlier":  # type: ignore[override]
            return super().now(tz) - common.breaker.timedelta(hours=1)  # type: ignore[arg-type, return-value]

    monkeypatch.setattr("common.breaker.datetime", Earlier)
    monkeypatch.setattr("pybreaker.datetime", Earlier)
    clock.seconds += 11
    assert breaker.call(lambda: 7) == 7
