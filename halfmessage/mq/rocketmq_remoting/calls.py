"""Calls into C on threads of their own, so that one that hangs holds up its caller no longer than was set.

The C interface tries a send five times, each with a time limit of its own, and looks for a route before that:
a broker that is away would hold a request for half a minute.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from halfmessage.errors import BrokerError

T = TypeVar("T")


class Calls:
    """Starts at most `most` calls at a time; waits up to `patience` seconds for a free place, and for a result."""

    def __init__(self, most: int, patience: float) -> None:
        """Start nothing yet."""
        self.patience = patience
        self._free = threading.Semaphore(most)
        self._lock = threading.Lock()
        self._running: set[threading.Thread] = set()

    def start(self, work: Callable[[], object]) -> None:
        """Run `work`, which raises nothing, on a thread of its own. Raise `BrokerError` if too many run already."""
        if not self._free.acquire(timeout=self.patience):
            raise BrokerError("Too many messages are on their way to the broker already; nothing was sent.")
        thread = threading.Thread(target=self._run, args=(work,), name="rocketmq4 call", daemon=True)
        with self._lock:
            self._running.add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, or the process is ending
            self._over(thread)
            raise BrokerError(f"Nothing was sent: {error}.") from error

    def result(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, or raise what it raises; `BrokerError` if that takes too long."""
        future: Future[T] = Future()
        self.start(lambda: settle(future, work))
        return self.wait(future)

    def wait(self, future: "Future[T]") -> T:
        """Return the future's result. Raise what it raises, or `BrokerError` if it takes too long."""
        try:
            return future.result(self.patience)
        except TimeoutError as error:
            raise BrokerError(f"The broker did not answer within {self.patience:g} s.") from error

    def close(self) -> None:
        """Wait for the calls that run, no longer than for one: what hangs is left behind."""
        give_up = time.monotonic() + self.patience
        with self._lock:
            running = list(self._running)
        for thread in running:
            thread.join(max(0.0, give_up - time.monotonic()))

    def _run(self, work: Callable[[], object]) -> None:
        try:
            work()
        finally:
            self._over(threading.current_thread())

    def _over(self, thread: threading.Thread) -> None:
        with self._lock:
            self._running.discard(thread)
        self._free.release()


def settle(future: "Future[T]", work: Callable[[], T]) -> None:
    """Put into `future` what `work` returns or raises."""
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 (it is raised where the future is waited for)
        future.set_exception(error)
