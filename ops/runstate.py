"""`run/lock` and `run/state.json`: who supervises a data directory, and how its processes are."""

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
    """What `run/state.json` holds; `supervisor` is the pid of the supervisor, None once it stopped."""

    supervisor: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    processes: tuple[ProcessState, ...] = ()


def save(path: Path, state: RunState) -> None:
    """Replace the state file at once: whoever reads sees the old state or the new one. Raise OSError."""
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.touch(0o600)  # it may hold the passwords of servers
    draft.write_text(json.dumps(asdict(state), indent=2) + "\n", encoding="utf-8")
    draft.replace(path)


def load(path: Path) -> RunState | None:
    """Read the state file; None if there is none. Raise `CommandFailed` if it can't be understood."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        processes = tuple(ProcessState(**{**p, "state": Phase(p["state"])}) for p in raw["processes"])
        return RunState(raw["supervisor"], raw["settings"], processes)
    except FileNotFoundError:
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
        """Return the pid of the process that holds the lock, None if nobody does."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with contextlib.closing(os.fdopen(descriptor, "rb")) as file:
            if _try_lock(descriptor, fcntl.LOCK_SH):
                return None
            return int(file.read(20) or b"0")


def _try_lock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
