"""Has the clients of a plan open flash sales, buy in them, ask what became of that, and close them."""

import random
from collections.abc import Sequence
from dataclasses import replace

from lab.drill.nemesis.plan import Call, Client, Fault, Kind, Op, Step
from lab.drill.nemesis.regimes import ORDER_INSTANCES

GOODS = 3
"""The position of the goods that sales sell, and no client orders otherwise."""
PIECES = 30
"""Of these goods: more than sales of a run own."""
_SALES = 2
_POINTS = (
    *("purchase.half_sent", "purchase.before_commit", "purchase.committed", "purchase.before_resolve"),
    *("purchase.resolved", "purchase_check.received", "sale.allotted", "sale.opened", "sale.closed"),
)


def with_sales(chance: random.Random, clients: Sequence[Client]) -> list[Client]:
    """Return the clients, of which the first opens sales and closes some; in half of the runs there are none."""
    number = chance.choice((0, 0, 1, _SALES))
    if not number:
        return list(clients)
    names = [f"sale-{one}" for one in range(number)]
    found = [_buying(chance, client, names) for client in clients]
    opening = [_opening(chance, name) for name in names]
    again = opening if chance.random() < 0.3 else ()  # noqa: PLR2004 - now and then
    first = replace(found[0], steps=[Step(0.0, [*opening, *again]), *found[0].steps])
    if chance.random() < 0.5:  # noqa: PLR2004 - the others end when everybody is done
        first = replace(first, steps=[*first.steps, Step(0.0, [Call(Op.CLOSE_SALE, sale=chance.choice(names))])])
    return [first, *found[1:]]


def _opening(chance: random.Random, name: str) -> Call:
    return Call(Op.OPEN_SALE, sale=name, lines=((GOODS, chance.randint(1, 8)),), per_user=chance.randint(1, 3))


def _buying(chance: random.Random, client: Client, names: Sequence[str]) -> Client:
    steps, bought = list(client.steps), 0
    for _ in range(chance.randint(1, 3)):
        at = chance.randint(1, len(steps))
        calls = []
        for _ in range(chance.choice((1, 1, 2, 3))):
            lines = ((GOODS, chance.choice((1, 1, 1, 2))),)
            calls.append(Call(Op.BUY, f"{client.name}-bought-{bought}", lines, sale=chance.choice(names)))
            bought += 1
        ask = [Call(Op.ASK, one.order, instance=chance.randrange(ORDER_INSTANCES)) for one in calls]
        then = [Call(chance.choice((Op.PAY, Op.CANCEL, Op.LOOK)), one.order) for one in calls]
        steps[at:at] = [Step(round(chance.uniform(0.0, 0.2), 3), more) for more in (calls, ask, then)]
    return replace(client, steps=steps)


def of_sales(chance: random.Random, fault: Fault) -> Fault:
    """Have some failpoints be steps of buying."""
    if fault.kind is not Kind.FAILPOINT or chance.random() > 0.2:  # noqa: PLR2004 - now and then
        return fault
    _, _, how = fault.settings["failpoints"].partition("=")
    point = chance.choice(_POINTS)
    return replace(fault, target="flash", settings={"failpoints": f"{point}={how.replace('raise', 'kill')}"})
