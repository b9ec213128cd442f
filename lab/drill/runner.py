"""Plays drills: one by one in a slot, or many in several slots side by side."""

import platform
import threading
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from queue import SimpleQueue
from traceback import format_exception, format_exception_only

from halfmessage.clock import now_ms
from halfmessage.errors import BrokerError, HalfMessageError
from lab.drill.drill import SECONDS_MORE, Drill, Limit
from lab.drill.drill_run import DrillRun
from lab.drill.event_log import NotStaged
from lab.drill.pending import console
from lab.drill.result import Event, Kind, Result
from lab.drill.slot import Slot
from lab.drill.sut import SystemUnderTest
from lab.drill.watching import keep, watched
from lab.judge.invariant import Invariant
from lab.judge.judge import Judge

Tell = Callable[[str, Event], None]
"""Told what happens as it happens: the drill's name, and the event."""

_STAGINGS = 3  # at most; a busy machine fails one in some hundred
_SWEEP_BY_DEFAULT = 60.0  # seconds, as in common.config


def play(
    drill: Drill,
    slot: Slot,
    tell: Tell = lambda *_: None,
    *,
    repeat: str = "",
    stretch: float = 1.0,
    story_file: Path | None = None,
) -> Result:
    """Play one drill and return what came of it. A deployment on which one failed is kept, and not used again.

    `stretch` multiplies the limit, for a machine that is busy with something else. One whose situation did not come
    about is played again on a new deployment, `_STAGINGS` times in all. `story_file`: where the story of its order is
    kept, so far as it is known, while it runs.
    """
    for _ in range(_STAGINGS - 1):
        try:
            return _play(drill, slot, tell, repeat, stretch, story_file)
        except NotStaged as error:
            tell(drill.name, Event(now_ms(), Kind.STEP, f"{error.detail} It is played again."))
            slot.drop()
    return _play(drill, slot, tell, repeat, stretch, story_file, last=True)


def _play(
    drill: Drill, slot: Slot, tell: Tell, repeat: str, stretch: float, story_file: Path | None, *, last: bool = False
) -> Result:
    result = _blank(drill, slot, repeat, stretch)
    began = time.monotonic()
    run: DrillRun | None = None
    try:
        sut = slot.sut(drill.profile)
        run = DrillRun(sut, slot.backing, result.limit, lambda event: tell(drill.name, event), stretch=stretch)
        with watched(run, story_file):
            drill.play(run)
            if run.recovery is None:
                run.settle()
    except HalfMessageError as error:
        if isinstance(error, NotStaged) and not last:
            raise
        result.reason = error.detail
    except Exception as error:  # noqa: BLE001 - a drill's edge: whatever it raises is its verdict, the others go on
        result.reason = "".join(format_exception_only(error)).strip()
        (slot.directory / "traceback.txt").write_text("".join(format_exception(error)), encoding="utf-8")
    result.took = time.monotonic() - began
    if run is not None:
        _write_down(result, run, story_file)
    _clear_up(result, drill, slot, run)
    return result


def _blank(drill: Drill, slot: Slot, repeat: str, stretch: float) -> Result:
    if drill.limit is Limit.SWEEP:
        interval = float(drill.profile.extra.get("sweep_interval", _SWEEP_BY_DEFAULT))
    else:
        interval = slot.backing.check_interval(drill.profile)
    limit = (interval + SECONDS_MORE) * stretch
    words = f"{drill.limit.value} ({interval:g} s) + {SECONDS_MORE:g} s"
    if stretch != 1.0:
        words += f", {stretch:g} times as long on this machine"
    return Result(drill.name, drill.breaks, drill.where, drill.holds, now_ms(), limit, words, repeat=repeat)


def _write_down(result: Result, run: DrillRun, story_file: Path | None) -> None:
    result.events, result.recovery = run.events, run.recovery
    try:
        result.order_id = run.concerns()
        result.story = run.story()
        keep(result.story, story_file)
        look = run.rest() if result.passed else run.look()
        judged = look.invariants or Judge.of(run.sut.deployment).invariants()
        result.invariants = [*judged, _quiet(run.sut, look.left)]
    except HalfMessageError as error:  # a failed drill may have left nothing to ask
        result.reason = result.reason or error.detail
    broken = list(dict.fromkeys(line for invariant in result.invariants for line in invariant.broken))
    if broken and result.reason is None:
        result.reason = "; ".join(broken[:5])


def _quiet(sut: SystemUnderTest, left: Sequence[str]) -> Invariant:
    """Judge the messages; `left` is what is still on its way, in words."""
    name = "once quiet, no half message is open and no dead letter lies unseen"
    try:
        stats = console(sut.deployment, sut.broker).stats()
    except BrokerError:  # its client can't look
        return Invariant(name, {"on their way": len(left)}, list(left))
    figures = {"half": stats.half, "parked": stats.parked, "dead": stats.dead, "on their way": len(left)}
    return Invariant(name, figures, list(left))


def _clear_up(result: Result, drill: Drill, slot: Slot, run: DrillRun | None) -> None:
    if result.passed and run is not None and drill.profile.shared:
        try:
            run.disarm()
        except HalfMessageError:  # the drill passed all the same; the next one gets another deployment
            slot.drop()
        return
    if not result.passed:
        result.evidence = str(slot.directory)
    slot.drop(keep=not result.passed)


class DrillQueue:
    """The drills that are still to be played; several lanes take from it."""

    def __init__(self, drills: Sequence[Drill]) -> None:
        """Take them in the order of the catalogue."""
        self._left = list(drills)
        self._lock = threading.Lock()

    def take(self, slot: Slot) -> Drill | None:
        """Return the next drill: one for the deployment that runs, if there is any; None: all are taken."""
        with self._lock:
            fitting = (drill for drill in self._left if drill.profile is slot.profile)
            lonely = (drill for drill in self._left if not drill.profile.shared)
            found = next(fitting, None) or next(lonely, None) or next(iter(self._left), None)
            if found is not None:
                self._left.remove(found)
            return found

    def stop(self) -> None:
        """Begin no other drill."""
        with self._lock:
            self._left.clear()


def play_all(
    drills: Sequence[Drill],
    slots: Sequence[Slot],
    tell: Tell,
    *,
    repeat: Callable[[Drill], str] = lambda _: "",
    stretch: float = 1.0,
    story_file: Path | None = None,
) -> Generator[Result]:
    """Play drills in several slots side by side; yield each result as it comes. Closes the slots."""
    queue = DrillQueue(drills)
    results: SimpleQueue[Result | None] = SimpleQueue()

    def lane(slot: Slot) -> None:
        try:
            while drill := queue.take(slot):
                results.put(play(drill, slot, tell, repeat=repeat(drill), stretch=stretch, story_file=story_file))
        finally:
            slot.close()
            results.put(None)

    threads = [threading.Thread(target=lane, args=(slot,), name=f"lane-{n}") for n, slot in enumerate(slots)]
    for thread in threads:
        thread.start()
    running = len(threads)
    try:
        while running:
            result = results.get()
            if result is None:
                running -= 1
            else:
                yield result
    finally:
        queue.stop()
        for thread in threads:
            thread.join()


def system() -> str:
    """Return what the drills run on, in words."""
    return f"{platform.system()} {platform.release()}, Python {platform.python_version()}"


__all__ = ["Kind", "play", "play_all", "system"]
