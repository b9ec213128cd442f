"""Periodic work: again and again, whatever it raises, until closed."""

import threading

from common.periodic import Periodic
from tests.support import eventually


def test_repeats() -> None:
    """The work is done again every interval, the first time after one interval."""
    rounds: list[int] = []
    periodic = Periodic("test", 0.005, lambda: rounds.append(len(rounds)))
    assert rounds == []
    periodic.start()
    eventually(lambda: len(rounds) >= 3)
    periodic.close()


def test_survives_errors() -> None:
    """What the work raises is no reason not to call it again."""
    rounds: list[int] = []

    def work() -> None:
        rounds.append(1)
        raise RuntimeError

    periodic = Periodic("test", 0.005, work)
    periodic.start()
    eventually(lambda: len(rounds) >= 3)
    periodic.close()


def test_close_waits_for_work_in_hand() -> None:
    """`close` returns after the work in hand, and nothing is done after it."""
    begun, may_end, done = threading.Event(), threading.Event(), []

    def work() -> None:
        begun.set()
        assert may_end.wait(5)
        done.append(1)

    periodic = Periodic("test", 0.001, work)
    periodic.start()
    assert begun.wait(5)
    closer = threading.Thread(target=periodic.close)
    closer.start()
    assert done == []
    may_end.set()
    closer.join(5)
    assert done == [1]


def test_close_before_start() -> None:
    """One that was never started can be closed."""
    Periodic("test", 1.0, lambda: None).close()
