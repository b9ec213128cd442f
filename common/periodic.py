"""Work that a service does every so often, on a thread of its own."""

import threading
from collections.abc import Callable

import structlog


class Periodic:
    """Calls `work` every `interval` seconds, the first time after one interval, until closed."""

    def __init__(self, name: str, interval: float, work: Callable[[], object]) -> None:
        """Prepare; `start` starts it. What `work` raises is logged, and it is called again."""
        self._interval = interval
        self._work = work
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop, after the work in hand."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(self._interval):
            try:
                self._work()
            except Exception:  # noqa: BLE001 - a thread's edge: the next round may do better
                structlog.get_logger().exception("periodic work failed", work=self._thread.name)
