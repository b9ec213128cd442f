"""What comes next in a run: pure functions of a definition and the log. `tests/model/saga.py` explores them."""

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from halfmessage.saga.definition import Local, Saga
from halfmessage.saga.model import OPEN, Run, RunState, StepRow, StepState, cut

_FORWARD: Final = frozenset({StepState.DONE, StepState.SKIPPED})
_BACK: Final = frozenset({StepState.UNTOUCHED, StepState.UNDONE, StepState.LEFT})


@dataclass(frozen=True, slots=True)
class Delay:
    """How long a step that failed waits: `first` seconds, doubled each time, never more than `longest`."""

    first: float = 0.5
    longest: float = 300.0

    def after(self, tries: int) -> int:
        """Return how long to wait after so many failures (ms), up to half of it less, so that runs spread."""
        doubled = self.first * 2.0 ** min(tries - 1, 30)
        return int(1000 * min(doubled, self.longest) * random.uniform(0.5, 1))  # noqa: S311 # nosec B311 - no secret


@dataclass(frozen=True, slots=True)
class Answer:
    """How one try of a step ended."""

    kind: Literal["done", "refused", "failed"]
    result: Any = None
    error: str | None = None


def ready(saga: Saga, run: Run, now: int, longest: int, busy: Collection[str] = ()) -> list[str]:
    """Return the steps to be called now, but those that are `busy` already. Times in ms.

    Also those that were put off further than the `longest` delay from now: the clock was set back since.
    """

    def is_due(step: str) -> bool:
        at = run.steps[step].next_at
        return at <= now or at > now + longest

    return [step for step in wanted(saga, run) if step not in busy and is_due(step)]


def wanted(saga: Saga, run: Run) -> list[str]:
    """Return the steps whose turn it is, whether they wait for their next try or not."""
    return _to_do(saga, run) if run.state is RunState.RUNNING else _to_undo(saga, run)


def _to_do(saga: Saga, run: Run) -> list[str]:
    states = _states(run)
    return [step for step in saga.steps if states[step] is StepState.WAITING and _may_be_sent(saga, states, step)]


def _to_undo(saga: Saga, run: Run) -> list[str]:
    states = _states(run)
    return [
        step
        for step in saga.steps
        if states[step] not in _BACK and all(states[other] in _BACK for other in saga.needed_by[step])
    ]


def _states(run: Run) -> dict[str, StepState]:
    return {step: row.state for step, row in run.steps.items()}


def _may_be_sent(saga: Saga, states: Mapping[str, StepState], step: str) -> bool:
    """Tell whether a step that is not decided may have been called, by an instance that is gone, say."""
    return all(states[other] in _FORWARD for other in saga.needs[step])


def next_look(saga: Saga, run: Run) -> int:
    """Return when a run that waits is to be looked at again: at its next try, or at its deadline (ms)."""
    looks = [run.steps[step].next_at for step in wanted(saga, run)]
    if run.state is RunState.RUNNING and may_turn(saga, run):
        looks.append(run.deadline_at)
    return min(looks)


def may_turn(saga: Saga, run: Run) -> bool:
    """Tell whether a run may turn back: nothing that can't be undone may have happened."""
    return not any(step.undo is None and _may_stand(saga, run, name) for name, step in saga.steps.items())


def _may_stand(saga: Saga, run: Run, step: str) -> bool:
    states = _states(run)
    if states[step] is not StepState.WAITING:
        return states[step] in _FORWARD
    return not isinstance(saga.steps[step], Local) and _may_be_sent(saga, states, step)


def turned(saga: Saga, run: Run, reason: str, now: int) -> Run:
    """Return a run that turns back. What may have been called is to be undone, whatever was heard of it.

    A call may be under way still, sent by an instance that is gone: its compensation leaves the mark that stops it.
    Of a local step the log knows for certain, as it is in the same transaction; what was skipped was done by hand.
    """
    states = _states(run)

    def back(name: str, row: StepRow) -> StepRow:
        step = saga.steps[name]
        known = isinstance(step, Local) and row.state not in _FORWARD
        never = row.state is StepState.WAITING and not _may_be_sent(saga, states, name)
        if never or known or step.undo is None:
            return replace(row, state=StepState.UNTOUCHED, tries=0, next_at=0, changed_at=now)
        return replace(row, tries=0, next_at=0)

    steps = {name: back(name, row) for name, row in run.steps.items()}
    return ended(replace(run, state=RunState.UNDOING, reason=cut(reason), steps=steps), now)


def ended(run: Run, now: int) -> Run:
    """Return the run as ended where no step is left."""
    goal, over = (_FORWARD, RunState.DONE) if run.state is RunState.RUNNING else (_BACK, RunState.UNDONE)
    if run.state in OPEN and all(row.state in goal for row in run.steps.values()):
        return over_now(run, over, now)
    return run


def over_now(run: Run, state: RunState, now: int) -> Run:
    """Return a run that has ended in that state."""
    return replace(run, state=state, due_at=None, owner=None, ended_at=now)


def late(saga: Saga, run: Run, now: int) -> bool:
    """Tell whether a run's deadline is over, and it may turn back."""
    return run.state is RunState.RUNNING and now >= run.deadline_at and may_turn(saga, run)


def after(saga: Saga, run: Run, step: str, answer: Answer, now: int, delay: Delay) -> Run:
    """Return the run after a try of a step. A compensation can't be refused: that is a failure like others."""
    row = run.steps[step]
    if answer.kind == "done":
        if run.state is RunState.RUNNING:
            row = replace(row, state=StepState.DONE, result=answer.result, error=None, changed_at=now)
        else:
            row = replace(row, state=StepState.UNDONE, error=None, changed_at=now)
        return ended(with_step(run, step, row), now)
    error = cut(answer.error or "")
    refused = with_step(run, step, replace(row, state=StepState.REFUSED, error=error, changed_at=now))
    if answer.kind == "refused" and run.state is RunState.RUNNING and may_turn(saga, refused):
        return turned(saga, refused, f"{step} was refused: {error}", now)
    tries = row.tries + 1
    failed = with_step(run, step, replace(row, tries=tries, next_at=now + delay.after(tries), error=error))
    if run.state is RunState.RUNNING and tries >= saga.tries and may_turn(saga, failed):
        return turned(saga, failed, f"{step} failed {tries} times: {error}", now)
    return failed


def with_step(run: Run, step: str, row: StepRow) -> Run:
    """Return the run with another row of a step."""
    return replace(run, steps={**run.steps, step: row})
