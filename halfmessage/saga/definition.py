"""What a saga is: steps with compensations, which of them wait for which, and how long all of it may take.

Source of the idea: Garcia-Molina and Salem, Sagas, SIGMOD 1987.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection

from halfmessage.clock import now_ms
from halfmessage.errors import Misconfigured

MOST_STEPS: Final = 32
"""Steps of one saga: all rows of a run are written in one transaction."""
MOST_TRIES: Final = 20
"""Tries of a step before its run turns back, unless the saga says otherwise."""
WITHIN: Final = 10.0
"""Seconds that one try of a step may take, unless the step says otherwise."""
LONGEST_NAME: Final = 64
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")


class Direction(StrEnum):
    """What is asked of a step."""

    DO = "do"
    UNDO = "undo"


@dataclass(frozen=True, slots=True)
class Call:
    """What a step is given: of which run, with what, and until when. `deadline` in ms since the epoch.

    `results`: what steps returned so far, by their names; for `undo` its own too, where that is known.
    """

    run_id: int
    saga: str
    key: str
    step: str
    direction: Direction
    input: Any
    results: Mapping[str, Any]
    attempt: int
    deadline: int

    @property
    def idempotency_key(self) -> str:
        """What makes the call once and its repetitions one: run/step/direction."""
        return f"{self.saga}-{self.run_id}/{self.step}/{self.direction}"

    @property
    def seconds_left(self) -> float:
        """How long this try may still take; 0 where its time is over."""
        return max(0.0, (self.deadline - now_ms()) / 1000)


@dataclass(frozen=True, slots=True)
class Step:
    """What `Outside` and `Local` have in common.

    `needs`: names of steps that must be done before; None: the one that is declared before it. `within`: seconds that
    one try may take. A function can't be stopped: it is told its deadline, and one that is late may find that another
    instance has taken the run over.
    """

    name: str
    _: KW_ONLY
    needs: Sequence[str] | None = None
    within: float = WITHIN


@dataclass(frozen=True, slots=True)
class Outside(Step):
    """A step somewhere else: it is called at least once, with the same `Call.idempotency_key` each time.

    `do` returns what is to be remembered (JSON), or raises `StepRefused`, or anything else: then it is tried again.
    `undo` is called for whatever may have been done, also where `do` never arrived, and must leave a mark so that a
    `do` which arrives later is refused: `halfmessage.saga.barrier` does that. None: it can't be undone.
    """

    _: KW_ONLY
    do: Callable[[Call], Any]
    undo: Callable[[Call], object] | None


@dataclass(frozen=True, slots=True)
class Local(Step):
    """A step in the log's own database: what it writes, and that it is done, are one transaction; so exactly once.

    None as `undo`: it can't be undone.
    """

    _: KW_ONLY
    do: Callable[[Connection, Call], Any]
    undo: Callable[[Connection, Call], object] | None


class Saga:
    """A definition. Immutable."""

    def __init__(
        self,
        name: str,
        steps: Sequence[Outside | Local],
        *,
        deadline: float,
        version: int = 1,
        tries: int = MOST_TRIES,
    ) -> None:
        """Take steps in an order in which each comes after what it needs.

        `deadline`: seconds after which a run that is not done turns back; `tries`: so often a step may fail before its
        run does. A step that can't be undone ends both: from when it may have been sent on, the run goes forward only.
        `version` is to be raised where the same names mean something else than before. Raise `Misconfigured`.
        """
        if not _NAME.fullmatch(name) or not all(_NAME.fullmatch(step.name) for step in steps):
            raise Misconfigured(f"Names of sagas and their steps are {_NAME.pattern}.")
        if not 1 <= len(steps) <= MOST_STEPS or len({step.name for step in steps}) != len(steps):
            raise Misconfigured(f"Saga {name} needs 1 to {MOST_STEPS} steps of different names.")
        if deadline <= 0 or tries < 1 or any(step.within <= 0 for step in steps):
            raise Misconfigured(f"Deadlines and tries of saga {name} must be above 0.")
        self.name, self.deadline, self.version, self.tries = name, deadline, version, tries
        self.steps: Mapping[str, Outside | Local] = {step.name: step for step in steps}
        self.needs = self._needs(steps)
        self.needed_by: Mapping[str, frozenset[str]] = {
            name: frozenset(other for other, needs in self.needs.items() if name in needs) for name in self.steps
        }
        self.definition = self._hash()

    @property
    def longest_step(self) -> float:
        """Seconds that the longest step may take."""
        return max(step.within for step in self.steps.values())

    def wrapped(self, wrap: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> "Saga":
        """Return the same definition, each function of which is wrapped; `wrap` is told saga/step/direction, too."""

        def changed(step: Outside | Local) -> Outside | Local:
            name = f"{self.name}/{step.name}"
            undo = step.undo and wrap(f"{name}/{Direction.UNDO}", step.undo)
            return replace(step, do=wrap(f"{name}/{Direction.DO}", step.do), undo=undo)  # type: ignore[arg-type]

        steps = [changed(step) for step in self.steps.values()]
        return Saga(self.name, steps, deadline=self.deadline, version=self.version, tries=self.tries)

    def _needs(self, steps: Sequence[Step]) -> Mapping[str, frozenset[str]]:
        needs: dict[str, frozenset[str]] = {}
        for step in steps:
            before = list(needs)
            wanted = frozenset(before[-1:] if step.needs is None else step.needs)
            if not wanted <= set(before):
                raise Misconfigured(f"Step {step.name} of saga {self.name} needs a step that does not come before it.")
            needs[step.name] = wanted
        return needs

    def _hash(self) -> str:
        """Return what a log depends on: renamed, added, removed or rewired steps make another definition.

        Code is not part of it, for the same code differs between versions of Python: that is what `version` is for.
        """
        shape = [
            [step.name, sorted(self.needs[step.name]), type(step).__name__, step.undo is not None]
            for step in self.steps.values()
        ]
        told = json.dumps([self.name, self.version, shape], separators=(",", ":"))
        return hashlib.sha256(told.encode()).hexdigest()
