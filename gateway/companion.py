"""A small process beside Caddy that ends it when the supervisor dies, as `common.lifeline` ends a service.

The gateway's process becomes Caddy (exec), so that its pid is Caddy's own: what kills it leaves nothing on its port.
Caddy knows no lifeline. So the process is forked before that, and its child waits for the end of the pipe.
"""

import os
import select
import signal
from typing import Final

VARIABLE: Final = "ORDERS_LIFELINE_FD"
_LOOK_EVERY: Final = 1.0  # seconds between two looks whether Caddy is still there


def begin() -> None:
    """Fork the companion, if `ORDERS_LIFELINE_FD` names the read end of a supervisor's pipe."""
    if VARIABLE not in os.environ:
        return
    lifeline, gateway = int(os.environ[VARIABLE]), os.getpid()
    if os.fork() == 0:
        _watch(lifeline, gateway)
        os._exit(0)


def _watch(lifeline: int, gateway: int) -> None:
    """Return once the gateway is gone; send it SIGTERM at the end of the pipe."""
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # it ends with the gateway, and not before
    while os.getppid() == gateway:
        readable, _, _ = select.select([lifeline], [], [], _LOOK_EVERY)
        if readable and not os.read(lifeline, 64):
            if os.getppid() == gateway:
                os.kill(gateway, signal.SIGTERM)
            return
