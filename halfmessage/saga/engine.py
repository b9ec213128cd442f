"""The engine: any number of instances, of which any goes on where another died.

tables = saga_tables(metadata)
engine = Engine(database, tables, ids, [returns])
engine.run("return", key="1234", value={"order_id": "1234"})   # start it and drive it, in this thread
engine.sweep()                                                 # every second or so: what is due, of any instance
"""

import os
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from halfmessage import failpoints
from halfmessage.clock import Watch, now_ms
from halfmessage.db import Transactor
from halfmessage.errors import Conflict, DuplicateRow, HalfMessageError, Misconfigured
from halfmessage.ids import IdSource
from halfmessage.saga.definition import Saga
from halfmessage.saga.driver import Driver
from halfmessage.saga.errors import ClaimLost
from halfmessage.saga.log import Log
from halfmessage.saga.means import Means, Trouble
from halfmessage.saga.model import LONGEST_KEY, Run, RunState, StepRow, Tables
from halfmessage.saga.plan import Delay

RUNS: Final = 32
"""Runs that one sweep looks for; it claims each as it comes to it."""
LEASE: Final = 30.0
"""Seconds after which a run is taken over from an instance that wrote nothing down meanwhile."""
ALERT_AFTER: Final = 5
"""Failures of a step after which, and after each as many more, the alert is told."""
_APART: Final = 5000  # ms that the clocks of two machines may differ by
_MARGIN: Final = 1.0  # seconds of a lease beyond its longest step

log = structlog.get_logger()


def unheard(_trouble: Trouble) -> None:
    """Be an alert that is not heard; the log has it all the same."""


def asleep(_run_id: int) -> None:
    """Be a wake-up call that wakes nothing: runs are driven by sweeps alone."""


def nothing_to_keep() -> None:
    """Be the `keep` of a run that no message drives."""


class Engine:
    """One instance. Thread-safe; has no thread of its own."""

    def __init__(
        self,
        database: Transactor,
        tables: Tables,
        ids: IdSource,
        sagas: Sequence[Saga],
        *,
        name: str = "saga",
        lease: float = LEASE,
        delay: Delay | None = None,
        wake: Callable[[int], object] = asleep,
        alert: Callable[[Trouble], object] = unheard,
        alert_after: int = ALERT_AFTER,
    ) -> None:
        """Take the definitions; of one name, the first is that of new runs, the others are for runs started earlier.

        `name`: the prefix of its failpoints. `lease` in seconds. `wake` is told of runs that are due at once, see
        `halfmessage.saga.waking`; it raises nothing. Raise `Misconfigured` where a step may take longer than the lease.
        """
        longest = max((saga.longest_step for saga in sagas), default=0.0)
        if longest + _MARGIN > lease:
            raise Misconfigured(f"A step may take {longest:g} s, so a lease must be {longest + _MARGIN:g} s at least.")
        if alert_after < 1:
            raise Misconfigured("An alert is told after 1 failure at least.")
        self.database, self.log, self.wake = database, Log(tables), wake
        self.sagas: Mapping[str, Saga] = {saga.definition: saga for saga in sagas}
        self._new = {saga.name: saga for saga in reversed(sagas)}
        self._ids = ids
        self._owner = f"{socket.gethostname()[:24]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._name = name
        delay = delay or Delay()
        self._clock = Watch()
        self._means = Means(database, self.log, name, int(lease * 1000), delay, alert, alert_after)

    def begin(
        self, connection: Connection, saga: str, key: str, value: Any = None, *, deadline: int | None = None
    ) -> int:
        """Start a run in your own transaction: it runs if, and only if, that is committed. Return its id.

        After the commit, call `wake(run_id)` or `drive(run_id)`; else a sweep finds it. `key` is yours: a saga has one
        run of each. `deadline` (ms since the epoch) of what it is a part of: a run never has a later one.
        Raise `Conflict` where there is a run of this key, `StateTooLarge`, `Misconfigured`; or, where two begin it at
        once, the database's error of a duplicate, which `Transactor.transact` makes a `DuplicateRow`.
        """
        if self.log.of_key(connection, saga, key) is not None:
            raise Conflict(f"There is a run of {saga} with the key {key}.")
        run = self._made(saga, key, value, deadline)
        self.log.insert(connection, run)
        return run.run_id

    def start(self, saga: str, key: str, value: Any = None, *, deadline: int | None = None) -> int:
        """Start a run, to be driven by the first instance that is woken; return its id. Repeated, it returns the same.

        Raises as `begin` does, `Conflict` where the run of this key has another input; or what the database raises.
        """
        run_id, _ = self._started(self._made(saga, key, value, deadline))
        self.wake(run_id)
        return run_id

    def run(self, saga: str, key: str, value: Any = None, *, deadline: int | None = None) -> Run:
        """Start a run and drive it in this thread, until it ends or has to wait; return it. Raises as `start` does.

        Where there is a run of this key already, return it as it is, driven on if it is due.
        """
        made = self._made(saga, key, value, deadline, owner=self._owner)
        run_id, is_new = self._started(made)
        if not is_new:
            self.drive(run_id)
        else:
            failpoints.hit(f"{self._name}.claimed")
            self._go(made, nothing_to_keep)
        return self._found(run_id)

    def _started(self, run: Run) -> tuple[int, bool]:
        """Write a new run; or return that of its key. Whether it is new comes with it."""
        try:
            self.database.transact(lambda connection: self.log.insert(connection, run))
        except DuplicateRow:
            with self.database.read() as connection:
                found = self.log.of_key(connection, run.saga, run.key)
            if found is None:
                raise  # an id that was issued twice
            if (first := self._found(found)).input != run.input:
                raise Conflict(f"The run of {run.saga} with the key {run.key} has another input.") from None
            return first.run_id, False
        failpoints.hit(f"{self._name}.started")
        return run.run_id, True

    def _made(self, name: str, key: str, value: Any, deadline: int | None, *, owner: str | None = None) -> Run:
        saga = self._new.get(name)
        if saga is None:
            raise Misconfigured(f"There is no saga {name}; known: {', '.join(sorted(self._new))}")
        if not 0 < len(key) <= LONGEST_KEY:
            raise Misconfigured(f"The key of a run has 1 to {LONGEST_KEY} characters.")
        now = now_ms()
        latest = now + int(saga.deadline * 1000)
        return Run(
            run_id=self._ids.next(),
            saga=name,
            key=key,
            definition=saga.definition,
            state=RunState.RUNNING,
            epoch=1 if owner else 0,
            owner=owner,
            due_at=now + self._means.lease if owner else now,
            deadline_at=latest if deadline is None else min(latest, deadline),
            stalls=0,
            input=value,
            reason=None,
            created_at=now,
            ended_at=None,
            steps=dict.fromkeys(saga.steps, StepRow()),
        )

    def _found(self, run_id: int) -> Run:
        with self.database.read() as connection:
            (run,) = self.log.find(connection, [run_id])
        return run

    def drive(self, run_id: int, keep: Callable[[], None] = nothing_to_keep) -> bool:
        """Take a run if it is due, and drive it until it ends or has to wait; tell whether it was taken.

        `keep` is called between steps. Raise what the database raises; the run is taken again once its claim is over.
        """
        now, known = now_ms(), tuple(self.sagas)

        def claim(connection: Connection) -> Run | None:
            return self.log.claim(connection, run_id, known, self._owner, now, now + self._means.lease)

        run = self.database.transact(claim)
        if run is None:
            return False
        failpoints.hit(f"{self._name}.claimed")
        self._means.tell(run, None, run.stalls - 1, "instances ended in the middle of it, and wrote nothing down")
        self._go(run, keep)
        return True

    def _go(self, run: Run, keep: Callable[[], None]) -> None:
        try:
            with Driver(self._means, self.sagas[run.definition], run, keep) as driver:
                driver.go()
        except ClaimLost:
            log.info("a run was taken over", saga=run.saga, run_id=run.run_id)

    def sweep(self, *, stop: Callable[[], bool] = lambda: False) -> int:
        """Drive runs that are due, of any instance; return how many were taken: where it is 0, there was nothing to do.

        A run that fails does not hold up the others. Raise `DatabaseUnavailable` where it can't be looked.
        """
        self._clock.follow(self._bring_near)
        with self.database.read() as connection:
            due = self.log.due(connection, tuple(self.sagas), now_ms(), RUNS)
        taken = 0
        for run_id in due:
            if stop():
                break
            try:
                taken += self.drive(run_id)
            except HalfMessageError as error:
                log.warning("a run is left until its claim is over", run_id=run_id, reason=error.detail)
        return taken

    def _bring_near(self) -> None:
        """Have runs be due now that are due later than they could have been put off by now, some at a time.

        Under a right clock there are none. Of a run that another instance drives the claim ends, as after its lease.
        """
        while True:
            latest = now_ms() + max(self._means.lease, self._means.longest) + _APART
            with self.database.read() as connection:
                far = self.log.far(connection, latest, RUNS)
            if not far:
                return
            self.database.transact(partial(self.log.bring_near, run_ids=far, latest=latest, now=now_ms()))
            log.warning("the clock went back: runs of the future are due now", runs=len(far))
