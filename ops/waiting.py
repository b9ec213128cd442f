"""Waiting for a condition, with a deadline and the name of what is waited for."""

import time
from collections.abc import Callable
from typing import TypeVar

from ops.errors import NotInTime

T = TypeVar("T")


def wait_for(what: str, look: Callable[[], T | None], *, within: float, every: float = 0.05) -> T:
    """Return the first truthy answer of `look`, asked every `every` seconds.

    Raise `NotInTime` after `within` seconds; it names `what` was waited for.
    """
    deadline = time.monotonic() + within
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise NotInTime(f"Waited {within:g} s in vain for {what}.")
        time.sleep(every)
