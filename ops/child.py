"""One supervised process: started, watched until it is ready, started again when it dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from common.logfile import rotate
from halfmessage.clock import now_ms, rfc3339
from ops.errors import NotInTime
from ops.forking import OURS, Forked, NoForkServer
from ops.places import PACKAGES
from ops.runstate import Phase, ProcessState


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run: `command` with `environment` on top of ours; `port` is where it answers.

    `service`: one of ours that is the same, and that a fork server may start, with `modules` (see `ops.forking`).
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    port: int
    service: str | None = None
    modules: Sequence[str] = ()


def python_module(name: str, module: str, environment: Mapping[str, str], port: int) -> ProcessSpec:
    """Return the spec of `python -m module`, called `name`, run by the interpreter that runs us."""
    return ProcessSpec(name, (sys.executable, "-m", module), environment, port)


def our_service(
    name: str, service: str, environment: Mapping[str, str], port: int, modules: Sequence[str] = ()
) -> ProcessSpec:
    """Return the spec of an instance, called `name`, of a service of ours, which will want `modules`."""
    return replace(python_module(name, service, environment, port), service=service, modules=modules)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the supervisor waits, in seconds."""

    restart_first_after: float = 0.2
    restart_longest: float = 2.0  # longer, and what a crash left open is not settled in the time that is promised
    settled_after: float = 10.0  # a process that lived this long starts with the shortest delay again
    stop_within: float = 15.0
    probe_every: float = 0.05


class Child:
    """Keeps one process alive on a thread of its own, which sleeps in waitpid."""

    def __init__(
        self,
        spec: ProcessSpec,
        log: Path,
        *,
        is_ready: Callable[[ProcessSpec], bool],
        changed: Callable[[], None],
        say: Callable[[str], None],
        patience: Patience,
    ) -> None:
        """Take what to run; nothing runs before `start`. `changed` and `say` are called from the child's threads."""
        self._spec, self._log, self._patience = spec, log, patience
        self._is_ready, self._tell_change, self._say = is_ready, changed, say
        self._now = threading.Condition()
        self._state = ProcessState(spec.name, spec.port)
        self._process: subprocess.Popen[bytes] | Forked | None = None
        self._once: Mapping[str, str] | None = None  # set: a start was asked for, with this on top, for that start only
        self._deaths = 0
        self._retired = False
        self._held = False
        self._lifeline = self._mark = -1
        self._keeper = threading.Thread(target=self._keep, name=f"keep-{spec.name}", daemon=True)

    @property
    def state(self) -> ProcessState:
        """How the process is."""
        with self._now:
            return self._state

    def start(self, lifeline: int, mark: int) -> None:
        """Start the process and keep it; it inherits the descriptors `lifeline` and `mark` (see `ops.belonging`)."""
        self._lifeline, self._mark = lifeline, mark
        self._keeper.start()

    def wait_ready(self, within: float, *, give_up_after: int) -> None:
        """Return once the process is ready.

        Raise `NotInTime` after `within` seconds, or once it died `give_up_after` times while we waited.
        """
        with self._now:
            hopeless = self._deaths + give_up_after
            self._now.wait_for(lambda: self._state.state is Phase.READY or self._deaths >= hopeless, within)
            if self._state.state is not Phase.READY:
                waited = f"within {within:g} s" if self._deaths < hopeless else "but ended again and again"
                raise NotInTime(f"{self._spec.name} did not get ready {waited}; see {self._log}.")

    def restart(self, extra_env: Mapping[str, str]) -> None:
        """End the process and start it again, with `extra_env` on top for this one start; return once it started."""
        with self._now:
            old = self._process
            self._once = extra_env
            self._now.notify_all()
        if old is not None:
            self._end(old)
        with self._now:
            self._now.wait_for(lambda: self._once is None or self._retired)

    def kill(self, signum: int) -> None:
        """Send a signal to the process, if there is one."""
        with self._now:
            if self._process is not None:
                self._process.send_signal(signum)

    def hold(self, *, held: bool) -> None:
        """Don't start the process again once it ended (`restart` still does), or do so again."""
        with self._now:
            self._held = held
            self._now.notify_all()

    def retire(self) -> None:
        """From now on, don't start the process again."""
        with self._now:
            self._retired = True
            self._now.notify_all()

    def stop(self) -> None:
        """Ask the process to end (SIGTERM), make it end when it takes too long (SIGKILL), return once it is gone."""
        self.retire()
        process = self._process
        if process is not None:
            self._end(process)
        if self._keeper.ident is not None:
            self._keeper.join()

    def _end(self, process: subprocess.Popen[bytes] | Forked) -> None:
        process.terminate()
        with self._now:
            if self._now.wait_for(lambda: self._process is not process, self._patience.stop_within):
                return
        self._say(f"{self._spec.name} did not stop within {self._patience.stop_within:g} s: killing it")
        process.kill()
        with self._now:
            self._now.wait_for(lambda: self._process is not process)

    def _keep(self) -> None:
        delay = self._patience.restart_first_after
        while not self._retired:
            born = time.monotonic()
            how = self._live()
            if time.monotonic() - born >= self._patience.settled_after:
                delay = self._patience.restart_first_after
            if self._rest(how, delay):
                delay = min(2 * delay, self._patience.restart_longest)
        with self._now:
            self._enter(Phase.STOPPED)
        self._tell_change()

    def _live(self) -> str:
        """Run the process once; return how it ended."""
        try:
            process = self._spawn()
        except OSError as error:
            self._once = None
            return f"could not be started ({error})"
        if process is None:
            return "was not started"
        self._tell_change()
        threading.Thread(target=self._probe, args=(process,), name=f"probe-{self._spec.name}", daemon=True).start()
        code = process.wait()
        with self._now:
            self._process = None
            if not self._retired:
                self._enter(Phase.RESTARTING)
            self._now.notify_all()
        return f"(pid {process.pid}) {_death(code)}"

    def _spawn(self) -> subprocess.Popen[bytes] | Forked | None:
        """Start the process; None: it was retired meanwhile, and who retired it would not know of this one."""
        with suppress(OSError):
            rotate(self._log)  # of one that dies before it looks after its log itself
        with self._now, self._log.open("ab") as log:
            if self._retired:
                return None
            environment = {**os.environ, **self._spec.environment, **(self._once or {})}
            process = self._fork(environment, log.fileno()) or self._execute(environment, log.fileno())
            self._process, self._once = process, None
            self._enter(Phase.STARTING, process.pid, again=bool(self._state.since))
        return process

    def _fork(self, environment: Mapping[str, str], log: int) -> Forked | None:
        """Start the process by a fork server; None where that can't be."""
        spec = self._spec
        if spec.service is None:
            return None
        try:
            return OURS.spawn(
                spec.service, environment, spec.modules, log=log, lifeline=self._lifeline, mark=self._mark
            )
        except NoForkServer:
            return None

    def _execute(self, environment: Mapping[str, str], log: int) -> subprocess.Popen[bytes]:
        """Start the process by itself. Raise OSError."""
        return subprocess.Popen(
            self._spec.command,
            env={**environment, "ORDERS_LIFELINE_FD": str(self._lifeline)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=PACKAGES,  # `-m order` finds ours, whatever the current directory has
            pass_fds=(self._lifeline, self._mark),
            start_new_session=True,  # Ctrl-C at the terminal is the supervisor's to answer
        )

    def _probe(self, process: subprocess.Popen[bytes] | Forked) -> None:
        """Look until the process is ready or gone."""
        ready = False
        while not ready:
            with self._now:
                if self._now.wait_for(lambda: self._process is not process, self._patience.probe_every):
                    return
            ready = self._is_ready(self._spec)
        with self._now:
            if self._process is not process:
                return
            self._enter(Phase.READY, process.pid)
            restarts = self._state.restarts
        self._tell_change()
        if restarts:
            self._say(f"{self._spec.name} is ready again (pid {process.pid})")

    def _rest(self, how: str, delay: float) -> bool:
        """Return at once if the end of the process was asked for; else say it, and wait for `delay` or less."""
        with self._now:
            if self._retired or self._once is not None:
                return False
            self._deaths += 1
            held = self._held
            self._now.notify_all()
        self._tell_change()
        self._say(f"{self._spec.name} {how}; " + ("not started again" if held else f"starting it again in {delay:g} s"))
        with self._now:
            self._now.wait_for(lambda: self._retired or self._once is not None, 0 if held else delay)
            self._now.wait_for(lambda: self._retired or self._once is not None or not self._held)
        return True

    def _enter(self, phase: Phase, pid: int | None = None, *, again: bool = False) -> None:
        restarts = self._state.restarts + again
        self._state = replace(self._state, state=phase, pid=pid, restarts=restarts, since=rfc3339(now_ms()))
        self._now.notify_all()


def _death(code: int | None) -> str:
    if code is None:
        return "ended, after the process that started it: how is not known"
    return f"ended with exit code {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"
