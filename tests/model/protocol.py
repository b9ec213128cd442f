"""Every interleaving of what the code does with a batch of two orders, explored, and every state checked.

A world is one state of everything: who places, who closes, who sweeps, what the broker holds, what the databases hold.
`tests.model.steps` says what can happen next, its steps named as the code names them: failpoints, methods. Anything may
crash between any two steps; requests and messages may be late, doubled or lost; the broker may give up on a half
message; a send that raised may have arrived; nothing waits for anything, so time may pass as it likes.

    python -m tests.model.protocol             explores the scenarios
    python -m tests.model.protocol --mutants   plants one flaw at a time, and says how it is caught
"""

import sys

from tests.model.exploring import Model, Mutant, Scenario
from tests.model.steps import steps
from tests.model.world import CREATED, GONE, IDLE, PAID, World

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


def wrong(world: World, final: bool) -> str | None:
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


MODEL = Model(steps, wrong, SCENARIOS, MUTANTS)


if __name__ == "__main__":
    sys.exit(MODEL.main(sys.argv[1:]))
