"""Many clients at once."""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
T = TypeVar("T")


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Make all calls at the same moment, each on a thread of its own; return their answers in the order given."""
    gate = threading.Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        gate.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def spread(work: Callable[[A], T], items: Iterable[A], *, threads: int) -> list[T]:
    """Do `work` for each item, on so many threads; return the answers in the order of the items."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))
