"""Ends this process when its supervisor dies: the other end of a pipe closes, whatever killed the supervisor."""

import os
import signal
import threading
from collections.abc import Mapping

VARIABLE = "ORDERS_LIFELINE_FD"


def watch(environ: Mapping[str, str]) -> None:
    """Send SIGTERM to this process at the end of the pipe whose read end `ORDERS_LIFELINE_FD` names, if it is set."""
    if VARIABLE in environ:
        fd = int(environ[VARIABLE])
        os.set_inheritable(fd, False)
        threading.Thread(target=_wait, args=(fd,), name="lifeline", daemon=True).start()


def _wait(fd: int) -> None:
    while os.read(fd, 64):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
