"""Every interleaving of the return of one paid order: two requests, two instances of the engine that may be killed.

Around it goes on what does around any order: a success, a timeout and the word that the order is paid come once more,
and a sweep looks. `tests.model.saga` explores the engine, and `tests.model.payments` how money goes back; here each
step is a word to a participant whose own record is the barrier. The step `restock` stands for the coupon's too.

    python -m tests.model.returns             explores the scenarios
    python -m tests.model.returns --mutants   plants one flaw at a time, and says how it is caught
"""

import sys
from collections.abc import Iterator
from typing import NamedTuple

from tests.model.exploring import Model, Mutant, No, Scenario

Steps = Iterator[tuple[str, "World"]]


class World(NamedTuple):
    """The order service's database, stock, pay and the provider, and who is at work."""

    requests: tuple[str, str] = ("start", "start")  # start looked moved over
    order: str = "paid"  # paid returned closed
    runs: int = 0
    run: str = "-"  # - running done
    log: tuple[str, str] = ("-", "-")  # refund, restock: - done
    instances: tuple[str, str] = ("-", "-")  # the claim of each: - holds lost, to the other one
    told: tuple[str, str] = ("", "")  # what each has an answer of, not written down: refund restock
    settlement: bool = True  # written down: a participant has to confirm that the order is paid
    header: str = "deducted"  # at stock: deducted released
    free: int = 0  # pieces that came back
    payment: str = "succeeded"  # succeeded refunding refunded
    sent_back: int = 0  # by the provider
    crashes: int = 2
    again: tuple[str, ...] = ("success", "timeout")  # messages that come once more


def _put(pair: tuple[str, str], at: int, value: str) -> tuple[str, str]:
    return (value, pair[1]) if at == 0 else (pair[0], value)


def steps(world: World, no: No) -> Steps:
    """Yield all that can happen next."""
    for at in (0, 1):
        yield from _asking(world, no, at)
        yield from _running(world, no, at)
    yield from _messages(world, no)
    yield from _others(world, no)


def _asking(world: World, no: No, at: int) -> Steps:
    state = world.requests[at]

    def to(state: str, after: World = world) -> World:
        return after._replace(requests=_put(after.requests, at, state))

    if state == "start" and not (at == 1 and "one request" in no):
        yield "asked", to("looked" if world.order == "paid" else "over")
    elif state == "looked":
        if world.order != "paid" and "a move that asks nobody" not in no:
            yield "another was faster", to("over")
            return
        kept = "what is to be confirmed is kept" in no
        moved = world._replace(order="returned", settlement=world.settlement and kept)
        if "begun after the move" in no:
            yield "moved", to("moved", moved)
        else:
            yield "return.started", to("over", _begun(moved))
    elif state == "moved":
        yield "return.started", to("over", _begun(world))
    if state in {"looked", "moved"} and world.crashes:
        yield "killed while it is asked", to("over", world._replace(crashes=world.crashes - 1))


def _begun(world: World) -> World:
    return world._replace(runs=world.runs + 1, run="running", log=("-", "-"))


def _running(world: World, no: No, at: int) -> Steps:
    claim = world.instances[at]

    def to(claim: str, after: World = world) -> World:
        """Return the world in which the instance holds such a claim, and has told no participant yet."""
        return after._replace(instances=_put(after.instances, at, claim), told=_put(after.told, at, ""))

    if claim == "-":
        may_take = world.run == "running" and not (at == 1 and "one instance" in no)
        if may_take and "no sweep" not in no:
            overtaken = _put(world.instances, 1 - at, "lost" if world.instances[1 - at] == "holds" else "-")
            if world.instances[1 - at] == "lost":
                overtaken = world.instances
            yield "return.claimed", to("holds", world._replace(instances=overtaken))
        return
    if world.crashes:
        yield "return killed", to("-", world._replace(crashes=world.crashes - 1))
    if claim == "lost" or world.run != "running":
        yield "return taken over", to("-")
    elif world.told[at]:
        yield "return.recorded", _recorded(to("holds"), world.told[at])
    else:
        yield from _telling(world, no, at)


def _recorded(world: World, told: str) -> World:
    log = _put(world.log, ("refund", "restock").index(told), "done")
    if log == ("done", "done"):
        return world._replace(log=log, run="done", instances=("-", "-"), told=("", ""))
    return world._replace(log=log)


def _telling(world: World, no: No, at: int) -> Steps:
    """Yield the calls of an instance, whose answers it has not written down yet."""
    if world.log[0] != "done":
        voided = world._replace(payment="refunding" if world.payment == "succeeded" else world.payment)
        if voided.payment == "refunded" or "done once pay is told" in no:
            yield "return.answered refund", voided._replace(told=_put(voided.told, at, "refund"))
        else:
            yield "return.put_off", voided._replace(instances=_put(voided.instances, at, "-"))
    if world.log[1] != "done":
        yield "return.answered restock", _voided(world, no)._replace(told=_put(world.told, at, "restock"))


def _voided(world: World, no: No) -> World:
    if world.header == "deducted" or "pieces go back by each call" in no:
        return world._replace(header="released", free=world.free + 1)
    return world


def _messages(world: World, no: No) -> Steps:
    for name in world.again:
        after = world._replace(again=tuple(other for other in world.again if other != name))
        if name == "success" and "a success pays what is returned" in no and world.order == "returned":
            after = after._replace(order="paid")
        if name == "timeout" and "a timeout closes what is returned" in no and world.order == "returned":
            after = _voided(after._replace(order="closed"), no)
        yield f"{name} comes again", after


def _others(world: World, no: No) -> Steps:
    if world.payment == "refunding":
        keyed = "no key at the provider" not in no
        sent = 1 if keyed else world.sent_back + 1
        if sent <= 2:  # one too many
            yield "refund.asked, its answer lost", world._replace(sent_back=sent) if world.crashes else world
            yield "refund.stored", world._replace(sent_back=sent, payment="refunded")
    if world.order == "returned" and world.header == "deducted" and "the sweep sees no returns" not in no:
        yield "sweep.settled", _voided(world, no)
    if world.settlement and world.header == "deducted":
        yield "confirmed as paid", world._replace(settlement=False)


def wrong(world: World, final: bool) -> str | None:
    """Return which promise a world breaks; `final`: nothing more can happen in it."""
    has_begun = world.runs > 0
    broken = {
        "two returns of one order": world.runs > 1,
        "its pieces came back twice": world.free > 1,
        "its money was sent back twice": world.sent_back > 1,
        "a return of an order that is not returned": has_begun and world.order != "returned",
        "pieces of a paid order are free": world.order == "paid" and world.header == "released",
        "done, and the money is not back": world.run == "done" and not world.sent_back,
        "done, and the pieces are not back": world.run == "done" and not world.free,
    }
    if final:
        broken |= {
            "returned, and nothing brings it back": world.order == "returned" and world.run != "done",
            "returned, and to be confirmed as paid for ever": world.order == "returned" and world.settlement,
        }
    return next((why for why, is_broken in broken.items() if is_broken), None)


SCENARIOS = (
    Scenario("asked twice, two instances", World()),
    Scenario("asked once, one instance", World(), frozenset({"one request", "one instance"})),
    Scenario("asked twice, one instance", World(crashes=1), frozenset({"one instance"})),
)
MUTANTS = (
    Mutant("a move that asks nobody"),
    Mutant("begun after the move", 1),
    Mutant("no sweep", 1, frozenset({"the sweep sees no returns"})),
    Mutant("done once pay is told", 1),
    Mutant("no key at the provider", 1),
    Mutant("pieces go back by each call", 1),
    Mutant("a success pays what is returned", 1),
    Mutant("a timeout closes what is returned", 1),
    Mutant("what is to be confirmed is kept", 1),
)
MODEL = Model(steps, wrong, SCENARIOS, MUTANTS)


if __name__ == "__main__":
    sys.exit(MODEL.main(sys.argv[1:]))
