"""Payments told beside: all that is written down at a time, by one run, and one that waits."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from common.errors import PeerUnavailable
from order.service.telling import Telling


class Later:
    """Runs steps when it is told to."""

    def __init__(self) -> None:
        self.steps: list[Callable[[], Any]] = []

    def start(self, work: Callable[[], Any]) -> Future[Any]:
        self.steps.append(work)
        return Future()


class Written:
    """Counts how often payments were told; fails as often as said."""

    def __init__(self, failures: int = 0) -> None:
        self.told, self.failures = 0, failures

    def confirm_payments(self) -> None:
        self.told += 1
        if self.told <= self.failures:
            raise PeerUnavailable


def test_many_payments_wait_for_one_run() -> None:
    """What is written down while a run waits goes with it; what comes after it began is for another one."""
    aside, written = Later(), Written()
    telling = Telling(written, aside)  # type: ignore[arg-type]
    for _ in range(3):
        telling.soon()
    (run,) = aside.steps
    run()
    assert written.told == 1
    telling.soon()
    assert len(aside.steps) == 2


def test_a_participant_that_does_not_answer_is_left_to_the_sweep() -> None:
    """And the next payment is told all the same."""
    aside, written = Later(), Written(failures=1)
    telling = Telling(written, aside)  # type: ignore[arg-type]
    for _ in range(2):
        telling.soon()
        aside.steps.pop()()
    assert written.told == 2
