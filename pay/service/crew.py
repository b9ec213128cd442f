"""Calls of providers, several at once: one that is slow holds up few others, and one that fails holds up none."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from typing import TypeVar

import structlog

from common.aside import ThreadedAside
from halfmessage.errors import HalfMessageError

I = TypeVar("I")  # noqa: E741 - an item
R = TypeVar("R")

log = structlog.get_logger()


class Crew:
    """Threads for calls of providers."""

    def __init__(self, name: str, threads: int) -> None:
        """Name them; so many calls run at once, for all callers together."""
        self._aside = ThreadedAside(name, threads)
        self._threads = threads

    def each(self, work: Callable[[I], R], items: Sequence[I], *, within: float) -> list[tuple[I, R | None]]:
        """Call `work` for the items; return those that were done in so many seconds, with what it returned.

        None: it failed. What is under way by then goes on, for as long as a call may take; the others are left.
        """
        deadline = time.monotonic() + within
        waiting, done = iter(items), list[tuple[I, R | None]]()

        def run() -> None:
            for item in waiting:  # each thread takes the next: of a list that is one step of the interpreter
                if time.monotonic() >= deadline:
                    return
                done.append((item, _tried(work, item)))

        wait([self._aside.start(run) for _ in range(min(self._threads, len(items)))], within)
        return done.copy()

    def close(self) -> None:
        """Return once every call has ended."""
        self._aside.close()


def _tried(work: Callable[[I], R], item: I) -> R | None:
    try:
        return work(item)
    except HalfMessageError as error:
        log.warning("a provider was called in vain", reason=error.detail)
    except Exception:  # the edge to providers' code: what one of them does wrong must not keep the others waiting
        log.exception("a provider failed")
    return None
