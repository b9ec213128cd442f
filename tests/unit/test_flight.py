"""One call for all who wait: who makes it, who shares its failure, and when one who waited makes another."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from common.errors import PeerUnavailable
from common.flight import SingleFlight
from tests.support import eventually


def waiting(flights: SingleFlight[Any]) -> int:
    """Return how many threads wait for the flight under way."""
    flight = flights._flight
    return len(flight._landed._cond._waiters) if flight else 0  # type: ignore[attr-defined]


class Clock:
    """The monotonic clock, to be set (seconds)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 100.0
        monkeypatch.setattr("common.flight.time.monotonic", lambda: self.seconds)


def test_what_is_known_is_not_fetched() -> None:
    """Neither before, nor where another flight has landed between the two looks."""
    flights: SingleFlight[int] = SingleFlight(patience=5.0)
    found = iter([None, 2])

    def fetch(_: float) -> int:
        raise AssertionError

    assert flights.get(lambda: 1, fetch) == 1
    assert flights.get(lambda: next(found), fetch) == 2
    assert flights.get(lambda: None, round) == 5


def test_a_failure_is_not_kept() -> None:
    """A thread that comes after it tries again."""
    flights: SingleFlight[int] = SingleFlight(patience=5.0)

    def fail(_: float) -> int:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        flights.get(lambda: None, fail)
    assert flights.get(lambda: None, lambda _: 7) == 7


def test_a_thread_that_is_told_to_end_leaves_no_other_waiting() -> None:
    """What is no Exception goes through; the next one makes a flight of its own."""
    flights: SingleFlight[int] = SingleFlight(patience=5.0)

    def end(_: float) -> int:
        raise SystemExit

    with pytest.raises(SystemExit):
        flights.get(lambda: None, end)
    assert flights.get(lambda: None, lambda _: 7) == 7


def test_the_failure_of_one_who_had_waited_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It had little time left; a thread that came meanwhile has more, and tries again with that."""
    clock = Clock(monkeypatch)
    flights: SingleFlight[int] = SingleFlight(patience=10.0)
    go_on = threading.Event()

    def look_late() -> None:
        clock.seconds += 6.0

    def fail(_: float) -> int:
        assert go_on.wait(10)
        raise ValueError

    with ThreadPoolExecutor(2) as pool:
        late = pool.submit(flights.get, look_late, fail)
        eventually(lambda: flights._flight)
        fresh = pool.submit(flights.get, lambda: None, lambda _: 7)
        eventually(lambda: waiting(flights) == 1)
        go_on.set()
        assert isinstance(late.exception(10), ValueError)
        assert fresh.result(10) == 7


def test_time_that_is_over_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread begins a flight when its own time is over."""
    clock = Clock(monkeypatch)
    flights: SingleFlight[int] = SingleFlight(patience=10.0)

    def late() -> None:
        clock.seconds += 10.0

    with pytest.raises(PeerUnavailable):
        flights.get(late, lambda _: 7)
    assert flights._flight is None
