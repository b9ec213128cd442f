"""Further processes of a service, on its own port, so that it uses more than one core.

The first process starts them, and starts one again that dies; they end with it, whatever ends it. Each has ids,
connections and broker clients of its own, made after its start: gRPC and fork don't mix.
"""

import glob
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import structlog
from prometheus_client import multiprocess

from common import lifeline
from common.telemetry import METRICS_DIR

_AGAIN_AFTER = 0.5  # seconds from the death of a process to the start of its successor
_LONGEST_PAUSE = 10.0  # seconds between two starts that failed

log = structlog.get_logger()


class Workers:
    """Keeps processes of `python -m module` running until closed."""

    def __init__(self, module: str, number: int, cores: Sequence[int] = ()) -> None:
        """Name the module, how many processes, and the cores that they keep to in turn; nothing runs before `start`."""
        self._command = (sys.executable, "-m", module)
        self._closing = threading.Event()
        self._guard = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._kept_open = -1  # the end of a pipe that closes with this process
        self._lifeline = -1
        self._keepers = [
            threading.Thread(
                target=self._keep, args=(cores[i % len(cores)] if cores else None,), name=f"worker {i + 2}"
            )
            for i in range(number)
        ]

    def start(self) -> None:
        """Start them."""
        if not self._keepers:
            return
        if METRICS_DIR not in os.environ:
            log.warning("each process has metrics of its own: let them share a directory", variable=METRICS_DIR)
        self._lifeline, self._kept_open = os.pipe()
        for keeper in self._keepers:
            keeper.start()

    def close(self) -> None:
        """Tell them to stop, and return once they did."""
        self._closing.set()
        with self._guard:
            for process in self._running:
                process.send_signal(signal.SIGTERM)
        for keeper in self._keepers:
            if keeper.ident is not None:
                keeper.join()

    def _keep(self, core: int | None) -> None:
        pause = _AGAIN_AFTER
        while not self._closing.is_set():
            try:
                process = self._spawn(core)
            except OSError as error:  # no memory, or no process more, just now
                log.error("a worker could not be started and is tried again", reason=str(error), seconds=pause)  # noqa: TRY400 - said by it
                self._closing.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            if process is None:
                return
            pause = _AGAIN_AFTER
            status = process.wait()
            with self._guard:
                self._running.discard(process)
            if METRICS_DIR in os.environ:
                multiprocess.mark_process_dead(process.pid, glob.escape(os.environ[METRICS_DIR]))  # type: ignore[no-untyped-call]
            if not self._closing.is_set():
                log.error("a worker ended and is started again", pid=process.pid, status=status)
                self._closing.wait(_AGAIN_AFTER)

    def _spawn(self, core: int | None) -> "subprocess.Popen[bytes] | None":
        shared = {"ORDERS_WORKERS": "1", "ORDERS_SHARE_PORT": "true", lifeline.VARIABLE: str(self._lifeline)}
        if core is not None:
            shared["ORDERS_CORE"] = str(core)
        with self._guard:
            if self._closing.is_set():
                return None
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                self._command, env={**os.environ, **shared}, pass_fds=(self._lifeline,)
            )
            self._running.add(process)
            return process


def clear_metrics() -> None:
    """Forget the metrics of processes that are gone; to be called by the first process, before it counts anything."""
    if METRICS_DIR in os.environ:
        place = Path(os.environ[METRICS_DIR])
        place.mkdir(parents=True, exist_ok=True)
        for file in place.glob("*.db"):
            file.unlink(missing_ok=True)
