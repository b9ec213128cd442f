"""Threads for the steps that go on beside the one that is waited for, or after the answer was sent."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, Final, ParamSpec, Protocol, TypeVar

import structlog

from halfmessage.errors import HalfMessageError, Overloaded

P = ParamSpec("P")
T = TypeVar("T")

_QUEUE: Final = 4  # steps for each thread that may wait for it; a lane of orders has two under way

log = structlog.get_logger()


class Aside(Protocol):
    """What starts a step beside the caller's."""

    def start(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Run `work`; its future holds what it returns or raises."""


class ThreadedAside:
    """Runs steps on threads of its own, under the log context of who started them."""

    def __init__(self, name: str, threads: int) -> None:
        """Name the threads; at most so many steps run at once, `_QUEUE` times as many wait for their turn."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._most = threads * (1 + _QUEUE)
        self._guard = threading.Lock()
        self._under_way = 0
        self._closed = False

    def start(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Run `work`; after `close`, in the caller's thread, before returning.

        Where too many steps wait already, it is not run, and the future holds `Overloaded`. What it raises,
        which the caller may not look at, is logged, unless it is one of our own errors.
        """
        future: Future[T] = Future()
        future.add_done_callback(_tell_unexpected)
        step = partial(_settle, future, partial(work, *args, **kwargs))
        with self._guard:
            if not self._closed:
                self._queue(future, step)
                return future
        step()
        return future

    def _queue(self, future: "Future[T]", step: Callable[[], None]) -> None:
        if self._under_way >= self._most:
            log.warning("too many steps wait; one is not taken", waiting=self._under_way)
            future.set_exception(Overloaded())
            return
        self._under_way += 1
        self._pool.submit(copy_context().run, self._run, step)

    def _run(self, step: Callable[[], None]) -> None:
        step()
        with self._guard:
            self._under_way -= 1

    def close(self) -> None:
        """Return once every step that was started has ended."""
        with self._guard:
            self._closed = True
        self._pool.shutdown(wait=True)


def result(step: "Future[T]", within: float) -> T:
    """Return what a step returned. Raise what it raised, or `Overloaded` where it has not ended in so many seconds."""
    try:
        return step.result(within)
    except TimeoutError as error:
        raise Overloaded from error


def _settle(future: "Future[T]", work: Callable[[], T]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - asking for the result raises it
        future.set_exception(error)


def _tell_unexpected(future: "Future[Any]") -> None:
    error = future.exception()
    if error is not None and not isinstance(error, HalfMessageError):
        log.error("a step beside a request failed", exc_info=error)
