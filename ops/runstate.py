"""`run/lock` and `run/state.json`: who supervises a data directory, and how its processes are.

Both are copied with the directory. The lock is not: the kernel keeps it for the file itself, not for its name.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from ops.belonging import Home, holds_open
from ops.errors import AlreadyRunning, CommandFailed

_LOCK_PATIENCE = 0.5  # seconds; a glance of `holder` at the lock must not look like a supervisor


class Phase(StrEnum):
    """Where a supervised process is."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One process; `since` is when it entered its state (RFC 3339), `restarts` counts its starts after the first."""

    name: str
    port: int
    state: Phase = Phase.STOPPED
    pid: int | None = None
    restarts: int = 0
    since: str = ""


@dataclass(frozen=True, slots=True)
class RunState:
    """What `run/state.json` holds; `supervisor` is the pid of the supervisor, None once it stopped.

    `home` is the directory that it was written for; None: by a release that did not tell.
    """

    supervisor: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    processes: tuple[ProcessState, ...] = ()
    home: Home | None = None

    def is_of(self, root: Path) -> bool:
        """Whether it tells of this directory, and not of one that this is a copy of."""
        return self.home is None or self.home.is_at(root)


def save(path: Path, state: RunState) -> None:
    """Replace the state file at once: a reader sees the old state or the new one. Raise OSError."""
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.touch(0o600)  # it may hold the passwords of servers
    draft.write_text(json.dumps(asdict(state), indent=2) + "\n", encoding="utf-8")
    draft.replace(path)


def load(path: Path) -> RunState | None:
    """Read the state file; None if there is none. Raise `CommandFailed` if it can't be understood."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        processes = tuple(ProcessState(**{**p, "state": Phase(p["state"])}) for p in raw["processes"])
        home = Home(**raw["home"]) if raw.get("home") else None
        return RunState(raw["supervisor"], raw["settings"], processes, home)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise CommandFailed(f"{path} can't be read as the state of a deployment; remove it, then try again.") from error


class RunLock:
    """Held by the supervisor as long as it lives: the kernel gives a flock back whatever its holder dies of."""

    def __init__(self, path: Path) -> None:
        """Name the lock file; nothing is locked yet."""
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock and write our pid into it; again: nothing. Raise `AlreadyRunning` if it is held."""
        if self._descriptor is not None:
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + _LOCK_PATIENCE
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                os.close(descriptor)
                raise AlreadyRunning(f"{self._path.parent.parent} is run by process {self.holder()} already.")
            time.sleep(0.02)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; again: nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> int | None:
        """Return the pid of the process that holds the lock, None if none does.

        Raise `AlreadyRunning` where it is held and its holder can't be told.
        """
        deadline = time.monotonic() + _LOCK_PATIENCE
        while True:
            if (pid := self._look()) is None or _is_holder(pid, self._path):
                return pid
            if time.monotonic() >= deadline:
                raise AlreadyRunning(f"{self._path} is locked, but not by process {pid}, which it names.")
            time.sleep(0.02)  # who has just taken it has not written its pid yet

    def _look(self) -> int | None:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        with contextlib.closing(os.fdopen(descriptor, "rb")) as file:
            if _try_lock(descriptor, fcntl.LOCK_SH):
                return None
            text = file.read(20).strip()
        return int(text) if text.isdigit() else 0


def _is_holder(pid: int, lock: Path) -> bool:
    """Whether the process has the file open; one of another user, which we can't see, is believed."""
    try:
        return pid > 0 and holds_open(pid, lock)
    except PermissionError:
        return True


def _try_lock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
