"""Makes a failing plan smaller: fewer faults first, then fewer clients, as long as it still fails."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from lab.drill.nemesis.plan import Plan

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The smallest plan found that failed; `tries` plans were played for it."""

    plan: Plan
    tries: int


class _TimeIsUp(Exception):
    """No other try is begun."""


def shrink(
    plan: Plan, fails: Callable[[Plan], bool], *, within: float, now: Callable[[], float] = time.monotonic
) -> Shrunk:
    """Return the smallest plan found within so many seconds that `fails`; perhaps `plan` itself."""
    deadline, tries, best = now() + within, 0, plan

    def still_fails(candidate: Plan) -> bool:
        nonlocal tries, best
        if now() >= deadline:
            raise _TimeIsUp
        tries += 1
        if not fails(candidate):
            return False
        best = candidate
        return True

    try:
        _fewer(plan.faults, lambda faults: still_fails(replace(best, faults=faults)), least=0)
        _fewer(plan.clients, lambda clients: still_fails(replace(best, clients=clients)), least=1)
    except _TimeIsUp:
        pass
    return Shrunk(best, tries)


def _fewer(items: Sequence[T], still_fails: Callable[[Sequence[T]], bool], *, least: int) -> None:
    """Leave out half of the items, then a quarter, and so on to single ones, keeping what is needed to fail."""
    kept = list(items)
    size = len(kept)
    while size:
        start = 0
        while start < len(kept):
            rest = kept[:start] + kept[start + size :]
            if len(rest) >= least and still_fails(rest):
                kept = rest
            else:
                start += size
        size //= 2
