"""Drills that are started here: one at a time, as a command on a deployment of its own, for a bounded time.

All that is known of a drill lies in its folder, so that a console that was started again, or a second one, tells the
same. The lock is the drill's: it holds it as long as it lives, whatever becomes of the console.
"""

import fcntl
import json
import shutil
import subprocess  # nosec B404 - our own command; the drill's name is one of a list
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from common.replacing import replace_file
from console.service.breaking import Fault, Step, known, named
from console.service.commands import environment, last_words
from console.story import Story, StoryError, read_file
from halfmessage.clock import now_ms
from halfmessage.errors import Conflict, HalfMessageError, NotFound, Unavailable

LONGEST: Final = 300.0  # seconds of one drill
KEPT: Final = 20  # drills whose reports are kept
SHOWN: Final = 200  # events of a page
_STOPPED_WITHIN: Final = 10.0  # seconds for an interrupted drill to stop its deployment
_LARGEST: Final = 20 << 20  # bytes of a report, or of what a drill told
_CLONE: Final = Path(__file__).resolve().parents[2]  # where `lab` is, which is not installed
_STRETCH: Final = 4  # times as long to be settled as on a machine that does nothing else: the deployment is on it, too
COMMAND: Final = (sys.executable, "-m", "lab", "drill", f"--stretch={_STRETCH}")

log = structlog.get_logger()


class DrillRuns(Conflict):
    """A drill is under way; see how it ends, then start another."""

    slug, title = "drill-runs", "A drill is under way"


@dataclass(frozen=True, slots=True)
class Drill:
    """A drill that was started: of `step` with `fault`, by whom and when (ms since the epoch).

    `result`: what its report says of it, None where there is none (yet); `failure`: why there will be none.
    """

    drill_id: int
    step: Step
    fault: Fault
    who: str
    began_at: int
    is_running: bool
    result: Mapping[str, Any] | None
    failure: str


class Drills:
    """The drills of one deployment's data directory. Thread-safe, and so are several consoles."""

    def __init__(self, folder: Path, *, command: Sequence[str] = COMMAND, longest: float = LONGEST) -> None:
        """Keep reports in `folder`, which is made when it is needed; a drill ends in `longest` seconds."""
        self._folder, self._command, self._longest = folder, command, longest
        self._guard = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def start(self, drill_id: int, name: str, who: str, *, ended: Callable[[Drill], object]) -> None:
        """Begin a drill under an id of its own; `ended` is told of its end.

        Raise `Malformed` for a name that is none, `DrillRuns`, or `Unavailable` where it can't be started.
        """
        named(name)
        with self._guard:
            try:
                self._folder.mkdir(exist_ok=True)
                with (self._folder / "lock").open("ab") as lock:
                    _take(lock.fileno())
                    self._process = process = self._begin(drill_id, name, who, lock.fileno())
            except OSError as error:
                raise Unavailable(f"The drill could not be started: {error.strerror}.") from error
            self._thread = threading.Thread(
                target=self._wait, args=(drill_id, process, ended), name="drilling", daemon=True
            )
            self._thread.start()

    def running(self) -> Drill | None:
        """Return the drill that is under way."""
        newest = next(iter(self._ids()), None)
        if newest is None or not self._is_locked():
            return None
        return self._read(newest, is_running=True)

    def all(self) -> list[Drill]:
        """Return the drills that are kept, the newest first."""
        is_locked = self._is_locked()
        found = (self._read(one, is_running=is_locked and not number) for number, one in enumerate(self._ids()))
        return [drill for drill in found if drill is not None]

    def one(self, drill_id: int) -> Drill:
        """Return a drill. Raise `NotFound`."""
        ids = self._ids()
        found = self._read(drill_id, is_running=drill_id == ids[0] and self._is_locked()) if drill_id in ids else None
        if found is None:
            raise NotFound("There is no such drill; the newest are kept.")
        return found

    def events(self, drill_id: int) -> list[Mapping[str, Any]]:
        """Return what a drill did and saw so far, the first `SHOWN`: `at`, `kind` and `text` of each."""
        lines = _bytes(self._folder / str(drill_id) / "events.jsonl").split(b"\n")
        return [json.loads(line) for line in lines[:-1][:SHOWN]]  # the last one is empty, or not whole yet

    def story(self, drill_id: int) -> Story | None:
        """Return the story of a drill's order so far; None: nothing is known of one, or another release told it."""
        told = _bytes(self._folder / str(drill_id) / _FILES["story"])
        try:
            return read_file(told.decode(errors="replace")) if told else None
        except StoryError:
            return None

    def story_file(self, drill_id: int) -> bytes:
        """Return the file of a drill's story so far, as it was written. Raise `NotFound`."""
        if self.story(drill_id) is None:
            raise NotFound("This drill has no story, or one that can't be read here.")
        return _bytes(self._folder / str(drill_id) / _FILES["story"])

    def page(self, drill_id: int) -> bytes:
        """Return a drill's report as it was written, one HTML page. Raise `NotFound`."""
        html = _bytes(self._folder / str(drill_id) / "report.html")
        if not html:
            raise NotFound("This drill has no report.")
        return html

    def close(self) -> None:
        """Interrupt the drill that was started here and is under way, which then stops its deployment."""
        with self._guard:
            process, thread = self._process, self._thread
        if process is not None and process.poll() is None:
            process.terminate()
        if thread is not None:
            thread.join(_STOPPED_WITHIN)

    def _begin(self, drill_id: int, name: str, who: str, lock: int) -> subprocess.Popen[bytes]:
        folder = self._folder / str(drill_id)
        folder.mkdir()
        asked = {"drill": name, "who": who, "began_at": now_ms()}
        replace_file(folder / "asked.json", json.dumps(asked).encode())
        for old in self._ids()[KEPT:]:
            shutil.rmtree(self._folder / str(old), ignore_errors=True)
        into = [f"--{what}={folder / file}" for what, file in _FILES.items()]
        with (folder / "output.txt").open("wb") as output:
            return subprocess.Popen(  # noqa: S603 # nosec B603 - see the import
                [*self._command, *into, "--brief", name],
                cwd=_CLONE,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(lock,),
            )

    def _wait(self, drill_id: int, process: subprocess.Popen[bytes], ended: Callable[[Drill], object]) -> None:
        try:
            process.wait(self._longest)
        except subprocess.TimeoutExpired:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOPPED_WITHIN)
            process.kill()
            process.wait()
            why = f"It did not end within {self._longest:g} s, and was stopped."
            (self._folder / str(drill_id) / "stopped.txt").write_text(why, encoding="utf-8")
        drill = self._read(drill_id, is_running=False)
        if drill is None:  # somebody deleted its folder, or damaged what is in it
            log.warning("it is not known how a drill ended", drill_id=drill_id)
            return
        log.info("drilled", drill=drill.fault.drill, who=drill.who, failure=drill.failure)
        try:
            ended(drill)
        except HalfMessageError as error:
            log.warning("the end of a drill was not written down", reason=error.detail)

    def _ids(self) -> list[int]:
        """Return the ids of all drills that are kept, the newest first."""
        asked = self._folder.glob("[0-9]*/asked.json")
        return sorted((int(file.parent.name) for file in asked), reverse=True)

    def _is_locked(self) -> bool:
        try:
            with (self._folder / "lock").open("rb") as lock:
                _take(lock.fileno(), fcntl.LOCK_SH)
        except DrillRuns:
            return True
        except OSError:
            return False
        return False

    def _read(self, drill_id: int, *, is_running: bool) -> Drill | None:
        """Return a drill; None: what was asked for can't be read. A report that is damaged counts as missing."""
        folder = self._folder / str(drill_id)
        try:
            asked = json.loads(_bytes(folder / "asked.json"))
            name, who, began_at = asked["drill"], asked["who"], asked["began_at"]
        except _DAMAGED:
            return None
        step, fault = known(name)
        result = None if is_running else _result(folder)
        failure = "" if is_running or result else _why(folder)
        return Drill(drill_id, step, fault, who, began_at, is_running, result, failure)


_DAMAGED: Final = (ValueError, KeyError, IndexError, TypeError)  # of JSON that was cut, or is another's


def _result(folder: Path) -> Mapping[str, Any] | None:
    """Return what a drill's report says of it."""
    try:
        result: Mapping[str, Any] = json.loads(_bytes(folder / "report.json"))["drills"][0]
    except _DAMAGED:
        return None
    return result


_FILES: Final[Mapping[str, str]] = {
    "json": "report.json",
    "html": "report.html",
    "events": "events.jsonl",
    "story": "story.html",
}


def _take(descriptor: int, kind: int = fcntl.LOCK_EX) -> None:
    """Take the lock of drills. Raise `DrillRuns`."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DrillRuns from None


def _bytes(file: Path) -> bytes:
    """Return what a file holds, nothing where it is missing or too large."""
    try:
        with file.open("rb") as opened:
            found = opened.read(_LARGEST + 1)
    except OSError:
        return b""
    return found if len(found) <= _LARGEST else b""


def _why(folder: Path) -> str:
    """Return why a drill ended without a report."""
    stopped = _bytes(folder / "stopped.txt").decode()
    return (
        stopped or f"It ended without a report. It said last: {last_words(_bytes(folder / 'output.txt')) or 'nothing'}"
    )
