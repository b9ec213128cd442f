"""Every interleaving of what the code does with a batch of two orders, explored, and every state checked.

A world is one state of everything: who places, who closes, who sweeps, what the broker holds, what the databases hold.
`tests.model.steps` says what can happen next, its steps named as the code names them: failpoints, methods. Anything may
crash between any two steps; requests and messages may be late, doubled or lost; the broker may give up on a half
message; a send that raised may have arrived; nobody waits for anybody, so time may pass as it likes.

    python -m tests.model.protocol             explores the scenarios
    python -m tests.model.protocol --mutants   plants one flaw at a time, and says how it is caught
"""

import sys
import time
from collections import deque
from dataclasses import dataclass, field

from tests.model.steps import steps
from tests.model.world import CREATED, GONE, IDLE, PAID, World


@dataclass(frozen=True)
class Scenario:
    """Where to start; `bounds` are things that can't happen in it, to keep it small."""

    name: str
    start: World
    bounds: frozenset[str] = frozenset()


_PLACED = World(
    place="done",
    answers=("201", "201"),
    half="dropped",
    record="committed",
    orders=(CREATED, CREATED),
    headers=("deducted", "deducted"),
    left=0,
    timeout="delayed",
)
_NO_NET = frozenset({"no sweep", "no giving up"})  # check-backs alone settle all, within one interval
_ONE_SWEEP = frozenset({"sweep in one step"})
_FEW = frozenset({"no failing send"})
_CLOCK_BEHIND = frozenset({"a clock is behind", "nothing is purged"})
SCENARIOS = (
    Scenario("placing, stock for both", World()),
    Scenario("placing, stock for one", World(left=1, total=1)),
    Scenario("placing, a key taken by another process", World(key="free")),
    Scenario("placing, a key taken, no sweep", World(key="free"), _NO_NET),
    Scenario("placing, stock for one, no sweep", World(left=1, total=1), _NO_NET),
    Scenario("closing by two at once, paying", _PLACED._replace(closers=(IDLE, IDLE)), _ONE_SWEEP),
    Scenario("closing, paying, a late request, sweeping", _PLACED._replace(closers=(IDLE,), wire=1)),
    Scenario("all of it", World(closers=(IDLE,)), _ONE_SWEEP),
    Scenario("all of it, a key taken by another process", World(closers=(IDLE,), key="free", copies=1), _ONE_SWEEP),
    Scenario("all of it, stock for one", World(closers=(IDLE,), left=1, total=1), _ONE_SWEEP),
    Scenario("all of it, sweeping", World(closers=(IDLE,), copies=1), frozenset({"no failing send"})),
    Scenario("placing, a long stop", World(stop="ahead"), _FEW),
    Scenario("placing, a key taken, a long stop", World(key="free", stop="ahead"), _FEW | _ONE_SWEEP),
    Scenario("closing, paying, a long stop", _PLACED._replace(closers=(IDLE,), wire=1, stop="ahead"), _ONE_SWEEP),
    Scenario("placing, a long stop, a clock that is behind", World(stop="ahead"), _FEW | _CLOCK_BEHIND),
)


@dataclass(frozen=True)
class Mutant:
    """A flaw; `without` takes a second line of defence away that would hide it."""

    flaw: str
    scenario: int = 0
    without: frozenset[str] = frozenset()


MUTANTS = (
    Mutant("no tombstone", 0, _NO_NET),
    Mutant("ambiguous is failure", 0, _NO_NET),
    Mutant("no fence"),
    Mutant("checker writes nothing"),
    Mutant("deduct twice"),
    Mutant("release without a log", 6),
    Mutant("timeout ignores status", 5),
    Mutant("no sweep"),
    Mutant("one-sided sweep", 5),
    Mutant("dropped order not released", 2, _NO_NET),
    Mutant("dropped order released last", 2, _NO_NET),
    Mutant("a dropped order's release names its batch", 2),
    Mutant("close batch releases a paid order", 5),
    Mutant("commit part of a batch"),
    Mutant("unknown commit is a failure"),
    Mutant("unknown commit is answered as failure"),
    Mutant("sweep looks for orders only once"),
    Mutant("sweep releases the undecided"),
    Mutant("closing rolls back like placing", 5),
    Mutant("acknowledged before it is committed"),
    Mutant("a short order is let through", 1),
    Mutant("a late deduction revives", 6),
    Mutant("a purged record is fenced like a missing one", 11),
    Mutant("the old are left undecided", 12),
    Mutant("records are purged too early", 11),
    Mutant("old local transactions go on", 11),
    Mutant("what expired is delivered", 13),
    Mutant("the old are not fenced", 14),
    Mutant("tombstones are purged too early", 0, _NO_NET),
)


def wrong(world: World, *, final: bool) -> str | None:
    """Return which promise a world breaks; `final`: nothing more can happen in it."""
    if world.left < 0 or world.left + world.headers.count("deducted") != world.total:
        return "conservation"
    if final and {"half", "ready"} & {world.half, *(closer.half for closer in world.closers)}:
        return "a message left open"
    promises = (_broken(world, order) or (_broken_at_last(world, order) if final else None) for order in (0, 1))
    return next((why for why in promises if why), None)


def _broken(world: World, number: int) -> str | None:
    order, answer = world.orders[number], world.answers[number]
    if answer == "201" and order == GONE:
        return "an acknowledged order is lost"
    if answer == "nothing created" and order != GONE:
        return "an order of which the client was told that nothing was created"
    if world.paid[number] and order != PAID:
        return "a paid order was closed"
    if order == PAID and world.headers[number] != "deducted":
        return "a paid order lost its stock"
    return None


def _broken_at_last(world: World, number: int) -> str | None:
    stands, held = world.orders[number] in {CREATED, PAID}, world.headers[number] == "deducted"
    if stands == held:
        return None
    return "an order without stock" if stands else "stock held by no order"


@dataclass
class Result:
    """What an exploration found; `why` is None where every state is consistent, else `trail` leads there."""

    states: int = 0
    finals: int = 0
    names: set[str] = field(default_factory=set)
    why: str | None = None
    trail: list[str] = field(default_factory=list)


def explore(scenario: Scenario, flaws: frozenset[str] = frozenset()) -> Result:
    """Visit every state that can be reached, nearest first, up to the first that is wrong."""
    impossible = scenario.bounds | flaws
    came_from: dict[World, tuple[str, World] | None] = {scenario.start: None}
    queue, result = deque([scenario.start]), Result()
    while queue:
        world = queue.popleft()
        nexts = [(name, after) for name, after in steps(world, impossible) if after != world]
        result.finals += not nexts
        result.why = wrong(world, final=not nexts)
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


def _trail(came_from: dict[World, tuple[str, World] | None], world: World) -> list[str]:
    names = []
    while (step := came_from[world]) is not None:
        name, world = step
        names.append(name)
    return names[::-1]


def explore_mutant(mutant: Mutant, *, healthy: bool = False) -> Result:
    """Explore the mutant's scenario with its flaw planted; healthy: without it, which must be consistent."""
    if healthy:
        return explore(SCENARIOS[mutant.scenario], mutant.without)
    return explore(SCENARIOS[mutant.scenario], mutant.without | {mutant.flaw})


def main(arguments: list[str]) -> int:
    """Print what was found; return 1 if the protocol is wrong, or a flaw is not caught."""
    if "--mutants" in arguments:
        alive = 0
        for mutant in MUTANTS:
            result = explore_mutant(mutant)
            alive += result.why is None
            _print(f"{mutant.flaw:40} {_told(result, 'NOT CAUGHT')}")
        return int(alive > 0)
    broken = total = 0
    for scenario in SCENARIOS:
        started = time.monotonic()
        result = explore(scenario)
        broken += result.why is not None
        total += result.states
        seconds = time.monotonic() - started
        told = _told(result, "all consistent")
        _print(f"{scenario.name:42} {result.states:8,} states, {result.finals:5,} final, {seconds:4.1f} s: {told}")
    _print(f"{total:,} states")
    return int(broken > 0)


def _told(result: Result, otherwise: str) -> str:
    return f"{result.why}: {' > '.join(result.trail)}" if result.why else otherwise


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
