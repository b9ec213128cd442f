"""Exploring a model: every state that can be reached, nearest first, each checked; and the flaws planted in it."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

W = TypeVar("W")

No = frozenset[str]
"""What can't happen, and the flaws planted."""


@dataclass(frozen=True)
class Scenario(Generic[W]):
    """Where to start; `bounds` are things that can't happen in it, to keep it small."""

    name: str
    start: W
    bounds: No = frozenset()


@dataclass(frozen=True)
class Mutant:
    """A flaw; `without` takes a second line of defence away that would hide it."""

    flaw: str
    scenario: int = 0
    without: No = frozenset()


@dataclass
class Result:
    """What an exploration found; `why` is None where every state is consistent, else `trail` leads there."""

    states: int = 0
    finals: int = 0
    names: set[str] = field(default_factory=set)
    why: str | None = None
    trail: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Model(Generic[W]):
    """What can happen next in a state, which promise a state breaks, where to start, and the flaws to plant."""

    steps: Callable[[W, No], Iterator[tuple[str, W]]]
    wrong: Callable[[W, bool], str | None]
    scenarios: tuple[Scenario[W], ...]
    mutants: tuple[Mutant, ...]

    def explore(self, scenario: Scenario[W], flaws: No = frozenset()) -> Result:
        """Visit every state that can be reached, up to the first that is wrong."""
        impossible = scenario.bounds | flaws
        came_from: dict[W, tuple[str, W] | None] = {scenario.start: None}
        queue, result = deque([scenario.start]), Result()
        while queue:
            world = queue.popleft()
            nexts = [(name, after) for name, after in self.steps(world, impossible) if after != world]
            result.finals += not nexts
            result.why = self.wrong(world, not nexts)
            if result.why:
                result.trail = _trail(came_from, world)
                break
            for name, after in nexts:
                result.names.add(name)
                if after not in came_from:
                    came_from[after] = (name, world)
                    queue.append(after)
        result.states = len(came_from)
        return result

    def explore_mutant(self, mutant: Mutant, *, healthy: bool = False) -> Result:
        """Explore the mutant's scenario with its flaw planted; healthy: without it, which must be consistent."""
        planted = frozenset() if healthy else frozenset({mutant.flaw})
        return self.explore(self.scenarios[mutant.scenario], mutant.without | planted)

    def main(self, arguments: list[str]) -> int:
        """Print what was found; return 1 if the protocol is wrong, or a flaw is not caught."""
        return self._plant() if "--mutants" in arguments else self._explore_all()

    def _plant(self) -> int:
        alive = 0
        for mutant in self.mutants:
            result = self.explore_mutant(mutant)
            alive += result.why is None
            _print(f"{mutant.flaw:48} {_told(result, 'NOT CAUGHT')}")
        return int(alive > 0)

    def _explore_all(self) -> int:
        broken = total = 0
        for scenario in self.scenarios:
            started = time.monotonic()
            result = self.explore(scenario)
            broken += result.why is not None
            total += result.states
            seconds = time.monotonic() - started
            told = _told(result, "all consistent")
            _print(f"{scenario.name:48} {result.states:8,} states, {result.finals:5,} final, {seconds:4.1f} s: {told}")
        _print(f"{total:,} states")
        return int(broken > 0)


def _trail(came_from: dict[W, tuple[str, W] | None], world: W) -> list[str]:
    names = []
    while (step := came_from[world]) is not None:
        name, world = step
        names.append(name)
    return names[::-1]


def _told(result: Result, otherwise: str) -> str:
    return f"{result.why}: {' > '.join(result.trail)}" if result.why else otherwise


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
