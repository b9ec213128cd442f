"""Tasks take turns as a seed says, on a clock that jumps; what is left of a killed process does nothing."""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED
from queue import Empty

import pytest

from lab.simulate import scheduler as schedulers
from lab.simulate.primitives import (
    Condition,
    Event,
    Future,
    Lock,
    RLock,
    Semaphore,
    SimpleQueue,
    Thread,
    ThreadPoolExecutor,
    wait_for,
)
from lab.simulate.scheduler import BEGIN, Dead, Process, Scheduler, TooLong

SECOND = 1_000_000_000


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    made = Scheduler(1)
    schedulers.activate(made)
    yield made
    made.close()
    schedulers.activate(None)


@pytest.fixture
def process() -> Process:
    return Process("shop")


def carried_out(scheduler: Scheduler, process: Process, *works: Callable[[], object]) -> None:
    for number, work in enumerate(works):
        scheduler.spawn(process, f"task {number}", work)
    scheduler.run(lambda: False)


def seconds(scheduler: Scheduler) -> int:
    return (scheduler.now - BEGIN) // SECOND


def turns(seed: int) -> list[int]:
    scheduler, seen = Scheduler(seed), list[int]()

    def work(number: int) -> None:
        for _ in range(5):
            seen.append(number)
            scheduler.pause()

    for number in range(4):
        scheduler.spawn(Process("shop"), "task", lambda number=number: work(number))  # type: ignore[misc]
    scheduler.run(lambda: False)
    return seen


def test_turns_are_drawn_from_the_seed() -> None:
    """The same seed is the same order of steps, another one another."""
    assert turns(1) == turns(1) != turns(2)


def test_time_jumps_to_the_next_timer(scheduler: Scheduler, process: Process) -> None:
    """An hour of sleep takes no time, and the shorter sleep ends first."""
    seen = list[str]()

    def sleep(hours: int) -> None:
        scheduler.sleep(3600 * hours)
        seen.append(f"{hours} h")

    carried_out(scheduler, process, lambda: sleep(2), lambda: sleep(1))
    assert seen == ["1 h", "2 h"]
    assert seconds(scheduler) == 7200


def test_what_is_killed_does_nothing_more(scheduler: Scheduler, process: Process) -> None:
    """Neither at once, nor when its time comes, nor in its finally blocks once the run is over."""
    seen, lock = list[str](), Lock()

    def work() -> None:
        with lock:
            try:
                scheduler.sleep(1)
                seen.append("went on")
            finally:
                scheduler.living()
                seen.append("cleaned up")

    def kill() -> None:
        scheduler.sleep(0.5)
        scheduler.kill(process)

    scheduler.spawn(process, "work", work)
    scheduler.spawn(Process("killer"), "kill", kill)
    scheduler.run(lambda: False)
    scheduler.close()
    assert seen == []
    assert lock.locked()


def test_a_process_that_kills_itself_ends_there(scheduler: Scheduler, process: Process) -> None:
    """No line after that runs."""
    seen = list[str]()

    def work() -> None:
        scheduler.kill(process)
        seen.append("killed")
        scheduler.leave()
        seen.append("went on")

    carried_out(scheduler, process, work)
    assert seen == ["killed"]


def test_a_frozen_process_goes_on_later(scheduler: Scheduler, process: Process) -> None:
    """Its tasks miss what time passes."""
    process.frozen_until = BEGIN + 5 * SECOND
    seen = list[int]()
    carried_out(scheduler, process, lambda: seen.append(seconds(scheduler)))
    assert seen == [5]


def test_what_a_task_raises_ends_the_run(scheduler: Scheduler, process: Process) -> None:
    """A thread of the product lets nothing out."""

    def work() -> None:
        raise LookupError("lost")

    with pytest.raises(LookupError, match="lost"):
        carried_out(scheduler, process, work)


def test_a_loop_that_never_ends_is_ended(
    scheduler: Scheduler, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run has a bound of steps."""
    monkeypatch.setattr(schedulers, "_MOST_STEPS", 100)

    def work() -> None:
        while True:
            scheduler.pause()

    with pytest.raises(TooLong):
        carried_out(scheduler, process, work)


def test_nothing_is_done_outside_of_a_run() -> None:
    """A lock that is taken when no run is under way is refused."""
    with pytest.raises(Dead):
        Lock().acquire()


def test_a_lock_is_one_s(scheduler: Scheduler, process: Process) -> None:
    """Others wait, in vain if it takes too long."""
    lock, seen = Lock(), list[object]()

    def hold() -> None:
        with lock:
            scheduler.sleep(2)

    def try_it() -> None:
        scheduler.sleep(0.1)
        seen.append(lock.acquire(blocking=False))
        seen.append(lock.acquire(timeout=1))
        seen.append(lock.acquire())
        seen.append(seconds(scheduler))
        lock.release()
        with pytest.raises(RuntimeError):
            lock.release()

    carried_out(scheduler, process, hold, try_it)
    assert seen == [False, False, True, 2]


def test_a_reentrant_lock_is_taken_again(scheduler: Scheduler, process: Process) -> None:
    """By who has it."""
    lock, seen = RLock(), list[str]()

    def hold(name: str) -> None:
        with lock, lock:
            seen.append(name)
            scheduler.sleep(1)
            seen.append(name)

    carried_out(scheduler, process, lambda: hold("a"), lambda: hold("b"))
    assert seen in (["a", "a", "b", "b"], ["b", "b", "a", "a"])


def test_a_condition_wakes_who_waits(scheduler: Scheduler, process: Process) -> None:
    """In time, or not at all."""
    condition, seen = Condition(), list[object]()

    def listen() -> None:
        with condition:
            seen.append(condition.wait(timeout=1))
            seen.append(condition.wait(timeout=10))
            seen.append(condition.wait_for(lambda: False, timeout=1))

    def tell() -> None:
        scheduler.sleep(3)
        with condition:
            condition.notify_all()

    carried_out(scheduler, process, listen, tell)
    assert seen == [False, True, False]


def test_an_event_is_waited_for(scheduler: Scheduler, process: Process) -> None:
    """Until it is set, from then on not at all."""
    event, seen = Event(), list[object]()

    def listen() -> None:
        seen.extend([event.wait(1), event.wait(5), event.wait(), event.is_set(), seconds(scheduler)])
        event.clear()
        seen.append(event.is_set())

    def tell() -> None:
        scheduler.sleep(2)
        event.set()

    carried_out(scheduler, process, listen, tell)
    assert seen == [False, True, True, True, 2, False]


def test_a_queue_gives_what_was_put_first(scheduler: Scheduler, process: Process) -> None:
    """And is waited for while it is empty."""
    queue, seen = SimpleQueue(), list[object]()

    def take() -> None:
        with pytest.raises(Empty):
            queue.get_nowait()
        seen.extend([queue.get(), queue.get(), queue.get_nowait()])

    def put() -> None:
        scheduler.sleep(1)
        for number in range(3):
            queue.put(number)

    carried_out(scheduler, process, take, put)
    assert seen == [0, 1, 2]


def test_threads_are_tasks(scheduler: Scheduler, process: Process) -> None:
    """Of the process that starts them; they are joined, and pools run as many as they have."""
    seen = list[object]()

    def work(number: int) -> int:
        scheduler.sleep(1)
        return number * 2

    def fail() -> None:
        raise LookupError

    def main() -> None:
        thread = Thread(target=lambda: scheduler.sleep(1), name="one")
        thread.start()
        seen.append(thread.is_alive())
        thread.join()
        seen.append(thread.is_alive())
        pool = ThreadPoolExecutor(2)
        futures = [pool.submit(work, number) for number in range(3)]
        failed = pool.submit(fail)
        wait_for([*futures, failed], 10)
        seen.append([future.result() for future in futures])
        seen.append(type(failed.exception()))
        with pytest.raises(TimeoutError):
            Future().result(1)
        seen.append(seconds(scheduler))
        pool.shutdown()

    carried_out(scheduler, process, main)
    assert seen == [True, False, [0, 2, 4], LookupError, 4]


def test_the_first_that_ends_is_waited_for(scheduler: Scheduler, process: Process) -> None:
    """And told apart from the others; a pool that is shut down waits for what runs, and forgets what does not."""
    seen = list[object]()

    def main() -> None:
        pool = ThreadPoolExecutor(2)
        slow, fast, late = (pool.submit(scheduler.sleep, after) for after in (5, 1, 3))
        ended, others = wait_for([slow, fast], return_when=FIRST_COMPLETED)
        seen.append((ended == [fast], others == [slow], seconds(scheduler)))
        last = pool.submit(scheduler.sleep, 1)
        pool.shutdown(cancel_futures=True)
        seen.append((slow.done(), late.done(), last.cancelled(), seconds(scheduler)))
        assert wait_for([slow, late], return_when=FIRST_COMPLETED) == ([slow, late], [])

    carried_out(scheduler, process, main)
    assert seen == [(True, True, 1), (True, True, True, 5)]


def test_a_semaphore_lets_so_many_in(scheduler: Scheduler, process: Process) -> None:
    """One more waits."""
    semaphore, seen = Semaphore(2), list[int]()

    def work() -> None:
        semaphore.acquire()
        scheduler.sleep(1)
        seen.append(seconds(scheduler))
        semaphore.release()

    carried_out(scheduler, process, work, work, work)
    assert seen == [1, 1, 2]
