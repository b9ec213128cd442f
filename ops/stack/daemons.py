"""Processes that outlive the command that started them: known by pid *and* start, so that no other is ever hit.

A pid is used again one day, perhaps after a reboot, by a stranger. A process is the one we started only if the kernel
says that it started in the same boot at the same tick (proc(5): /proc/PID/stat, field 22), and that it holds a file of
this very data directory open (`ops.belonging`): pid files are copied with it.
"""

import json
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from common.logfile import rotate
from halfmessage.clock import now_ms
from ops.belonging import LOCK, Home, belongs, boot
from ops.errors import CommandFailed, NotInTime
from ops.stack.plan import write_private
from ops.waiting import wait_for

_ENDED = frozenset("ZX")  # states of proc(5): a zombie, dead
_KILLED_WITHIN = 30.0  # seconds the kernel may take


@dataclass(frozen=True, slots=True)
class Program:
    """What to run: the file, the words (the first is the name it is told), the variables on top of ours."""

    file: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, for ever: `ticks` and `boot` tell it from a later one with its pid; `since` in ms.

    `root` is the data directory that it was started with; empty: by a release that did not tell.
    """

    pid: int
    ticks: int
    boot: str
    since: int
    root: str = ""


class Daemon:
    """One server of a data directory: its pid file is `run/NAME.json`, its output `log/NAME.log`."""

    def __init__(self, name: str, data_dir: Path) -> None:
        """Name it; nothing is started."""
        self.name, self._root = name, data_dir
        self.log = data_dir / "log" / f"{name}.log"
        self._file = data_dir / "run" / f"{name}.json"

    def identity(self) -> Identity | None:
        """Return the process that was started last, running or not. Raise `CommandFailed` on a broken pid file."""
        try:
            return Identity(**json.loads(self._file.read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError) as error:
            raise CommandFailed(f"{self._file} can't be read; end {self.name} by hand, then remove it.") from error

    def running(self) -> Identity | None:
        """Return the process if it runs, and belongs to this data directory."""
        known = self.identity()
        if known is None or not is_running(known):
            return None
        # earlier releases had only the log open
        return known if belongs(known.pid, self._root / LOCK, self.log) else None

    def is_elsewhere(self, known: Identity) -> bool:
        """Whether our process was started at a path that this data directory has been moved from since."""
        return bool(known.root) and not Home.of(self._root).is_at(Path(known.root))

    def start(self, program: Program) -> Identity:
        """Start the process in a session of its own and write its pid file. Raise `CommandFailed`.

        It is not called while the process runs: the caller holds the stack's lock and looked.
        """
        with suppress(OSError):
            rotate(self.log)
        try:
            pid = _spawn(program, self.log, self._root / LOCK)
        except OSError as error:
            raise CommandFailed(f"{self.name} could not be started: {program.file}: {error.strerror}.") from error
        found = _look(pid)
        if found is None:  # only if somebody else waits for our children
            raise CommandFailed(f"{self.name} ended as soon as it started; see {self.log}.")
        identity = Identity(pid, found[1], boot(), now_ms(), str(self._root))
        write_private(self._file, json.dumps(asdict(identity)) + "\n")
        return identity

    def signal(self, signum: int) -> Identity | None:
        """Send a signal to the process if it runs; return it."""
        known = self.running()
        if known is not None:
            _signal(known, signum)
        return known

    def forget(self) -> None:
        """Remove the pid file of a process that was stopped; one that died by itself keeps it, and counts as dead."""
        self._file.unlink(missing_ok=True)

    def kill(self) -> Identity | None:
        """End the process with SIGKILL and return once it is gone; None if none ran. Raise `NotInTime`."""
        known = self.signal(signal.SIGKILL)
        if known is not None:
            self.wait_gone(known, within=_KILLED_WITHIN)
        return known

    def wait_gone(self, known: Identity, *, within: float) -> None:
        """Return once a process ended. Raise `NotInTime`."""
        what = f"{self.name} (process {known.pid}) to end"
        wait_for(what, lambda: not is_running(known), within=within, every=0.02)

    def wait_stopped(self, known: Identity, *, within: float) -> bool:
        """Wait for a process that was asked to end; kill it after `within` seconds and return False."""
        try:
            self.wait_gone(known, within=within)
        except NotInTime:
            self.kill()
            return False
        return True


def is_running(known: Identity) -> bool:
    """Whether exactly this process runs; one that ended and was not reaped (a zombie) does not."""
    found = _look(known.pid)
    if known.boot != boot() or found is None or found[1] != known.ticks:
        return False
    return found[0] not in _ENDED or not _is_over(known.pid)


def _signal(known: Identity, signum: int) -> None:
    """Send through a descriptor of the process, so that its pid can't be given away between the look and the signal."""
    try:
        descriptor = os.pidfd_open(known.pid)
    except ProcessLookupError:
        return
    try:
        if is_running(known):
            signal.pidfd_send_signal(descriptor, signum)
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)


def _spawn(program: Program, log: Path, mark: Path) -> int:
    """Start without a Popen object: no one waits for it, and it is to live on when we end.

    It holds `mark` open, as its descriptor 3.
    """
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
        (os.POSIX_SPAWN_OPEN, 3, str(mark), os.O_RDONLY | os.O_CREAT, 0o600),
    ]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **program.environment}
    return os.posix_spawn(
        program.file, list(program.arguments), environment, file_actions=actions, setsid=True,
        setsigdef=(signal.SIGINT, signal.SIGPIPE, signal.SIGHUP), setsigmask=(),
    )  # fmt: skip


def _is_over(pid: int) -> bool:
    """Whether a zombie's last thread ended, too: it holds its ports and files until then. Reaps it if it is ours."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:  # of another command
        pass
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir())) <= 1
    except FileNotFoundError:
        return True


def _look(pid: int) -> tuple[str, int] | None:
    """Return the state of a process, and when it started in clock ticks since the boot; None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # from field 3 on; the name before may hold anything
    return fields[0], int(fields[19])
