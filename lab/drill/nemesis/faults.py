"""Carries out the faults of a plan on the system under test, those of one target one after the other."""

import resource
import signal
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass

from halfmessage.clock import now_ms
from halfmessage.errors import HalfMessageError
from halfmessage.mq.port import Resolution, State
from lab.drill.nemesis.linked_sut import LinkedSystem
from lab.drill.nemesis.plan import ALL, TIMEOUTS, Fault, Kind
from lab.drill.nemesis.regimes import PROCESSES
from lab.drill.pending import console
from lab.drill.real import Real

_NEVER = 0.0
_REPEATED = 20  # messages
_OUT = frozenset({State.READY, State.IN_FLIGHT, State.DONE})
"""States of messages that consumers may see, or have seen."""


@dataclass(frozen=True, slots=True)
class Injection:
    """A fault as it went: `began` and `ended` in seconds since the clients began, `skipped` why it was left out."""

    fault: Fault
    began: float
    ended: float
    skipped: str = ""


class FaultInjector:
    """Carries out faults."""

    def __init__(self, sut: LinkedSystem, now: Callable[[], float]) -> None:
        """Inject into `sut`; `now` tells the seconds since the clients began."""
        self._sut, self._now = sut, now
        self._supervisor = sut.supervisor
        self._ways: Mapping[Kind, Callable[[Fault], AbstractContextManager[None]]] = {
            Kind.KILL: self._killed,
            Kind.PAUSE: self._paused,
            Kind.RESTART: self._restarted,
            Kind.OUTAGE: self._gone,
            Kind.DISK: self._unwritable,
            Kind.REPEAT: self._repeated,
            Kind.CUT: self._cut,
            Kind.REFUSE: lambda fault: sut.board.refused(fault.target),
            Kind.SLOW: lambda fault: sut.board.slowed(fault.target, float(fault.settings["delay"])),
            Kind.HANG: lambda fault: sut.board.held(fault.target),
            Kind.LOSE_ANSWERS: lambda fault: sut.board.answers_lost(fault.target),
        }

    def arm_failpoints(self, faults: Sequence[Fault]) -> list[Injection]:
        """Restart each process that is to fail at a failpoint, with that armed, and wait until it is ready."""
        armed = []
        for fault in faults:
            if fault.kind is Kind.FAILPOINT:
                self._supervisor.restart(fault.target, extra_env=_environment(fault))
                self._sut.wait_ready()
                self._sut.armed[fault.target] = self._supervisor.pid(fault.target)
                armed.append(Injection(fault, _NEVER, _NEVER))
        return armed

    def inject(self, faults: Sequence[Fault]) -> list[Injection]:
        """Carry out all faults but those at failpoints, each at its time; return when the last of them is over."""
        queues: defaultdict[str, list[Fault]] = defaultdict(list)
        for fault in sorted(faults, key=lambda fault: fault.at):
            if fault.kind is not Kind.FAILPOINT:
                queues[fault.target].append(fault)
        with ThreadPoolExecutor(max(1, len(queues))) as pool:
            injections = [injection for found in pool.map(self._in_turn, queues.values()) for injection in found]
        return sorted(injections, key=lambda injection: injection.began)

    def _in_turn(self, faults: Sequence[Fault]) -> list[Injection]:
        return [self._inject_one(fault) for fault in faults]

    def _inject_one(self, fault: Fault) -> Injection:
        threading.Event().wait(max(_NEVER, fault.at - self._now()))
        began, skipped = self._now(), ""
        try:
            with self._ways[fault.kind](fault):
                threading.Event().wait(fault.seconds)
        except (HalfMessageError, OSError, sqlite3.OperationalError) as error:
            skipped = str(error) or type(error).__name__
        return Injection(fault, began, self._now(), skipped)

    @contextmanager
    def _killed(self, fault: Fault) -> Iterator[None]:
        self._supervisor.kill(fault.target, signal.SIGKILL)
        yield

    @contextmanager
    def _paused(self, fault: Fault) -> Iterator[None]:
        send = self._to_process if fault.target in PROCESSES else self._to_server
        send(fault.target, signal.SIGSTOP)
        try:
            yield
        finally:
            send(fault.target, signal.SIGCONT)

    def _to_process(self, target: str, signum: int) -> None:
        self._supervisor.kill(target, signum)

    def _to_server(self, target: str, signum: int) -> None:
        self._real().stack.signal(target, signum)

    @contextmanager
    def _restarted(self, fault: Fault) -> Iterator[None]:
        self._supervisor.restart(fault.target, extra_env=_environment(fault))
        yield

    @contextmanager
    def _gone(self, fault: Fault) -> Iterator[None]:
        if isinstance(self._sut.backing, Real):
            stack = self._sut.backing.stack
            stack.kill(fault.target)
            try:
                yield
            finally:
                stack.start(fault.target)
            return
        with self._sut.backing.outage(fault.target, self._sut.directory):
            yield

    @contextmanager
    def _unwritable(self, fault: Fault) -> Iterator[None]:
        """Let no write of a process to any file succeed, as on a full disk (prlimit(2), RLIMIT_FSIZE)."""
        processes = PROCESSES if fault.target == ALL else (fault.target,)
        pids = [pid for pid in map(self._supervisor.pid, processes) if pid is not None]
        for pid in pids:
            _limit_files(pid, 1)
        try:
            yield
        finally:
            for pid in pids:
                _limit_files(pid, None)

    @contextmanager
    def _cut(self, fault: Fault) -> Iterator[None]:
        self._sut.board.cut(fault.target)
        yield

    @contextmanager
    def _repeated(self, fault: Fault) -> Iterator[None]:
        """Send the newest messages of a topic again, as a broker does that lost track of what it delivered."""
        producer = self._sut.broker.producer("order")
        for view in console(self._sut.deployment, self._sut.broker).find(topic=fault.target, limit=_REPEATED):
            if view.state in _OUT and view.resolution is not Resolution.ROLLBACK:  # others no group was to get
                if fault.target == TIMEOUTS:
                    producer.send_at(view.message, now_ms())
                else:
                    producer.send(view.message)
        yield

    def _real(self) -> Real:
        assert isinstance(self._sut.backing, Real)  # noqa: S101 - plans name servers only for real ones
        return self._sut.backing


def _limit_files(pid: int, largest: int | None) -> None:
    """Allow a process files of so many bytes; None: as large as it may ever have."""
    with suppress(ProcessLookupError):  # it was killed meanwhile
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if largest is None else largest, hard))


def _environment(fault: Fault) -> dict[str, str]:
    return {f"ORDERS_{name.upper()}": value for name, value in fault.settings.items()}
