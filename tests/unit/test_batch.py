"""Group commit: who runs a batch, who is in it, and what each job gets."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halfmessage.errors import CommitOutcomeUnknown, HalfMessageError, Overloaded, Unavailable
from halfmessage.tx.batch import Batcher
from tests.support import eventually


class Runs:
    """What batches were run; each waits until it is let through."""

    def __init__(self) -> None:
        self.begun: list[list[int]] = []
        self._gates: list[threading.Event] = []
        self._guard = threading.Lock()

    def __call__(self, jobs: Sequence[int]) -> list[int | Exception]:
        gate = threading.Event()
        with self._guard:
            self._gates.append(gate)
            self.begun.append(list(jobs))
        assert gate.wait(10)
        return [job * 10 for job in jobs]

    def let(self, number: int) -> None:
        """Let the batch of that number end."""
        eventually(lambda: len(self._gates) > number)
        self._gates[number].set()


class Clients:
    """Threads that submit one job each."""

    def __init__(self, batcher: Batcher[int, int]) -> None:
        self._batcher = batcher
        self._pool = ThreadPoolExecutor(32)

    def submit(self, *jobs: int) -> list[Future[int]]:
        """Submit jobs in this order: each is in the house before the next one comes."""
        futures = []
        for job in jobs:
            before = self._inside()
            futures.append(self._pool.submit(self._batcher.submit, job))
            eventually(lambda before=before: self._inside() > before)  # type: ignore[misc]
        return futures

    def _inside(self) -> int:
        return len(self._batcher._queue) + self._taken()

    def _taken(self) -> int:
        return self._batcher._busy


def _batcher(run: Callable[[Sequence[int]], Sequence[int | Exception]], **options: Any) -> Batcher[int, int]:
    return Batcher(run, **({"lanes": 1, "heaviest": 100, "longest_queue": 100, "longest_wait": 30.0} | options))


def test_a_lone_job_runs_in_its_own_thread() -> None:
    """No job waits for company, and no thread is handed anything."""
    threads: list[int] = []

    def run(jobs: Sequence[int]) -> list[int | Exception]:
        threads.append(threading.get_ident())
        return list(jobs)

    assert _batcher(run).submit(7) == 7
    assert threads == [threading.get_ident()]


def test_what_comes_meanwhile_is_the_next_batch() -> None:
    """Three that come while one runs are one batch, in the order of their coming."""
    runs = Runs()
    clients = Clients(_batcher(runs))
    futures = clients.submit(1, 2, 3, 4)
    runs.let(0)
    runs.let(1)
    assert [future.result(10) for future in futures] == [10, 20, 30, 40]
    assert runs.begun == [[1], [2, 3, 4]]


def test_lanes_run_at_once() -> None:
    """A second lane does not wait for the first; a third job does."""
    runs = Runs()
    clients = Clients(_batcher(runs, lanes=2))
    futures = clients.submit(1, 2, 3)
    eventually(lambda: len(runs.begun) == 2)
    runs.let(1)
    runs.let(2)
    assert futures[2].result(10) == 30
    runs.let(0)
    assert futures[0].result(10) == 10


def test_a_batch_is_no_heavier_than_allowed() -> None:
    """What would make it too heavy leads the next one; one job that is too heavy by itself runs alone."""
    runs = Runs()
    batcher = _batcher(runs, heaviest=5, longest_queue=9, weigh=lambda job: job)
    futures = Clients(batcher).submit(1, 3, 2, 2, 9, 1)
    for number in range(5):
        runs.let(number)
    assert [future.result(10) for future in futures] == [10, 30, 20, 20, 90, 10]
    assert runs.begun == [[1], [3, 2], [2], [9], [1]]


def test_a_full_queue_refuses_at_once() -> None:
    """A caller that comes when the queue is full is told so, and the others are served."""
    runs = Runs()
    batcher = _batcher(runs, longest_queue=2)
    futures = Clients(batcher).submit(1, 2, 3)
    with pytest.raises(Overloaded) as refused:
        batcher.submit(4)
    assert isinstance(refused.value, Unavailable)  # nothing was changed
    runs.let(0)
    runs.let(1)
    assert [future.result(10) for future in futures] == [10, 20, 30]


def test_without_a_queue_a_free_lane_serves() -> None:
    """Only who finds none is refused."""
    runs = Runs()
    batcher = _batcher(runs, longest_queue=0)
    (future,) = Clients(batcher).submit(1)
    with pytest.raises(Overloaded):
        batcher.submit(2)
    runs.let(0)
    assert future.result(10) == 10


class _GuardedQueue(deque[Any]):
    """A queue that no thread takes from, or looks into to do so, but who holds the guard."""

    def __init__(self, guard: threading.Lock) -> None:
        super().__init__()
        self._guard = guard

    def popleft(self) -> Any:
        assert self._guard.locked()
        return super().popleft()

    def remove(self, value: Any) -> None:
        assert self._guard.locked()
        super().remove(value)


def test_the_queue_is_changed_under_its_guard() -> None:
    """By who leads the next batch, who passes a lane on, and who leaves."""
    runs = Runs()
    batcher = _batcher(runs, heaviest=2, longest_wait=0.2)
    batcher._queue = _GuardedQueue(batcher._guard)
    clients = Clients(batcher)
    first, late = clients.submit(1, 2)
    assert isinstance(late.exception(10), Overloaded)
    batcher._longest_wait = 30.0
    rest = clients.submit(3, 4, 5)
    for number in range(3):
        runs.let(number)
    assert [future.result(10) for future in (first, *rest)] == [10, 30, 40, 50]


def test_who_waits_in_vain_for_a_batch_leaves_the_queue() -> None:
    """It was never run, which the error says, and leaves no gap: the job behind it is served."""
    runs = Runs()
    batcher = _batcher(runs, longest_wait=0.2)
    clients = Clients(batcher)
    first, late = clients.submit(1, 2)
    assert isinstance(late.exception(10), Overloaded)
    behind = clients.submit(3)[0]
    runs.let(0)
    runs.let(1)
    assert (first.result(10), behind.result(10)) == (10, 30)
    assert runs.begun == [[1], [3]]
    assert (batcher._busy, len(batcher._queue)) == (0, 0)


def test_who_is_in_a_batch_waits_for_it() -> None:
    """However long it takes: no caller whose job is being done is told that nothing was done."""
    runs = Runs()
    batcher = _batcher(runs, longest_wait=0.3)
    futures = Clients(batcher).submit(1, 2, 3)
    runs.let(0)
    eventually(lambda: len(runs.begun) == 2)
    assert wait(futures[1:], timeout=0.5).done == set()
    runs.let(1)
    assert [future.result(10) for future in futures] == [10, 20, 30]


def test_what_weighing_raises_is_its_jobs_alone() -> None:
    """It comes before the job takes a place: no lane is lost, and no other job hears of it."""
    runs = Runs()

    def weigh(job: int) -> int:
        if job < 0:
            raise ValueError("below nothing")
        return job

    batcher = _batcher(runs, weigh=weigh)
    with pytest.raises(ValueError, match="below nothing"):
        batcher.submit(-1)
    clients = Clients(batcher)
    first = clients.submit(1)[0]
    with pytest.raises(ValueError, match="below nothing"):
        batcher.submit(-2)
    second = clients.submit(2)[0]
    runs.let(0)
    runs.let(1)
    assert (first.result(10), second.result(10)) == (10, 20)
    assert (batcher._busy, len(batcher._queue)) == (0, 0)


def test_what_counting_raises_fails_no_job() -> None:
    """Jobs are not refused because of a fault in what tells how many there were."""

    def run(jobs: Sequence[int]) -> list[int | Exception]:
        return list(jobs)

    def observe(_: int) -> None:
        raise ValueError

    batcher = _batcher(run, observe=observe)
    assert [batcher.submit(1), batcher.submit(2)] == [1, 2]


def test_a_fault_of_the_batch_is_every_job_s() -> None:
    """Each gets an exception of its own; the lane is free again."""
    gate = threading.Event()

    def run(jobs: Sequence[int]) -> list[int | Exception]:
        if jobs == [0]:
            assert gate.wait(10)
            return [0]
        if len(jobs) > 1:
            raise Unavailable("down", since=3)
        return list(jobs)

    batcher = _batcher(run)
    futures = Clients(batcher).submit(0, 1, 2)
    gate.set()
    errors = [future.exception(10) for future in futures[1:]]
    assert [(type(error), str(error), error.members) for error in errors if isinstance(error, HalfMessageError)] == [
        (Unavailable, "down", {"since": 3})
    ] * 2
    assert errors[0] is not errors[1]
    assert batcher.submit(5) == 5


class Odd(Unavailable):
    """An error whose constructor wants more than its text."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"{status}: {said}")
        self.said = said


def test_an_error_is_every_job_s_whatever_its_constructor_wants() -> None:
    """An adapter's error need not be one that can be made from its text."""

    def run(_: Sequence[int]) -> list[int | Exception]:
        raise Odd(50001, "no")

    with pytest.raises(Odd, match="50001: no") as raised:
        _batcher(run).submit(1)
    assert raised.value.said == "no"


def test_a_wrong_number_of_answers_is_a_fault() -> None:
    """No caller gets another's answer, and none waits for ever."""
    with pytest.raises(RuntimeError, match="0 answers to 1 jobs"):
        _batcher(lambda _: []).submit(1)


def test_a_thread_that_is_told_to_end_leaves_no_other_waiting() -> None:
    """What is no Exception goes through in the leader's thread; its followers are not told that nothing was done."""
    gate = threading.Event()

    def run(jobs: Sequence[int]) -> list[int | Exception]:
        if jobs == [0]:
            assert gate.wait(10)
            return [0]
        raise SystemExit

    batcher = _batcher(run)
    futures = Clients(batcher).submit(0, 1, 2)
    gate.set()
    assert isinstance(futures[1].exception(10), SystemExit)
    assert isinstance(futures[2].exception(10), CommitOutcomeUnknown)


@settings(max_examples=30)
@given(
    refused=st.sets(st.integers(0, 40)),
    lanes=st.integers(1, 3),
    heaviest=st.integers(1, 8),
)
def test_each_gets_what_it_would_have_got_alone(refused: set[int], lanes: int, heaviest: int) -> None:
    """Forty at once, some of which are refused: whatever batches they fall into, each gets its own answer."""

    def run(jobs: Sequence[int]) -> list[int | Exception]:
        return [ValueError(job) if job in refused else job * 10 for job in jobs]

    batcher = _batcher(run, lanes=lanes, heaviest=heaviest)
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(batcher.submit, job) for job in range(40)]
    for job, future in enumerate(futures):
        if job in refused:
            error = future.exception()
            assert isinstance(error, ValueError)
            assert error.args == (job,)
        else:
            assert future.result() == job * 10
    assert (batcher._busy, len(batcher._queue)) == (0, 0)
