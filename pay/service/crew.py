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
        """Call `work` for the items, as far as they come to it in so many seconds; return these with what it returned.

        None: it failed, or did not answer by then. Such a call goes on for as long as one may take, and what it
        returns is not waited for. The items that nobody came to are left out.
        """
        deadline = time.monotonic() + within
        waiting, tried, answers = iter(range(len(items))), list[int](), dict[int, R | None]()

        def run() -> None:
            for at in waiting:  # each thread takes the next: of a range that is one step of the interpreter
                if time.monotonic() >= deadline:
                    return
                tried.append(at)
                answers[at] = _tried(work, items[at])

        wait([self._aside.start(run) for _ in range(min(self._threads, len(items)))], within)
        return [(items[at], answers.get(at)) for at in tried.copy()]

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
