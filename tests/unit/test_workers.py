"""Further processes of a service: kept running, whatever the machine has no room for just now."""

import threading
from typing import Any

import pytest

from common import workers
from common.workers import Workers
from tests.support import eventually


class _Process:
    """One that runs until it is told to stop."""

    pid = 1

    def __init__(self) -> None:
        self._over = threading.Event()

    def wait(self) -> int:
        """Return once it ended."""
        self._over.wait()
        return 0

    def send_signal(self, _number: int) -> None:
        """End."""
        self._over.set()


def test_a_start_that_failed_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory, or no process more, just now: the service is not a process fewer for ever."""
    monkeypatch.setattr(workers, "_AGAIN_AFTER", 0.01)
    started: list[_Process] = []
    refused = [OSError(12, "Cannot allocate memory"), OSError(11, "Resource temporarily unavailable")]

    def popen(*_: Any, **__: Any) -> _Process:
        if refused:
            raise refused.pop()
        started.append(_Process())
        return started[-1]

    monkeypatch.setattr(workers.subprocess, "Popen", popen)
    kept = Workers("order", 1)
    kept.start()
    eventually(lambda: len(started) == 1)
    kept.close()
    assert not refused
