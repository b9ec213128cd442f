"""Keeping a process to one processor core.

One interpreter runs on one core at a time, but the kernel spreads its threads over all: each time the interpreter lock
changes hands, another core is woken for it. Kept to one core, an order costs a third less processor time
(docs/performance.md); a service that is to use several has several processes (`common.workers`).
"""

import os

import structlog

log = structlog.get_logger()


def at_hand() -> list[int]:
    """Return the cores that this process may use, as the kernel numbers them; none where it does not say (macOS)."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def keep_to(core: int) -> None:
    """Keep this thread, and the threads and processes that it starts from now on, to a core; if not allowed, log it."""
    if not hasattr(os, "sched_setaffinity"):
        return
    try:
        os.sched_setaffinity(0, {core})
    except OSError as error:  # not in this container's set of them
        log.warning("can't keep to a core", core=core, reason=error.strerror)
