"""Every point at which a simulated process may switch, be held up, fail, or die."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from halfmessage.errors import FailpointRaised
from lab.simulate.faults import Fault, Trigger
from lab.simulate.history import History
from lab.simulate.scheduler import Process, Scheduler, Task

_SWITCHES: Final = (0.02, 0.1, 0.3)
"""How often a point is where the scheduler switches; one of them for a whole run."""
_FAILS: Final = 0.5
"""How many statements fail while a database, or the broker, does."""


class Injector:
    """Strikes as a run's faults say, each once; a fault is of one place and one passage of it."""

    def __init__(self, scheduler: Scheduler, history: History, faults: Sequence[Fault]) -> None:
        """Take what runs the tasks, where it is told, and what goes wrong."""
        self._scheduler = scheduler
        self._history = history
        self._faults: dict[tuple[Trigger, str, int], Fault] = {
            (one.trigger, one.place, one.nth): one for one in faults if one.trigger is not Trigger.TIME
        }
        self._counted = {key[:2] for key in self._faults}
        self._passages: Counter[tuple[Trigger, str]] = Counter()
        self._switches = scheduler.random.choice(_SWITCHES)
        self.is_calm = False
        """Whether nothing goes wrong any more."""
        self.struck: list[Fault] = []
        self.crash: Callable[[Process], None] = scheduler.kill
        """Ends a process, and starts it again later."""
        self.forget: Callable[[], None] = _nothing
        """Has the broker lose what it has not delivered."""
        self._held: dict[Task, None] = {}
        self._armed: dict[Task, Fault] = {}
        self._ends: dict[tuple[str, str], int] = {}

    def tell(self, what: str, **more: object) -> None:
        """Write down what happens in the running task's process."""
        task = self._scheduler.current
        who = "world" if task is None else f"{task.process.name}/{task.process.life}"
        self._history.add(self._scheduler.now, who, what, **more)

    def struck_by(self, trigger: Trigger, place: str) -> Fault | None:
        """Count a passage; return what goes wrong at this one."""
        if (trigger, place) not in self._counted or self.is_calm:
            return None
        passed = self._passages[trigger, place] = self._passages[trigger, place] + 1
        fault = self._faults.get((trigger, place, passed))
        if fault is not None:
            self.strike(fault)
        return fault

    def strike(self, fault: Fault) -> None:
        """Write down that a fault strikes."""
        self.struck.append(fault)
        self.tell("fault", fault=str(fault))

    def struck_in_commit(self, place: str) -> Fault | None:
        """Count a COMMIT; return what goes wrong in it, by itself or since its thread has come by a failpoint."""
        fault = self.struck_by(Trigger.COMMIT, place)
        armed = self._armed.pop(self.living(), None)
        return fault or armed

    def begin_outage(self, fault: Fault) -> None:
        """Have what a fault says last from now on."""
        self._ends[fault.kind, fault.place] = self._scheduler.now + int(fault.seconds * 1e9)

    def is_out(self, kind: str, place: str) -> bool:
        """Tell whether an outage lasts."""
        return bool(self._ends) and not self.is_calm and self._ends.get((kind, place), 0) > self._scheduler.now

    def fails(self, kind: str, place: str) -> bool:
        """Tell whether a statement fails since an outage lasts: some do."""
        return self.is_out(kind, place) and self._scheduler.random.random() < _FAILS

    def living(self) -> Task:
        """Return the running task. Raise `Dead`."""
        return self._scheduler.living()

    def is_living(self) -> bool:
        """Tell whether a task runs whose process is there."""
        task = self._scheduler.current
        return task is not None and task.process.is_alive

    def die(self) -> None:
        """Crash the running process here. Never returns."""
        self.crash(self._scheduler.living().process)
        self._scheduler.leave()

    def switch(self) -> None:
        """Perhaps let others run."""
        if self._scheduler.random.random() < self._switches:
            self._scheduler.pause()

    def hold(self, seconds: float) -> None:
        """Hold the running task up."""
        self._scheduler.sleep(seconds)

    def hold_up(self, fault: Fault) -> None:
        """Hold the running task up as a fault says."""
        task = self.living()
        self._held[task] = None
        self.hold(fault.seconds)
        del self._held[task]

    def is_any_held(self) -> bool:
        """Tell whether a fault holds a task up whose process is there: it goes on some time."""
        return any(task.process.is_alive for task in self._held)

    def passed(self, point: str) -> None:
        """Pass a failpoint. Raise `FailpointRaised`."""
        self.living()
        self.tell("passed", point=point)
        fault = self.struck_by(Trigger.FAILPOINT, point)
        if fault is None:
            self._scheduler.pause()
        elif fault.kind == "crash":
            self.die()
        elif fault.kind == "raise":
            raise FailpointRaised(f"failpoint {point} raised")
        elif fault.kind in {"delay", "forget"}:
            if fault.kind == "forget":
                self.forget()
            self.hold_up(fault)
        else:
            self._armed[self.living()] = fault


def _nothing() -> None:
    pass
