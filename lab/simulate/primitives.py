"""Locks, events, queues, threads and futures whose waiting is the scheduler's; named as those of the library are."""

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent import futures
from queue import Empty
from typing import Any, Final, Self

from lab.simulate.scheduler import Scheduler, Task, the

_FOREVER: Final = -1.0


def _deadline(scheduler: Scheduler, timeout: float | None) -> int | None:
    return None if timeout is None or timeout < 0 else scheduler.now + int(timeout * 1e9)


class Lock:
    """Stands for `threading.Lock`."""

    def __init__(self) -> None:
        self._is_locked = False
        self._waiting: deque[Task] = deque()

    def acquire(self, blocking: bool = True, timeout: float = _FOREVER) -> bool:
        """Take it; return whether it was had in time."""
        scheduler = the()
        task = scheduler.living()
        if not self._is_locked:
            self._is_locked = True
            return True
        if not blocking:
            return False
        until = _deadline(scheduler, timeout)
        while self.locked():
            self._waiting.append(task)
            if not scheduler.block(until):
                self._waiting.remove(task)
                if self.locked():
                    return False
        self._is_locked = True
        return True

    def release(self) -> None:
        """Give it back: the first that waited is woken, and may find it taken again."""
        scheduler = the()
        scheduler.living()
        if not self._is_locked:
            raise RuntimeError("release unlocked lock")
        self._is_locked = False
        if self._waiting:
            scheduler.wake(self._waiting.popleft())

    def locked(self) -> bool:
        """Tell whether it is taken."""
        return self._is_locked

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class RLock:
    """Stands for `threading.RLock`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._owner: Task | None = None
        self._depth = 0

    def acquire(self, blocking: bool = True, timeout: float = _FOREVER) -> bool:
        """Take it once more, or for the first time."""
        task = the().living()
        if self._owner is not task:
            if not self._lock.acquire(blocking, timeout):
                return False
            self._owner = task
        self._depth += 1
        return True

    def release(self) -> None:
        """Give back one taking."""
        the().living()
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
            self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Condition:
    """Stands for `threading.Condition`."""

    def __init__(self, lock: Lock | RLock | None = None) -> None:
        self._lock = lock or Lock()
        self._waiting: deque[Task] = deque()

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def acquire(self, blocking: bool = True, timeout: float = _FOREVER) -> bool:
        """Take its lock."""
        return self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        """Give its lock back."""
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Give the lock back, wait to be told, take it again; return whether one was told in time."""
        scheduler = the()
        task = scheduler.living()
        self._waiting.append(task)
        self._lock.release()
        woken = scheduler.block(_deadline(scheduler, timeout))
        if not woken:
            self._waiting.remove(task)
        self._lock.acquire()
        return woken

    def wait_for(self, predicate: Callable[[], object], timeout: float | None = None) -> object:
        """Wait until something is so; return what it says."""
        until = _deadline(the(), timeout)
        while not (result := predicate()):
            left = None if until is None else (until - the().now) / 1e9
            if left is not None and left <= 0:
                return result
            self.wait(left)
        return result

    def notify(self, n: int = 1) -> None:
        """Wake so many that wait."""
        scheduler = the()
        scheduler.living()
        for _ in range(min(n, len(self._waiting))):
            scheduler.wake(self._waiting.popleft())

    def notify_all(self) -> None:
        """Wake all that wait."""
        self.notify(len(self._waiting))


class Event:
    """Stands for `threading.Event`."""

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: list[Task] = []

    def is_set(self) -> bool:
        """Tell whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it, and wake all that wait."""
        scheduler = the()
        scheduler.living()
        self._is_set = True
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            scheduler.wake(task)

    def clear(self) -> None:
        """Set it back."""
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; return whether it is."""
        scheduler = the()
        task = scheduler.living()
        if self._is_set:
            return True
        self._waiting.append(task)
        if not scheduler.block(_deadline(scheduler, timeout)):
            self._waiting.remove(task)
        return self._is_set


class Semaphore:
    """Stands for `threading.Semaphore`."""

    def __init__(self, value: int = 1) -> None:
        self._condition = Condition()
        self._value = value

    def acquire(self) -> bool:
        """Take one, once there is one."""
        with self._condition:
            self._condition.wait_for(lambda: self._value > 0)
            self._value -= 1
        return True

    def release(self) -> None:
        """Give one back."""
        with self._condition:
            self._value += 1
            self._condition.notify()


class Thread:
    """Stands for `threading.Thread`: a task of the process that makes it."""

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] = lambda: None,
        name: str = "thread",
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        del group
        self._work: Callable[[], object] = lambda: target(*args, **(kwargs or {}))
        self.name = name
        self.daemon = bool(daemon)
        self.ident: int | None = None
        self._ended = Event()

    def start(self) -> None:
        """Start it."""
        scheduler = the()
        self.ident = 1
        scheduler.spawn(scheduler.living().process, self.name, self._run)

    def _run(self) -> None:
        self._work()
        self._ended.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""
        self._ended.wait(timeout)

    def is_alive(self) -> bool:
        """Tell whether it runs."""
        return self.ident is not None and not self._ended.is_set()


class SimpleQueue:
    """Stands for `queue.SimpleQueue`."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._waiting: deque[Task] = deque()

    @classmethod
    def __class_getitem__(cls, _: object) -> type[Self]:
        return cls

    def put(self, item: Any) -> None:
        """Append an item."""
        scheduler = the()
        scheduler.living()
        self._items.append(item)
        if self._waiting:
            scheduler.wake(self._waiting.popleft())

    def get(self) -> Any:
        """Take the first item, once there is one."""
        scheduler = the()
        task = scheduler.living()
        while not self._items:
            self._waiting.append(task)
            scheduler.block(None)
        return self._items.popleft()

    def get_nowait(self) -> Any:
        """Take the first item. Raise `Empty`."""
        the().living()
        if not self._items:
            raise Empty
        return self._items.popleft()


class Future(futures.Future[Any]):
    """Stands for `concurrent.futures.Future`: the same, on a condition of ours."""

    def __init__(self) -> None:
        super().__init__()
        self._condition: Any = Condition(RLock())


class ThreadPoolExecutor:
    """Stands for `concurrent.futures.ThreadPoolExecutor`."""

    def __init__(self, max_workers: int = 1, thread_name_prefix: str = "pool") -> None:
        self._free = Semaphore(max_workers)
        self._name = thread_name_prefix
        self._given: list[Future] = []

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Run `work` once a thread is free."""
        future = Future()

        def run() -> None:
            self._free.acquire()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work(*args, **kwargs))
                except Exception as error:  # noqa: BLE001 - asking for the result raises it
                    future.set_exception(error)
            self._given.remove(future)
            self._free.release()

        self._given.append(future)
        scheduler = the()
        scheduler.spawn(scheduler.living().process, self._name, run)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for what was given to it; `cancel_futures`: for what runs alone."""
        given = list(self._given)
        for future in given if cancel_futures else ():
            future.cancel()
        if wait:
            wait_for(given)


def wait_for(
    fs: Collection[Future], timeout: float | None = None, return_when: str = futures.ALL_COMPLETED
) -> tuple[list[Future], list[Future]]:
    """Stand for `concurrent.futures.wait`, until all have ended, or the first; return those that have, and the others.

    In the order in which they were given: sets of futures have another one each time.
    """
    until = _deadline(the(), timeout)
    is_first = return_when == futures.FIRST_COMPLETED
    for one in fs:
        ended = Event()
        for each in fs if is_first else [one]:
            each.add_done_callback(lambda _, ended=ended: ended.set())  # type: ignore[misc]
        ended.wait(None if until is None else max(0.0, (until - the().now) / 1e9))
        if is_first:
            break
    return [one for one in fs if one.done()], [one for one in fs if not one.done()]
