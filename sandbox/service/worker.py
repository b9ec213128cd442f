"""Does what is due, on a thread of its own: planned payments and refunds, and callbacks."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from sandbox.service.telling import Due, Sent, Telling

SENDERS: Final = 8
_AT_ONCE: Final = 2 * SENDERS  # callbacks claimed together: all are sent before any could be claimed again
_LOOK_EVERY: Final = 1.0  # seconds at most between two looks: another process may have written something
_AFTER_A_FAILURE: Final = 0.5  # seconds


class Worker:
    """Sends callbacks until it is closed. `wake` it when there is something new."""

    def __init__(self, telling: Telling, post: Callable[[str, bytes], tuple[bool, str]]) -> None:
        """Take what is due from `telling`, and send it with `post`."""
        self._telling = telling
        self._post = post
        self._closing = threading.Event()
        self._news = threading.Event()
        self._senders = ThreadPoolExecutor(SENDERS, thread_name_prefix="callback")
        self._thread = threading.Thread(target=self._run, name="callbacks", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Have it look at once."""
        self._news.set()

    def close(self) -> None:
        """Stop, after the work in hand."""
        self._closing.set()
        self._news.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._senders.shutdown()

    def work(self) -> int:
        """Do what is due now, some of it at once; return how much that was."""
        done = self._telling.do_planned()
        due = self._telling.claim(_AT_ONCE)
        if due:
            self._telling.record(list(self._senders.map(self._send, due)))
        return done + len(due)

    def _send(self, due: Due) -> Sent:
        return Sent(due, *self._post(due.url, due.raw))

    def _run(self) -> None:
        while not self._closing.is_set():
            self._news.clear()
            try:
                if not self.work():
                    self._news.wait(min(self._telling.waiting(), _LOOK_EVERY))
            except Exception:  # noqa: BLE001 - a thread's edge: the next round may do better
                structlog.get_logger().exception("callbacks not sent")
                self._closing.wait(_AFTER_A_FAILURE)
