"""One step at a time: tasks that take turns as a seed says, on a clock that jumps to the next timer.

A task is a greenlet of a simulated process. It runs until it blocks, sleeps or pauses; what runs next is drawn. What is
left of a process that was killed is never resumed before the run is over, and is refused everything then (`Dead`), so
that its `finally` blocks change nothing.
"""

import heapq
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from random import Random
from threading import get_ident
from typing import Any, Final

from greenlet import GreenletExit, getcurrent, greenlet

BEGIN: Final = 1_800_000_000_000_000_000
"""When every run begins, in ns since the epoch: in 2027, so that ids can tell it."""

_STEP: Final = 20_000  # ns that a step takes
_MOST_STEPS: Final = 400_000  # of one run: some 100 times as many as one takes; more is a loop that never ends
_OVER: Final = 50  # throws at a task that won't end: each `finally` of it may swallow one


class Dead(BaseException):
    """Raised in a process that is not there any more. No `except Exception` takes it for a failure."""


class TooLong(Exception):
    """The run takes more steps than any should."""


class Process:
    """One life of a simulated process: its tasks, and whether it is alive."""

    def __init__(self, name: str, life: int = 1) -> None:
        """Take the name of its service, and which of its lives it is."""
        self.name = name
        self.service = name.partition("-")[0]
        """Which service it is one of the processes of."""
        self.life = life
        self.is_alive = True
        self.frozen_until = 0
        self.at_death: list[Callable[[], None]] = []
        self.use_cases: dict[str, Any] = {}
        """What its requests are worked on by, by name."""


class Task:
    """A thread of a simulated process."""

    __slots__ = ("greenlet", "is_blocked", "name", "process", "ticket", "was_woken")

    def __init__(self, process: Process, name: str) -> None:
        """Take whose it is, and its name."""
        self.process = process
        self.name = name
        self.ticket = 0
        """How often it has blocked: a timer of an earlier time is none of its business."""
        self.is_blocked = False
        self.was_woken = False
        self.greenlet: Any = None


class Scheduler:
    """Runs tasks. Times are in ns since the epoch."""

    def __init__(self, seed: int) -> None:
        """Take the seed: of who is next, and of all chance that the code asks for."""
        self.random = Random(seed)
        self.now = BEGIN
        self.current: Task | None = None
        self.steps = 0
        self._hub = getcurrent()
        self._ready: list[Task] = []
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = count()
        self._all: list[Task] = []

    def spawn(self, process: Process, name: str, work: Callable[[], object]) -> Task:
        """Have a new task of a process run `work`. What that raises ends the run, unless it is `Dead`."""
        task = Task(process, name)

        def body() -> None:
            with suppress(Dead, GreenletExit):
                work()

        task.greenlet = greenlet(body, self._hub)
        self._all.append(task)
        self._ready.append(task)
        return task

    def living(self) -> Task:
        """Return the task that runs. Raise `Dead` where it should not: its process is gone, or the run is over."""
        task = self.current
        if task is None or not task.process.is_alive:
            raise Dead
        return task

    def block(self, until: int | None) -> bool:
        """Have the running task wait until it is woken, or until a time; return whether it was woken."""
        task = self.living()
        task.ticket += 1
        task.is_blocked, task.was_woken = True, False
        if until is not None:
            ticket = task.ticket
            self.at(until, lambda: self._expire(task, ticket))
        self._hub.switch()
        return task.was_woken

    def wake(self, task: Task) -> None:
        """Let a task that blocks go on; one whose time has just come, and that has not run since, was woken as well."""
        task.was_woken = True
        if task.is_blocked and task.process.is_alive:
            task.is_blocked = False
            self._ready.append(task)

    def pause(self) -> None:
        """Let others run before the running task goes on."""
        self._ready.append(self.living())
        self._hub.switch()

    def sleep(self, seconds: float) -> None:
        """Have the running task wait so many seconds."""
        self.block(self.now + max(0, int(seconds * 1e9)))

    def at(self, when: int, call: Callable[[], None]) -> None:
        """Call something at a time, outside of any task."""
        heapq.heappush(self._timers, (when, next(self._numbers), call))

    def kill(self, process: Process) -> None:
        """End a process at once: its memory is gone, and what others wait for from it never comes."""
        process.is_alive = False
        self._ready = [task for task in self._ready if task.process is not process]
        for call in process.at_death:
            call()

    def leave(self) -> None:
        """Go on elsewhere: the running task's process was killed. Never returns."""
        self._hub.switch()
        raise Dead

    def run(self, is_over: Callable[[], bool]) -> None:
        """Run until it `is_over`, which is asked after each timer, or until nothing is left to be done.

        Raise `TooLong`, and what any task raises.
        """
        while True:
            while self._timers and self._timers[0][0] <= self.now:
                heapq.heappop(self._timers)[2]()
                if is_over():
                    return
            if self._ready:
                self._step()
            elif self._timers:
                self.now = self._timers[0][0]
            else:
                return

    def _step(self) -> None:
        self.steps += 1
        if self.steps > _MOST_STEPS:
            raise TooLong
        self.now += _STEP
        ready = self._ready
        place = int(self.random.random() * len(ready)) if len(ready) > 1 else 0
        task = ready[place]
        ready[place] = ready[-1]
        ready.pop()
        thaws = task.process.frozen_until
        if thaws > self.now:
            self.at(thaws, lambda: self._thaw(task))
            return
        self.current = task
        task.greenlet.switch()
        self.current = None

    def _expire(self, task: Task, ticket: int) -> None:
        if task.is_blocked and task.ticket == ticket and task.process.is_alive:
            task.is_blocked = False
            self._ready.append(task)

    def _thaw(self, task: Task) -> None:
        if task.process.is_alive:
            self._ready.append(task)

    def close(self) -> None:
        """End what is left of all tasks; no `finally` block of theirs has any effect."""
        self.current = None
        for task in self._all:
            for _ in range(_OVER):
                if task.greenlet.dead:
                    break
                with suppress(BaseException):
                    task.greenlet.throw(GreenletExit)
        self._all.clear()


active: Scheduler | None = None
"""The scheduler of the run in this interpreter: there is one at a time, as there is one clock."""
_thread: int | None = None  # in which it runs


def is_ours() -> bool:
    """Whether this thread is the run's: one that was there before meets the simulated names, too, and is none of it."""
    return get_ident() == _thread


def the() -> Scheduler:
    """Return the scheduler of the run. Raise `Dead` where there is none, and in threads of others."""
    if active is None or not is_ours():
        raise Dead
    return active


def activate(scheduler: Scheduler | None) -> None:
    """Make it the scheduler of the run that begins, or none: it is over."""
    global active, _thread
    active, _thread = scheduler, None if scheduler is None else get_ident()
