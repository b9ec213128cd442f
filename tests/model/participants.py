"""Every interleaving of two orders and two participants: the first order needs stock and a coupon, the second stock.

`tests.model.protocol` explores one participant closely: batches, dead processes, stops for longer than records are
kept. Here it is what several add: all are asked at once, each keeps its own reservations, one rollback message reaches
each in a group of its own, an order that one refuses drops out though another holds it, and what a participant has
still to hear of an order is a row of its own, written with the order's move.

    python -m tests.model.participants             explores the scenarios
    python -m tests.model.participants --mutants   plants one flaw at a time, and says how it is caught
"""

import sys

from tests.model.exploring import Model, Mutant, Scenario
from tests.model.participants_steps import steps
from tests.model.participants_world import CELLS, OF_ORDER, STOCK, World
from tests.model.world import CREATED, PAID

_HELD = ("deducted", "deducted", "deducted")
_PLACED = World(
    place="done",
    half="dropped",
    record="committed",
    orders=(CREATED, CREATED),
    headers=_HELD,
    left=0,
    total=2,
    uses=0,
)
_LATE = _PLACED._replace(close="idle", wire=(1, 1))
_NO_NET = frozenset({"no sweep", "no giving up"})  # check-backs alone settle all, within one interval
_FEW = frozenset({"no failing send"})
SCENARIOS = (
    Scenario("placing, enough for both", World()),
    Scenario("placing, stock for one", World(left=1, total=1)),
    Scenario("placing, no stock", World(left=0, total=0)),
    Scenario("placing, the coupon is used up", World(uses=0)),
    Scenario("placing, stock for one, the coupon is used up", World(left=1, total=1, uses=0)),
    Scenario("placing, stock for one, no sweep", World(left=1, total=1), _NO_NET),
    Scenario("placing, the coupon is used up, no sweep", World(uses=0), _NO_NET),
    Scenario("placing, no stock, no sweep", World(left=0, total=0), _NO_NET),
    Scenario("placing, the coupon pays all of it", World(free=True), _FEW),
    Scenario("closing, paying", _PLACED._replace(close="idle")),
    Scenario("closing, paying, late requests", _LATE, frozenset({"no giving up"})),
)

MUTANTS = (
    Mutant("no tombstone", 0, _NO_NET),
    Mutant("one group for all", 0, _NO_NET),
    Mutant("no answer is a refusal", 0, _NO_NET),
    Mutant("refused by one is held by none", 7, _NO_NET),
    Mutant("held by one is enough", 1),
    Mutant("refused order not released", 6, _NO_NET),
    Mutant("refused order released last", 6, _NO_NET),
    Mutant("released where it was refused", 6, _NO_NET),
    Mutant("the last use is given twice", 3),
    Mutant("closing notes stock only", 9),
    Mutant("payment is noted afterwards", 9),
    Mutant("confirmed before it is told", 9),
    Mutant("confirmed by one is confirmed by all", 9),
    Mutant("the sweep asks stock only", 0),
    Mutant("nothing is confirmed", 9),
    Mutant("no sweep", 0),
)


def wrong(world: World, final: bool) -> str | None:
    """Return which promise a world breaks; `final`: nothing more can happen in it."""
    pieces = [world.headers[cell] for cell, (_, participant) in enumerate(CELLS) if participant == STOCK]
    if world.left < 0 or world.left + pieces.count("deducted") != world.total:
        return "conservation"
    if world.uses < 0:
        return "a use of the coupon that there is not"
    if world.used and world.orders[0] != PAID:
        return "a coupon used by an order that is not paid"
    if final and {"half", "ready"} & {world.half, world.half2, world.own}:
        return "a message left open"
    promises = (_broken(world, order) or (_broken_at_last(world, order) if final else None) for order in (0, 1))
    return next((why for why in promises if why), None)


def _broken(world: World, order: int) -> str | None:
    if world.paid[order] and world.orders[order] != PAID:
        return "a paid order was closed"
    if world.orders[order] == PAID and any(world.headers[cell] != "deducted" for cell in OF_ORDER[order]):
        return "a paid order lost what it needs"
    return None


def _broken_at_last(world: World, order: int) -> str | None:
    held = [world.headers[cell] == "deducted" for cell in OF_ORDER[order]]
    if world.orders[order] in {CREATED, PAID}:
        if not all(held):
            return "an order without what it needs"
    elif any(held):
        return "held by no order"
    if world.orders[order] == PAID and not order and not world.used:
        return "a paid order's coupon is not used"
    if any(world.settlements[cell] != "-" for cell in OF_ORDER[order]):
        return "a participant is not asked to confirm"
    return None


MODEL = Model(steps, wrong, SCENARIOS, MUTANTS)


if __name__ == "__main__":
    sys.exit(MODEL.main(sys.argv[1:]))
