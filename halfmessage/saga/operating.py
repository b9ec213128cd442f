"""What an operator does: list, show, retry, give up, skip. Each word is final, and fences the instance at work."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection

from halfmessage.clock import now_ms
from halfmessage.errors import Conflict, Misconfigured, NotFound
from halfmessage.saga import plan
from halfmessage.saga.definition import Saga
from halfmessage.saga.engine import Engine
from halfmessage.saga.errors import DefinitionChanged
from halfmessage.saga.model import LONGEST_REASON, OPEN, Run, RunState, StepState

MOST_LISTED: Final = 200
"""Runs on one page."""
MOST_PURGED: Final = 500
"""Runs that one call deletes, in one transaction."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many runs are open; how many of them are in trouble: a step failed, or instances ended, again and again."""

    open: int
    troubled: int


class Sagas:
    """The runs of one log."""

    def __init__(self, engine: Engine) -> None:
        """Take an engine of that log, for its definitions and its wake-up call."""
        self._engine, self._database, self._log = engine, engine.database, engine.log

    def list(
        self,
        states: Collection[RunState] = OPEN,
        *,
        saga: str | None = None,
        before: int | None = None,
        limit: int = MOST_LISTED,
    ) -> list[Run]:
        """Return runs in those states, newest first, up to `MOST_LISTED`; `before`: those below that id."""
        most = min(limit, MOST_LISTED)
        with self._database.read() as connection:
            found = self._log.page(connection, states=states, saga=saga, before=before, most=most)
            return self._log.find(connection, found)[::-1]

    def show(self, run_id: int) -> Run:
        """Return a run with its steps. Raise `NotFound`."""
        with self._database.read() as connection:
            return _one(self._log.find(connection, [run_id]))

    def of_key(self, saga: str, key: str) -> Run:
        """Return the run of a key with its steps. Raise `NotFound`."""
        with self._database.read() as connection:
            found = self._log.of_key(connection, saga, key)
            return _one(self._log.find(connection, [found] if found is not None else []))

    def counts(self, troubled_after: int) -> Counts:
        """Count open runs, and those with a step that failed, or claims that ended, so often. Reads the open ones."""
        with self._database.read() as connection:
            return Counts(*self._log.counts(connection, troubled_after))

    def is_known(self, run: Run) -> bool:
        """Tell whether this engine has the definition of a run; until one has, the run waits."""
        return run.definition in self._engine.sagas

    def retry(self, run_id: int) -> Run:
        """Have the next try of a run now. Raise `NotFound`, `Conflict` (ended, or under way), `DefinitionChanged`."""

        def retried(run: Run) -> Run:
            self._definition(run)
            now = now_ms()
            if run.owner is not None and run.due_at is not None and run.due_at > now:
                raise Conflict(f"{run.owner} is at work on it, for {(run.due_at - now) / 1000:.1f} s more at most.")
            steps = {step: replace(row, next_at=0) for step, row in run.steps.items()}
            return replace(run, due_at=now, owner=None, steps=steps)

        return self._changed(run_id, retried)

    def give_up(self, run_id: int, why: str) -> Run:
        """Try nothing more: a run that goes forward turns back, and is undone; any other ends as it is, `given-up`.

        A run that goes forward past a step which can't be undone, or one whose definition is not known here, can't
        turn back: it ends as it is, too. Raise `NotFound`, `Conflict` (ended), `Misconfigured` (no reason).
        """
        reason = _reason("given up", why)

        def given_up(run: Run) -> Run:
            saga, now = self._engine.sagas.get(run.definition), now_ms()
            if saga is not None and run.state is RunState.RUNNING and plan.may_turn(saga, run):
                return _due(plan.turned(saga, run, reason, now), now)
            return replace(plan.over_now(run, RunState.GIVEN_UP, now), reason=reason)

        return self._changed(run_id, given_up)

    def skip(self, run_id: int, step: str, why: str) -> Run:
        """Go on as if a step were done, or its compensation, where the run is undone: an operator saw to it by hand.

        A step that was skipped is undone all the same where its run turns back later: a try of it may have arrived.
        Raise `NotFound`, `Conflict` (ended, or not this step's turn), `DefinitionChanged`, `Misconfigured`.
        """
        reason = _reason("skipped", why)

        def skipped(run: Run) -> Run:
            saga, now = self._definition(run), now_ms()
            if step not in plan.wanted(saga, run):
                raise Conflict(f"It is not the turn of {step}; now: {', '.join(plan.wanted(saga, run))}.")
            state = StepState.SKIPPED if run.state is RunState.RUNNING else StepState.LEFT
            row = replace(run.steps[step], state=state, error=reason, changed_at=now)
            return _due(plan.ended(plan.with_step(run, step, row), now), now)

        return self._changed(run_id, skipped)

    def purge(self, ended_before: int) -> int:
        """Forget up to `MOST_PURGED` runs that ended before that time (ms since the epoch); return how many.

        From then on a run of the same key is a new one.
        """
        return self._database.transact(lambda connection: self._log.purge(connection, ended_before, MOST_PURGED))

    def _definition(self, run: Run) -> Saga:
        saga = self._engine.sagas.get(run.definition)
        if saga is None:
            raise DefinitionChanged(
                f"Run {run.run_id} of {run.saga} was started under the definition {run.definition[:12]}, which this "
                "engine does not have. Give the engine the earlier definition as well, behind the new one, until no "
                "run of it is open; or give the run up."
            )
        return saga

    def _changed(self, run_id: int, change: Callable[[Run], Run]) -> Run:
        """Write an operator's word in one transaction, above the epoch of the instance at work; return the run."""

        def transaction(connection: Connection) -> Run:
            run = self._log.lock(connection, run_id)
            if run is None:
                raise NotFound("There is no such run.")
            if run.state not in OPEN:
                raise Conflict(f"The run has ended: {run.state}.")
            changed = replace(change(run), epoch=run.epoch + 1)
            self._log.write(connection, run, changed)
            return changed

        changed = self._database.transact(transaction)
        if changed.state in OPEN:
            self._engine.wake(run_id)
        return changed


def _due(run: Run, now: int) -> Run:
    return replace(run, due_at=now, owner=None) if run.state in OPEN else run


def _one(found: list[Run]) -> Run:
    if not found:
        raise NotFound("There is no such run.")
    return found[0]


def _reason(what: str, why: str) -> str:
    most = LONGEST_REASON - len(what) - 2
    if not 0 < len(why.strip()) <= most:
        raise Misconfigured(f"Say why, in 1 to {most} characters.")
    return f"{what}: {why.strip()}"
