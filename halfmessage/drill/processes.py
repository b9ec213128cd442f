"""The processes of a drill: copies, by fork(2), of one that has loaded what they are all made of.

Loading takes a second of processor time, and each step has three processes; the service itself is loaded in each of
them anew. https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LOADED = ("halfmessage.drill.child", "sqlalchemy.orm", "flask", "fastapi")
"""Of no effect where it is not installed. None of them starts a thread, which a copy would not have."""
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(list(_LOADED))


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: `status` as of `multiprocessing.Process.exitcode`, None where it did not within its time."""

    status: int | None
    out: str
    log: str


def run(does: Callable[[Any], None], job: object, where: Path, limit: float) -> Ended:
    """Run a function in a process of its own, in the directory `where`; kill it after `limit` seconds.

    `does` is a function of a module, and `job` can be pickled. What it writes lies beside `where` meanwhile.
    """
    out, log = (where.with_name(f"{where.name}.{stream}") for stream in ("out", "log"))
    process = _CONTEXT.Process(target=_be, args=(does, job, dict(os.environ), where, out, log))
    process.start()
    try:
        process.join(limit)
        status = process.exitcode
    finally:
        process.kill()
        process.join()
        process.close()
    try:
        return Ended(status, *(each.read_text(errors="replace") if each.exists() else "" for each in (out, log)))
    finally:
        for each in (out, log):
            each.unlink(missing_ok=True)


def _be(
    does: Callable[[Any], None], job: object, environment: Mapping[str, str], where: Path, out: Path, log: Path
) -> None:
    """Be as a program that was started there."""
    for stream, path in ((1, out), (2, log)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, stream)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(where)
    sys.argv = ["halfmessage-drill"]
    does(job)
