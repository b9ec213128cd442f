"""A gate: so many requests are inside at once; who comes when it is full is told so at once, instead of waiting."""

import threading
from types import TracebackType

from common.errors import Overloaded


class Gate:
    """Enter with `with`. Thread-safe."""

    def __init__(self, most: int) -> None:
        """Let at most so many in at once."""
        self._free = threading.BoundedSemaphore(most)

    def __enter__(self) -> None:
        """Raise `Overloaded` when it is full."""
        if not self._free.acquire(blocking=False):
            raise Overloaded

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._free.release()
