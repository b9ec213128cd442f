"""Has clients of a plan return what they paid, and faults meet that."""

import random
from dataclasses import replace

from lab.drill.nemesis.plan import Call, Client, Fault, Kind, Op, Step
from lab.drill.nemesis.regimes import ORDER_INSTANCES

_POINTS = tuple(f"return.{step}" for step in ("started", "claimed", "answered", "recorded", "before_commit"))


def with_returns(chance: random.Random, client: Client) -> Client:
    """Have the client return some of the orders that it pays: soon after, at the same moment, or twice at once."""
    steps: list[Step] = []
    for step in client.steps:
        paid = [one.order for one in step.calls if one.op is Op.PAY and chance.random() < 0.5]  # noqa: PLR2004 - half
        at_once = [order for order in paid if chance.random() < 0.2]  # noqa: PLR2004 - now and then
        steps.append(replace(step, calls=[*step.calls, *(_return(chance, order) for order in at_once)]))
        if paid:
            twice = [order for order in paid if chance.random() < 0.3]  # noqa: PLR2004 - now and then
            later = round(chance.uniform(0.0, 0.4), 3)
            steps.append(Step(later, [_return(chance, order) for order in [*paid, *twice]]))
    return replace(client, steps=steps)


def of_returns(chance: random.Random, fault: Fault) -> Fault:
    """Have some failpoints be those of a return's steps."""
    if fault.kind is not Kind.FAILPOINT or chance.random() > 0.3:  # noqa: PLR2004 - now and then
        return fault
    _, _, how = fault.settings["failpoints"].partition("=")
    target = fault.target if fault.target.partition("-")[0] == "order" else "order"
    settings = {"failpoints": f"{chance.choice(_POINTS)}={how.replace('raise', 'kill')}"}
    return replace(fault, target=target, settings=settings)


def _return(chance: random.Random, order: str) -> Call:
    return Call(Op.RETURN, order, instance=chance.randrange(ORDER_INSTANCES))
