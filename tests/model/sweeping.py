"""The sweep from both sides, as `order.service.sweeping.Sweep` does it."""

from tests.model.aging import undecidable
from tests.model.exploring import No
from tests.model.world import CLOSED, GONE, Steps, World, fence, put, release

_IDLE = ("idle", "-", "-")
_FATE = {GONE: "unknown", CLOSED: "void"}


def sweeping(world: World, no: No) -> Steps:
    """Yield what a sweep may do next, dying included."""
    if "no sweep" in no:
        return
    if "sweep in one step" in no:
        yield from _in_one_step(world, no)
    else:
        yield from _step_by_step(world, no)
    yield from _confirming(world, no)


def _listed(world: World, order: int) -> bool:
    return world.headers[order] == "deducted" and not world.verified[order]


def _in_one_step(world: World, no: No) -> Steps:
    for order in (0, 1):
        if _listed(world, order):
            fate = _FATE.get(world.orders[order], "stands")
            if fate == "unknown" and undecidable(world, no):
                continue
            if fate == "unknown" and world.record == "-" and not _unfenced(world, no):
                yield "sweep.fenced", world._replace(record=fence(world.stop == "over", no))
            else:
                yield f"sweep.settled {order + 1}", _settle(world, no, order, "void" if fate == "unknown" else fate)


def _unfenced(world: World, no: No) -> bool:
    return world.stop == "over" and "the old are not fenced" in no


def _settle(world: World, no: No, order: int, fate: str) -> World:
    if fate == "void":
        return release(world, no, order)
    if fate == "stands" and world.headers[order] == "deducted":
        return world._replace(verified=put(world.verified, order, value=True))
    return world


def _step_by_step(world: World, no: No) -> Steps:
    """Yield the look for orders, the fence, the second look and the word to stock: others go on in between."""
    step, *known = world.sweep
    if step == "idle":
        looked = [_FATE.get(world.orders[o], "stands") if _listed(world, o) else "-" for o in (0, 1)]
        if looked != ["-", "-"]:
            yield "sweep: looked", _knowing(world, "read" if "unknown" in looked else "decided", looked)
        return
    yield "sweep dies", world._replace(sweep=_IDLE)
    if step == "read":
        left_alone = world.record != "-" or "sweep releases the undecided" in no or _unfenced(world, no)
        fenced = world.record if left_alone else fence(world.stop == "over", no)
        yield "sweep.fenced", _knowing(world._replace(record=fenced), "fenced", known)
    if step == "fenced":
        yield "sweep: looked again", _knowing(world, "decided", [_again(world, no, o, known[o]) for o in (0, 1)])
    if step == "decided":
        settled = _settle(_settle(world, no, 0, known[0]), no, 1, known[1])
        yield "sweep.settled", settled._replace(sweep=_IDLE)


def _knowing(world: World, step: str, known: list[str]) -> World:
    return world._replace(sweep=(step, known[0], known[1]))


def _again(world: World, no: No, order: int, known: str) -> str:
    if known != "unknown":
        return known
    if world.orders[order] in _FATE or "sweep looks for orders only once" in no:
        return "void"
    return "stands"


def _confirming(world: World, no: No) -> Steps:
    if "one-sided sweep" in no:
        return
    for order in (0, 1):
        if world.orders[order] == CLOSED and not world.confirmed[order]:
            released = release(world, no, order)
            yield f"release of {order + 1} settled, not marked", released
            yield f"_mark_confirmed {order + 1}", released._replace(confirmed=put(world.confirmed, order, value=True))
