"""One run under way in one instance: call what is ready, write down what it said, until it ends or has to wait."""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Final, Self

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, ProgrammingError

from halfmessage import failpoints
from halfmessage.clock import now_ms
from halfmessage.errors import BelowZero, DatabaseUnavailable, DuplicateRow, RowRefused
from halfmessage.saga import plan
from halfmessage.saga.definition import Call, Direction, Local, Outside, Saga
from halfmessage.saga.means import Means, tried
from halfmessage.saga.model import OPEN, Run, RunState, StepState
from halfmessage.saga.plan import Answer

BRANCHES: Final = 8
"""Steps of one run that are called at once; others wait for their turn."""

log = structlog.get_logger()


@dataclass(slots=True)
class Driver:
    """Drives a run that was claimed. Used as a context manager, which ends its threads."""

    means: Means
    saga: Saga
    run: Run
    keep: Callable[[], None]
    _pool: ThreadPoolExecutor | None = None
    _busy: dict[Future[Answer], tuple[str, Direction]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def go(self) -> Run:
        """Go on until the run ends or has to wait; return it.

        Raise `ClaimLost` (another goes on), or what the database raises: the claim ends by itself, and is taken again.
        """
        while True:
            self._turn_if_late()
            if self.run.state in OPEN:
                self._call_ready()
            if self._busy:
                self._hear()
            elif self.run.state not in OPEN:
                return self.run
            elif not plan.ready(self.saga, self.run, now_ms(), self.means.longest):
                return self._put_off()
            self.keep()

    def _turn_if_late(self) -> None:
        now = now_ms()
        if plan.late(self.saga, self.run, now):
            self._write(plan.turned(self.saga, self.run, "its deadline is over", now), "turned")

    def _call_ready(self) -> None:
        """Call steps that are ready: one alone in this thread, several outside ones at once."""
        busy = {step for step, _ in self._busy.values()}
        names = plan.ready(self.saga, self.run, now_ms(), self.means.longest, busy)
        outside = [name for name in names if isinstance(self.saga.steps[name], Outside)]
        local = [name for name in names if name not in outside]
        if len(outside) == 1 and not local and not self._busy:
            self._note(outside[0], self._direction, self._outside(outside[0], self._call(outside[0])))
            return
        for name in outside[: BRANCHES - len(busy)]:
            self._pool = self._pool or ThreadPoolExecutor(BRANCHES, thread_name_prefix=f"{self.means.name}-branch")
            self._busy[self._pool.submit(self._outside, name, self._call(name))] = name, self._direction
        if local:
            self._local(local[0])  # the others are looked at again after it: it may have turned the run

    def _hear(self) -> None:
        """Wait for one answer at least, and write down what has come."""
        heard, _ = wait(self._busy, return_when=FIRST_COMPLETED)
        for future in heard:
            step, direction = self._busy.pop(future)
            self._note(step, direction, future.result())

    @property
    def _direction(self) -> Direction:
        return Direction.DO if self.run.state is RunState.RUNNING else Direction.UNDO

    def _call(self, name: str) -> Call:
        run, step, direction = self.run, self.saga.steps[name], self._direction
        latest = now_ms() + int(step.within * 1000)
        if direction is Direction.DO and plan.may_turn(self.saga, run):
            latest = min(latest, run.deadline_at)
        results = {each: row.result for each, row in run.steps.items() if row.state is StepState.DONE}
        return Call(
            run.run_id, run.saga, run.key, name, direction, run.input, results, run.steps[name].tries + 1, latest
        )

    def _outside(self, name: str, call: Call) -> Answer:
        step = self.saga.steps[name]
        assert isinstance(step, Outside)  # noqa: S101 # nosec B101 - for the type checker
        work = step.do if call.direction is Direction.DO else step.undo
        answer = tried(lambda: work(call) if work else None, call)
        failpoints.hit(f"{self.means.name}.answered")
        return answer

    def _local(self, name: str) -> None:
        """Run a local step: its rows and the log in one transaction."""
        call, direction = self._call(name), self._direction
        step = self.saga.steps[name]
        assert isinstance(step, Local)  # noqa: S101 # nosec B101 - for the type checker
        work = step.do if direction is Direction.DO else step.undo
        after = self.run

        def transaction(connection: Connection) -> None:
            nonlocal after
            held = self._held(self.run)
            self.means.log.hold(connection, held)  # the lock on the run: from here on it can't be taken over
            answer = tried(lambda: work(connection, call) if work else None, call, leave=DBAPIError)
            if answer.kind != "done":
                raise _RolledBack(answer)
            after = plan.after(self.saga, held, name, answer, now_ms(), self.means.delay)
            self.means.log.write(connection, self.run, after)
            failpoints.hit(f"{self.means.name}.before_commit")

        try:
            self.means.database.transact(transaction)
        except _RolledBack as rolled_back:
            self._note(name, direction, rolled_back.answer)
        except (DuplicateRow, RowRefused, BelowZero) as error:
            self._note(name, direction, Answer("failed", error=f"{type(error).__name__}: {error.detail}"))
        except DatabaseUnavailable as error:
            if not isinstance(error.__cause__, ProgrammingError):
                raise
            # The database is well: the step's statement is wrong, and would be each time.
            self._note(name, direction, Answer("failed", error=f"ProgrammingError: {error.__cause__.orig}"))
        else:
            self.run = after
            failpoints.hit(f"{self.means.name}.recorded")

    def _note(self, step: str, direction: Direction, answer: Answer) -> None:
        """Write down how a try ended."""
        if direction is not self._direction:  # the run turned back meanwhile: only its compensation may need the result
            if answer.kind == "done":
                row = replace(self.run.steps[step], state=StepState.DONE, result=answer.result)
                self.run = plan.with_step(self.run, step, row)
            return
        after = plan.after(self.saga, self.run, step, answer, now_ms(), self.means.delay)
        has_turned = after.state is RunState.UNDOING and self.run.state is RunState.RUNNING
        self._write(after, "turned" if has_turned else "recorded")
        if answer.kind != "done":
            tries, error = self.run.steps[step].tries, answer.error or ""
            log.warning("a step did not succeed", saga=self.run.saga, run_id=self.run.run_id, step=step, reason=error)
            self.means.tell(self.run, step, tries, error)

    def _put_off(self) -> Run:
        """Let the run go until its next try."""
        due_at = plan.next_look(self.saga, self.run)
        self._write(replace(self.run, due_at=due_at, owner=None, stalls=0), "put_off", holds=False)
        return self.run

    def _held(self, run: Run) -> Run:
        return replace(run, stalls=0, due_at=now_ms() + self.means.lease) if run.state in OPEN else run

    def _write(self, after: Run, point: str, *, holds: bool = True) -> None:
        after = self._held(after) if holds else after

        def record(connection: Connection) -> None:
            self.means.log.write(connection, self.run, after)
            failpoints.hit(f"{self.means.name}.before_commit")

        self.means.database.transact(record)
        self.run = after
        failpoints.hit(f"{self.means.name}.{point}")


class _RolledBack(Exception):
    """A local step did not succeed, so that its transaction is rolled back."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.answer = answer
