"""Runs `orders reconcile` beside the console: one run at a time, for a bounded time, in a process of its own.

It is the command that a person would type: there is one comparison, and it tells the same here.
"""

import json
import subprocess  # nosec B404 - our own command, with arguments that no client sends
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Final

import structlog

from console.service.commands import environment, last_words
from halfmessage.clock import now_ms
from halfmessage.errors import Conflict, ConsoleUnavailable, HalfMessageError

LONGEST: Final = 300.0  # seconds of one run, a repair included
LARGEST: Final = 4 << 20  # bytes of its answer: it tells of at most 1,000 findings
_FOUND_SOMETHING: Final = 1  # its exit code

log = structlog.get_logger()


class RunsAlready(Conflict):
    """A comparison runs already; see what it finds."""

    slug, title = "runs-already", "Runs already"


@dataclass(frozen=True, slots=True)
class Report:
    """What a comparison found: the JSON of `orders reconcile --json`."""

    told: Mapping[str, Any]

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return self.told["clean"] is True

    @property
    def is_cut(self) -> bool:
        """Whether it tells of fewer findings than it counts."""
        return bool(sum(self.told["counts"].values()) > len(self.told["findings"]))

    def of_participant(self, name: str) -> Sequence[Mapping[str, Any]]:
        """Return what was found about what a participant holds."""
        return [finding for finding in self.told["findings"] if finding["participant"] == name]


@dataclass(frozen=True, slots=True)
class Run:
    """One run; times in ms since the epoch. `ended_at` None: it runs. `failure`: why there is no report."""

    began_at: int
    who: str
    repairs: bool
    ended_at: int | None = None
    report: Report | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether the invariants of a participant held when they were last looked at; None: not looked at yet."""

    participant: str
    holds: bool | None
    found: int
    at: int | None


class Reconciling:
    """The last run, and the one that is under way. Thread-safe."""

    def __init__(self, command: Sequence[str] | None, *, longest: float = LONGEST) -> None:
        """Take the command that compares (`command_of`), None where there is none; a run ends in `longest` seconds."""
        self._command, self._longest = command, longest
        self._guard = threading.Lock()
        self._running: Run | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._last: Run | None = None
        self._last_report: Run | None = None

    @property
    def is_possible(self) -> bool:
        """Whether the deployment can be compared from here."""
        return self._command is not None

    def start(self, who: str, *, repairs: bool, ended: Callable[[Run], object]) -> None:
        """Begin a run; `ended` is told of its end.

        Raise `RunsAlready`, or `ConsoleUnavailable` where there is no data directory.
        """
        if self._command is None:
            raise ConsoleUnavailable("The console does not know the deployment's data directory: see docs/console.md.")
        run = Run(now_ms(), who, repairs)
        with self._guard:
            if self._running is not None or self._closed:
                raise RunsAlready
            self._running = run
            self._thread = threading.Thread(
                target=self._go, args=(run, self._command, ended), name="reconciling", daemon=True
            )
            self._thread.start()

    def now(self) -> tuple[Run | None, Run | None]:
        """Return the run that is under way, and the last one that ended."""
        with self._guard:
            return self._running, self._last

    def standings(self, participants: Sequence[str]) -> list[Standing]:
        """Return whether each participant's invariants held at the last comparison that came to an end."""
        with self._guard:
            last = self._last_report
        if last is None or last.report is None:
            return [Standing(name, None, 0, None) for name in participants]
        compared = last.report.told["participants"]
        return [_standing(name, last.report, last.ended_at, is_known=name in compared) for name in participants]

    def close(self) -> None:
        """End the run that is under way."""
        with self._guard:
            self._closed = True
            if self._process is not None:
                self._process.kill()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _go(self, run: Run, command: Sequence[str], ended: Callable[[Run], object]) -> None:
        report, failure = self._run([*command, *(["--repair"] if run.repairs else [])])
        done = Run(run.began_at, run.who, run.repairs, now_ms(), report, failure)
        with self._guard:
            self._running, self._process, self._last = None, None, done
            if report is not None:
                self._last_report = done
        log.info("compared", who=run.who, repairs=run.repairs, failure=failure)
        try:
            ended(done)
        except HalfMessageError as error:
            log.warning("the end of a comparison was not written down", reason=error.detail)

    def _run(self, command: Sequence[str]) -> tuple[Report | None, str]:
        try:
            with TemporaryFile() as out, TemporaryFile() as complaints:
                return self._told(command, out, complaints)
        except OSError as error:
            return None, f"It could not be started: {error.strerror}."

    def _told(self, command: Sequence[str], out: IO[bytes], complaints: IO[bytes]) -> tuple[Report | None, str]:
        """Run a command; return what it wrote into these files. Raise `OSError`."""
        with self._guard:
            if self._closed:
                return None, "The console ended."
            self._process = process = subprocess.Popen(  # noqa: S603 # nosec B603 - see the import
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=complaints, env=environment()
            )
        try:
            code = process.wait(self._longest)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None, f"It did not end within {self._longest:g} s, and was stopped."
        out.seek(0)
        complaints.seek(0)
        if code not in {0, _FOUND_SOMETHING}:
            return None, _last_words(complaints.read(LARGEST), code)
        return _read(out.read(LARGEST + 1), complaints.read(LARGEST))


_PARTS: Final = ("clean", "checked", "participants", "counts", "findings", "under_way", "sent_back", "swept")


def command_of(data_dir: Path) -> list[str]:
    """Return the command that compares a deployment."""
    return [sys.executable, "-m", "ops", "reconcile", "--json", "--data-dir", str(data_dir)]


def _read(answer: bytes, complaints: bytes) -> tuple[Report | None, str]:
    if len(answer) > LARGEST:
        return None, f"Its answer is longer than {LARGEST} bytes."
    try:
        told = json.loads(answer)
        report = Report({name: told[name] for name in _PARTS})
    except (ValueError, KeyError, TypeError):
        return None, _last_words(complaints, _FOUND_SOMETHING)
    return report, ""


def _last_words(complaints: bytes, code: int) -> str:
    return last_words(complaints) or f"It ended with exit code {code} and said nothing."


def _standing(name: str, report: Report, at: int | None, *, is_known: bool) -> Standing:
    if not is_known:
        return Standing(name, None, 0, None)
    found = [finding for finding in report.of_participant(name) if finding["gravity"] != "in progress"]
    is_certain = bool(found) or not report.is_cut
    return Standing(name, not found if is_certain else None, len(found), at)
