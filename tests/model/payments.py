"""Every interleaving of one order's payment with a provider that calls late, twice or never, and says no to refunds.

`tests.model.participants` explores how an order is placed with several participants. Here pay is the one that matters:
its reservation is the payment; money is taken on two pages that know nothing of the order; what the provider says is
stored, then handled; a success reaches the order by a message of pay's own; whatever pays nothing is sent back.

    python -m tests.model.payments             explores the scenarios
    python -m tests.model.payments --mutants   plants one flaw at a time, and says how it is caught
"""

import sys

from tests.model.exploring import Model, Mutant, Scenario
from tests.model.payments_steps import steps
from tests.model.payments_world import CHARGES, World, is_right
from tests.model.world import CLOSED, CREATED, PAID

_PLACED = World(
    place="done", half="dropped", record="committed", order=CREATED, header="deducted", payment="open", close="idle"
)
_TWO = frozenset({"no giving up", "no duplicates", "no loss"})
_ONE = frozenset({"one try"})
SCENARIOS = (
    Scenario("placing, one try", World(close="idle"), _ONE),
    Scenario("closing, one try", _PLACED, _ONE),
    Scenario("closing, two tries", _PLACED, _TWO),
    Scenario("closing, another amount", _PLACED._replace(wrong_amount=True), _TWO),
    Scenario("closing, the last question is answered", _PLACED._replace(answers=True), _ONE),
    Scenario("placing, nothing closes, only messages tell", World(), _ONE | {"no answer at once"}),
    Scenario("placing, no sweep", World(), _ONE | {"no giving up", "no sweep"}),
)

MUTANTS = (
    Mutant("no tombstone", 6),
    Mutant("giving back leaves the money", 1),
    Mutant("late money is kept", 1),
    Mutant("a second charge is kept", 2),
    Mutant("another amount pays", 3),
    Mutant("the same event again is new", 1),
    Mutant("no polling", 1),
    Mutant("a raced success is sent", 1),
    Mutant("a success is told once", 5),
    Mutant("an undecided order is swallowed", 5, frozenset({"no giving up", "a success is told once"})),
    Mutant("a payment waits for ever", 0),
    Mutant("a success reopens a closed order", 1),
    Mutant("closing closes a paid order", 1),
    Mutant("another key for each try", 1),
    Mutant("a failed refund is a refund", 1),
    Mutant("a refusal is the end", 1),
    Mutant("the event is stored with its effect only", 1, frozenset({"no polling", "no loss"})),
    Mutant("closing without the last question", 4),
)


def wrong(world: World, final: bool) -> str | None:
    """Return which promise a world breaks; `final`: nothing more can happen in it."""
    standing = [c for c in CHARGES if world.taken[c] and not world.returned[c]]
    broken = _broken(world, standing) | (_broken_at_last(world, standing) if final else {})
    return next((why for why, is_broken in broken.items() if is_broken), None)


def _broken(world: World, standing: list[int]) -> dict[str, bool]:
    kept = [c for c in CHARGES if world.charges[c] == "kept"]
    its_money = [c for c in kept if c in standing and is_right(world, c)]
    called_refunded = [c for c in CHARGES if world.charges[c] == "refunded"]
    return {
        "money sent back twice": max(world.returned) > 1,
        "kept, but sent back": any(world.returned[c] for c in kept),
        "two charges kept for one order": len(kept) > 1,
        "a paid order was closed": world.was_paid and world.order != PAID,
        "a paid order without its money": world.order == PAID and not its_money,
        "called refunded, but it was not": not all(world.returned[c] for c in called_refunded),
        "closed, though paid in time and the provider would have said so": world.in_time and world.order == CLOSED,
    }


def _broken_at_last(world: World, standing: list[int]) -> dict[str, bool]:
    stands = world.order in {CREATED, PAID}
    agrees = len(standing) == 1 and world.payment == "succeeded" and world.known
    return {
        "an order that nothing will close": world.order == CREATED and world.close != "none",
        "paid, and the order does not know": world.order == CREATED and bool(standing),
        "a paid order, and pay does not agree": world.order == PAID and not agrees,
        "money kept for no order": not stands and bool(standing),
        "held by no order": not stands and (world.header == "deducted" or world.payment in {"open", "succeeded"}),
        "news that nothing handles": "stored" in world.news,
        "a message left open": bool({"half", "ready"} & {world.half, world.half2, *world.success}),
    }


MODEL = Model(steps, wrong, SCENARIOS, MUTANTS)


if __name__ == "__main__":
    sys.exit(MODEL.main(sys.argv[1:]))
