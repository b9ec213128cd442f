"""Who looks at the file when: a thread sleeps until something changed or something is due.

SQLite has no notifications. One thread a process asks `PRAGMA data_version` (a look into shared memory, about 3 µs)
40 times a second; commits of our own process that make a message visible ring at once.
"""

import threading
import time
from collections.abc import Callable

import structlog

from halfmessage.clock import now_ms
from halfmessage.errors import BrokerError
from halfmessage.mq.embedded.reader import Reader

_EVERY = 0.025  # seconds between two looks at data_version
_EVERY_BROKEN = 0.5  # seconds, while the file can't be read
_LONGEST_SLEEP = 5.0  # seconds: the wall clock may be set while we sleep
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0  # seconds after a failure


class Wakeup:
    """The bell of one process."""

    def __init__(self, reader: Reader) -> None:
        """Watch the file through `reader`, once `start` was called."""
        self._reader = reader
        self._rung = threading.Condition()
        self._changes = 0
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start watching for commits of other processes; once is enough."""
        with self._rung:
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="broker-wakeup", daemon=True)
                self._thread.start()

    def ring(self) -> None:
        """Have everybody look at once."""
        with self._rung:
            self._changes += 1
            self._rung.notify_all()

    def until_due(self, next_due: Callable[[], int | None], closed: threading.Event) -> bool:
        """Sleep until the time that `next_due` reads from the file has come; return False once `closed` is set."""
        while not closed.is_set():
            seen = self._changes
            due = next_due()
            ahead = _LONGEST_SLEEP if due is None else (due - now_ms()) / 1000
            if ahead <= 0:
                return True
            with self._rung:
                if self._changes == seen:
                    self._rung.wait(min(ahead, _LONGEST_SLEEP))
        return False

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()
        self.ring()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        seen = None
        while not self._closed.is_set():
            try:
                version = self._reader.query("PRAGMA data_version")
            except BrokerError:  # the next use of the file meets the same fault, and tells
                self._closed.wait(_EVERY_BROKEN)
                continue
            if version != seen:
                seen = version
                self.ring()
            time.sleep(_EVERY)


def keep_going(step: Callable[[], None], closed: threading.Event, what: str) -> None:
    """Repeat `step` until `closed`: a thread's body. A failure is logged and followed by a growing pause."""
    pause = _FIRST_PAUSE
    while not closed.is_set():
        try:
            step()
            pause = _FIRST_PAUSE
        except Exception as error:  # noqa: BLE001 (the thread's edge: the file may be well again later)
            expected = isinstance(error, BrokerError)
            structlog.get_logger().error("broker.trouble", at=what, error=str(error), exc_info=not expected)
            closed.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
