"""What goes over REST of returns, and of sagas for operators."""

from typing import Annotated, Any

from pydantic import Field

from common.paging import PageQuery
from common.schema import Id, Line, Schema, Text
from halfmessage.clock import rfc3339
from halfmessage.saga.model import LONGEST_REASON, Run, RunState, StepRow, StepState
from order.schema import Time

_LONGEST_WHY = LONGEST_REASON - 20  # beside "given up: ", and the like
Tries = Annotated[int, Field(ge=0)]


class ReturnOrder(Schema):
    """Why an order is returned."""

    reason: Annotated[Text, Field(min_length=1, max_length=255)]


class ReturnBegunOut(Schema):
    """A return that was asked for: the same however often it is asked for, whatever became of it since."""

    order_id: Id
    run_id: Id
    reason: str
    begun_at: Time

    @classmethod
    def of(cls, run: Run) -> "ReturnBegunOut":
        """Show it."""
        return cls(order_id=int(run.key), run_id=run.run_id, reason=_reason(run), begun_at=rfc3339(run.created_at))


class StepOut(Schema):
    """A step: how often it failed, with which words the last time, and when it is tried again."""

    name: str
    state: StepState
    tries: Tries
    last_error: str | None
    next_try_at: Time | None

    @classmethod
    def of(cls, name: str, step: StepRow, run: Run) -> "StepOut":
        """Show it."""
        again = run.due_at is not None and step.state is StepState.WAITING and step.next_at > 0
        return cls(
            name=name,
            state=step.state,
            tries=step.tries,
            last_error=step.error,
            next_try_at=rfc3339(step.next_at) if again else None,
        )


class ReturnOut(Schema):
    """A return; `why`: an operator's reason for giving it up."""

    order_id: Id
    run_id: Id
    state: RunState
    reason: str
    why: str | None
    steps: list[StepOut]
    begun_at: Time
    ended_at: Time | None

    @classmethod
    def of(cls, run: Run) -> "ReturnOut":
        """Show it."""
        return cls(order_id=int(run.key), reason=_reason(run), **_shown(run))


class SagasQuery(PageQuery):
    """Which runs to list: those in a state, or, without one, those that are open."""

    state: RunState | None = None


class SagaOut(Schema):
    """A run. `is_known`: the engine has its definition; `worked_on_by`: the instance that drives it now."""

    run_id: Id
    saga: str
    key: str
    state: RunState
    is_known: bool
    worked_on_by: str | None
    why: str | None
    steps: list[StepOut]
    begun_at: Time
    ended_at: Time | None

    @classmethod
    def of(cls, run: Run, *, is_known: bool) -> "SagaOut":
        """Show it."""
        return cls(saga=run.saga, key=run.key, is_known=is_known, worked_on_by=run.owner, **_shown(run))


class SagasOut(Schema):
    """A page of runs, newest first."""

    items: list[SagaOut]
    next_cursor: str | None


class GiveUp(Schema):
    """Why nothing more is tried."""

    why: Annotated[Line, Field(min_length=1, max_length=_LONGEST_WHY, pattern=r"\S")]


class Skip(GiveUp):
    """Which step counts as done, and why."""

    step: Annotated[str, Field(pattern="^[a-z][a-z0-9_-]{0,63}$")]


def _reason(run: Run) -> str:
    return str(run.input["reason"])


def _shown(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "state": run.state,
        "why": run.reason,
        "steps": [StepOut.of(name, step, run) for name, step in run.steps.items()],
        "begun_at": rfc3339(run.created_at),
        "ended_at": None if run.ended_at is None else rfc3339(run.ended_at),
    }
