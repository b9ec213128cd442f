"""What tests of every kind share."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], *, within: float = 5.0) -> T:
    """Return the first truthy value of `condition`; fail the test after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {within:g} s, last seen: {value!r}"
        time.sleep(0.01)
