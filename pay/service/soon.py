"""Events that were just stored are handled soon, those that come together in one batch; what fails waits."""

import threading
from collections import deque
from collections.abc import Callable, Collection
from typing import Final

import structlog

from common.aside import Aside
from halfmessage.chunks import ROWS
from halfmessage.errors import HalfMessageError
from pay.service.inbox import EventKey

MOST_WAITING: Final = 10_000
"""Events; further ones are left to the worker, which finds them in the database."""

log = structlog.get_logger()


class Soon:
    """Handles events beside who stores them: one batch is under way at most, the next gathers meanwhile."""

    def __init__(self, handle: Callable[[Collection[EventKey]], object], aside: Aside) -> None:
        """Take what handles stored events, and what runs beside: with one thread."""
        self._handle = handle
        self._aside = aside
        self._guard = threading.Lock()
        self._waiting: deque[EventKey] = deque()
        self._is_under_way = False

    def handle(self, key: EventKey) -> None:
        """Have a stored event handled."""
        with self._guard:
            if len(self._waiting) >= MOST_WAITING:
                return
            self._waiting.append(key)
            if self._is_under_way:
                return
            self._is_under_way = True
        self._aside.start(self._run)

    def _run(self) -> None:
        while batch := self._batch():
            try:
                self._handle(batch)
            except HalfMessageError as error:
                log.warning("events are left to the worker to be handled", events=len(batch), reason=error.detail)
            except BaseException:
                with self._guard:
                    self._is_under_way = False
                raise

    def _batch(self) -> list[EventKey]:
        """Return the next batch; without one, the next event starts another run."""
        with self._guard:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), ROWS))]
            self._is_under_way = bool(batch)
        return batch
