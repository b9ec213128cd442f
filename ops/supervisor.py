"""Runs the processes of a deployment, and keeps them running, until it is told to stop.

Used by the command line and, as a library, by the demo and the tests. The processes end when the supervisor does,
whatever it died of: each inherits the read end of a pipe (the lifeline) whose write end only the supervisor has.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ops import runstate
from ops.belonging import Home, open_mark
from ops.child import Child, Patience, ProcessSpec
from ops.runstate import ProcessState, RunLock, RunState
from ops.waiting import wait_for

_GAVE_UP_AFTER = 3  # starts again before a process was ever ready
_READY_WITHIN = 90.0  # seconds; a start takes 2 of them, and 25 were seen where ten others wanted the processor


class Supervisor:
    """The processes of one data directory."""

    def __init__(
        self,
        data_dir: Path,
        specs: Sequence[ProcessSpec],
        *,
        is_ready: Callable[[ProcessSpec], bool],
        settings: Mapping[str, Any] | None = None,
        say: Callable[[str], None] = print,
        patience: Patience | None = None,
    ) -> None:
        """Take what to run, in the order of stopping. `is_ready` is asked again and again, `say` told what happened.

        `settings` are kept in `run/state.json`, where commands find this deployment.
        """
        self._root, self._run, self._log = data_dir, data_dir / "run", data_dir / "log"
        self._settings = dict(settings or {})
        self._say = say
        self._lock = RunLock(self._run / "lock")
        self._writing = threading.Lock()
        self._home: Home | None = None
        self._lifeline: tuple[int, int] | None = None
        self._mark = -1
        self._children = {
            spec.name: Child(
                spec,
                self._log / f"{spec.name}.log",
                is_ready=is_ready,
                changed=self._write_state,
                say=say,
                patience=patience or Patience(),
            )
            for spec in specs
        }

    def lock(self) -> None:
        """Take the data directory for us; `start` does it too. Raise `AlreadyRunning`."""
        self._run.mkdir(parents=True, exist_ok=True)
        self._log.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        self._home = Home.of(self._root)

    def start(self) -> None:
        """Start every process. Raise `AlreadyRunning` if another supervisor runs this data directory."""
        self.lock()
        self._lifeline = os.pipe()
        self._mark = open_mark(self._root)
        for child in self._children.values():
            child.start(self._lifeline[0], self._mark)

    def stop(self) -> None:
        """Stop the processes one after the other, gracefully; return once all are gone. Again: nothing."""
        for child in self._children.values():
            child.retire()
        for child in self._children.values():
            child.stop()
        if self._lifeline is not None:
            self._write_state(supervisor=None)
            for descriptor in (*self._lifeline, self._mark):
                os.close(descriptor)
            self._lifeline = None
        self._lock.release()

    def restart(self, name: str, *, extra_env: Mapping[str, str] | None = None) -> None:
        """Start a process anew, with `extra_env` on top for this one start (later ones are clean again)."""
        self._children[name].restart(extra_env or {})

    def kill(self, name: str, signum: int) -> None:
        """Send a signal to a process."""
        self._children[name].kill(signum)

    def hold(self, name: str) -> None:
        """Leave a process down when it ends next, as a machine that is lost; until `release` or `restart`."""
        self._children[name].hold(held=True)

    def release(self, name: str) -> None:
        """Keep a process running again, and start it if it ended meanwhile."""
        self._children[name].hold(held=False)

    def pid(self, name: str) -> int | None:
        """Return the pid of a process, None while there is none."""
        return self._children[name].state.pid

    def states(self) -> tuple[ProcessState, ...]:
        """Return how every process is."""
        return tuple(child.state for child in self._children.values())

    def wait_ready(self, name: str | None = None, *, within: float = _READY_WITHIN) -> None:
        """Return once a process, or all of them, are ready. Raise `NotInTime`; also when one dies at every start."""
        children = [child for key, child in self._children.items() if name in {None, key}]
        for child in children:
            child.wait_ready(within, give_up_after=_GAVE_UP_AFTER)

    def wait_gone(self, pid: int, *, within: float = 30.0) -> None:
        """Return once the process `pid` is gone, reaped, and not told of any more. Raise `NotInTime`."""

        def is_gone() -> bool:  # reaped, it would for a moment still count as ready, and be taken for its successor
            return not is_alive(pid) and all(state.pid != pid for state in self.states())

        wait_for(f"process {pid} to end", is_gone, within=within, every=0.01)

    def _write_state(self, **changes: Any) -> None:
        with self._writing:
            state = RunState(changes.get("supervisor", os.getpid()), self._settings, self.states(), self._home)
            try:
                runstate.save(self._run / "state.json", state)
            except OSError as error:  # the processes matter more than the file that tells of them
                self._say(f"The state file could not be written: {error}")


def is_alive(pid: int) -> bool:
    """Whether a process with this pid runs; one that ended and was not reaped (a zombie) does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # gone meanwhile, or a system without /proc: then zombies can't be told
        return not Path("/proc/self").exists()
    return status.rpartition(")")[2].split()[0] != "Z"
