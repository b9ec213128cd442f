"""Disks that are full, or fail: nothing is half written, and it goes on once there is room."""

import errno
import resource
from collections import Counter
from pathlib import Path

from lab.drill.drill import Drill, ServerKind
from lab.drill.drill_run import Broken, DrillRun
from lab.drill.profiles import QUICK, SMALL_DISK, SMALL_SERVERS

_MOST = 300  # orders until the disk must be felt: SQLite goes on in room that it has already
_CREATED, _UNAVAILABLE = 201, 503


def _full(run: DrillRun) -> None:
    run.stock(1000)
    kept = run.placed()
    ballast = run.sut.deployment.directory.root / "ballast"
    run.fault(f"the disk is full: {_fill(ballast)} MB of ballast on it")
    told = _place_until_refused(run)
    read = run.sut.orders(run.user)
    run.claim("reading goes on", any(order["order_id"] == kept for order in read))
    ballast.unlink()
    run.mended("there is room again")
    _goes_on(run, told)


def _failing(run: DrillRun) -> None:
    run.stock(1000)
    run.placed()
    pids = [run.supervisor.pid(process) or 0 for process in run.sut.deployment.plan.processes]
    _limit_files(pids, 1)
    run.fault("no process can write to any file any more (RLIMIT_FSIZE)")
    try:
        told = _place_until_refused(run)
    finally:
        _limit_files(pids, resource.RLIM_INFINITY)
    run.mended("files can be written again")
    _goes_on(run, told)


def _fill(ballast: Path) -> int:
    """Write until nothing more fits; return the megabytes."""
    block, written = bytes(64 * 1024), 0
    with ballast.open("wb", buffering=0) as file:
        while block:
            try:
                written += file.write(block)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                block = block[: len(block) // 2]
    return written // 2**20


def _limit_files(pids: list[int], largest: int) -> None:
    """Allow processes files of so many bytes at most (prlimit(2)); what is beyond can't be written."""
    for pid in pids:
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest, hard))


def _place_until_refused(run: DrillRun) -> Counter[int]:
    told: Counter[int] = Counter()
    while told[_UNAVAILABLE] < 3 and told.total() < _MOST:  # noqa: PLR2004 - three, to see that it stays so
        answer = run.sut.place(run.user, run.goods_id)
        if answer is None:
            raise Broken("A connection was cut: a full disk must be told, not die of.")
        told[answer.status] += 1
    run.say(f"answers to POST /orders: {', '.join(f'{number} times {status}' for status, number in told.items())}")
    run.same("answers that are neither 201 nor 503", told.total() - told[_CREATED] - told[_UNAVAILABLE], 0)
    run.claim("orders were refused while nothing could be written", told[_UNAVAILABLE])
    return told


def _goes_on(run: DrillRun, told: Counter[int]) -> None:
    run.settle()
    run.stands_with_stock(1000, *["created"] * (1 + told[_CREATED]))
    run.placed()
    run.say("an order is accepted again")
    run.settle()


DRILLS = (
    Drill(
        "disk-full",
        "the disk is full (a small tmpfs, filled; to mount one needs root)",
        "under the databases, the broker and the logs",
        "503 and nothing created, reading goes on; with room again everything agrees",
        _full,
        servers=ServerKind.EMBEDDED,
        profile=SMALL_DISK,
    ),
    Drill(
        "disk-full-of-servers",
        "the disk is full (a small tmpfs, filled; to mount one needs root)",
        "under RocketMQ, MariaDB and the logs",
        "503 and nothing created, reading goes on; with room again everything agrees",
        _full,
        servers=ServerKind.REAL,
        profile=SMALL_SERVERS,
    ),
    Drill(
        "disk-failing",
        "every write to a file fails (RLIMIT_FSIZE)",
        "in order, stock and goods",
        "503 and nothing created; when files can be written again everything agrees",
        _failing,
        servers=ServerKind.EMBEDDED,
        profile=QUICK,
    ),
)
