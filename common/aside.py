"""Threads for the steps that go on beside the one that is waited for, or after the answer was sent."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeVar

import structlog

from common.errors import OrdersError

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger()


class Aside(Protocol):
    """What starts a step beside the caller's."""

    def start(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Run `work`; its future holds what it returns or raises."""


class ThreadedAside:
    """Runs steps on threads of its own, under the log context of who started them."""

    def __init__(self, name: str, threads: int) -> None:
        """Name the threads; at most so many steps run at once, further ones wait for their turn."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._guard = threading.Lock()
        self._closed = False

    def start(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Run `work`; after `close`, in the caller's thread, before returning.

        What it raises and nobody may look at is logged, unless it is one of our own errors.
        """
        future: Future[T] = Future()
        future.add_done_callback(_tell_unexpected)
        step = partial(_settle, future, partial(work, *args, **kwargs))
        with self._guard:
            if not self._closed:
                self._pool.submit(copy_context().run, step)
                return future
        step()
        return future

    def close(self) -> None:
        """Return once every step that was started has ended."""
        with self._guard:
            self._closed = True
        self._pool.shutdown(wait=True)


def _settle(future: "Future[T]", work: Callable[[], T]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - whoever asks for the result raises it
        future.set_exception(error)


def _tell_unexpected(future: "Future[Any]") -> None:
    error = future.exception()
    if error is not None and not isinstance(error, OrdersError):
        log.error("a step beside a request failed", exc_info=error)
