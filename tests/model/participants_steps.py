"""What can happen next to two orders and two participants: one generator for each actor."""

from tests.model.exploring import No
from tests.model.participants_world import (
    CELLS,
    COUPON,
    COUPON_CELL,
    NAMES,
    OF_ORDER,
    PARTICIPANTS,
    Steps,
    World,
    deliver,
    release,
    reserve,
    standing,
    tell_paid,
)
from tests.model.world import CLOSED, CREATED, GONE, PAID, put


def steps(world: World, no: No) -> Steps:
    """Yield the name and the outcome of each step that is possible."""
    yield from _placing(world, no)
    yield from _wires(world, no)
    yield from _placing_messages(world, no)
    yield from _paying(world, no)
    yield from _closing(world, no)
    if "no sweep" not in no:
        yield from _sweeping(world, no)
    if "nothing is confirmed" not in no:
        yield from _confirming(world, no)


def _placing(world: World, no: No) -> Steps:
    if world.place == "start":
        yield "order.half_sent, all asked", world._replace(place="asked", half="half", wire=(1, 1))
        return
    if world.place == "asked":
        yield from _asked(world, no)
    elif world.place == "answered":
        yield from _commit(world, no)
    elif world.place in {"committed", "dropping"}:
        yield from _resolved(world, "dropped")
    elif world.place == "aborting":
        yield from _resolved(world, "ready")
    if world.place != "done":
        yield "placing process dies", _over(world)


def _over(world: World) -> World:
    return world._replace(place="done", replies=((), ()))


def _resolved(world: World, half: str) -> Steps:
    yield f"order.resolved: {half}", _over(world)._replace(half=half if world.half == "half" else world.half)
    yield "resolve raised", _over(world)


def _asked(world: World, no: No) -> Steps:
    for participant in PARTICIPANTS:
        if not world.replies[participant]:
            lost = put(world.replies, participant, ("lost",))
            yield f"{NAMES[participant]} does not answer", world._replace(replies=lost)
    if ("lost",) in world.replies and "no answer is a refusal" not in no:
        yield "a participant did not answer", world._replace(place="aborting")
        return
    if () in world.replies:
        return
    if any(_kept(world, no)):
        yield "order.deducted", world._replace(place="answered")
    elif "deducted" in _verdicts(world) and "refused by one is held by none" not in no:
        yield "nothing stands, a participant holds", world._replace(place="aborting")
    else:
        yield "all refused", world._replace(place="dropping")


def _verdicts(world: World) -> tuple[str, str, str]:
    """Return what was said of each cell; of one that did not answer: `lost`."""
    stock, coupon = world.replies
    first, second = stock if len(stock) == len(OF_ORDER) else ("lost", "lost")
    return (first, coupon[0] if coupon else "lost", second)


def _kept(world: World, no: No) -> tuple[bool, bool]:
    verdicts = _verdicts(world)
    enough = any if "held by one is enough" in no else all
    kept = [enough(verdicts[cell] == "deducted" for cell in cells) for cells in OF_ORDER]
    return (kept[0], kept[1])


def _commit(world: World, no: No) -> Steps:
    aborting = world._replace(place="aborting")
    yield "local transaction failed", aborting
    kept, verdicts = _kept(world, no), _verdicts(world)
    in_vain = [o for o, cells in enumerate(OF_ORDER) if not kept[o] and any(verdicts[c] == "deducted" for c in cells)]
    if in_vain and world.own == "-" and not {"refused order not released", "refused order released last"} & no:
        (order,) = in_vain
        sent = world._replace(own="ready", own_order=order)
        yield "_release dropped", sent
        if "no failing send" not in no:
            yield "_release dropped raised, but arrived", sent._replace(place="aborting")
        return
    if world.record == "aborted":
        yield "AlreadyAborted", _over(world)
        return
    written = world._replace(record="committed")
    for order in (0, 1):
        if kept[order]:
            written = _write(written, order)
    if "refused order released last" in no and in_vain:
        yield "committed, then released", _over(written)._replace(own="ready", own_order=in_vain[0])
    yield "order.committed", written._replace(place="committed")
    yield "CommitOutcomeUnknown: it committed", _over(written)
    yield "CommitOutcomeUnknown: it did not", _over(world)


def _write(world: World, order: int) -> World:
    """Write one order; one that costs nothing is paid with it, which the coupon has to hear of."""
    if order or not world.free:
        return world._replace(orders=put(world.orders, order, CREATED))
    settlements = put(world.settlements, COUPON_CELL, "paid")
    paid = put(world.paid, order, value=True)
    return world._replace(orders=put(world.orders, order, PAID), settlements=settlements, paid=paid)


def _wires(world: World, no: No) -> Steps:
    for participant in PARTICIPANTS:
        if not world.wire[participant]:
            continue
        arrived = world._replace(wire=put(world.wire, participant, world.wire[participant] - 1))
        yield from reserve(arrived, participant, no)
        yield f"request to {NAMES[participant]} lost", arrived
        if world.copies < 1:
            doubled = put(world.wire, participant, world.wire[participant] + 1)
            yield f"request to {NAMES[participant]} doubled", world._replace(wire=doubled, copies=world.copies + 1)


def _placing_messages(world: World, no: No) -> Steps:
    if world.half == "half":
        if world.record == "committed":
            yield "check: rollback", world._replace(half="dropped")
        elif world.record == "aborted":
            yield "check: commit", world._replace(half="ready")
        else:
            yield "check.fenced", world._replace(record="aborted")
        if "no giving up" not in no:
            yield "broker gives up", world._replace(half="parked")
    if world.half == "ready":
        yield from deliver(world, "heard", {"half": "dropped"}, (0, 1, 2), no)
    if world.own == "ready":
        yield from deliver(world, "own_heard", {"own": "done"}, _released_alone(world, no), no)


def _released_alone(world: World, no: No) -> tuple[int, ...]:
    cells = OF_ORDER[world.own_order]
    if "released where it was refused" in no:
        return tuple(cell for cell in cells if CELLS[cell][1] == COUPON)
    return cells


def _paying(world: World, no: No) -> Steps:
    for order in (0, 1):
        if world.close != "none" and world.orders[order] == CREATED:
            paid = world._replace(orders=put(world.orders, order, PAID), paid=put(world.paid, order, value=True))
            if not order and "payment is noted afterwards" not in no:
                paid = paid._replace(settlements=put(world.settlements, COUPON_CELL, "paid"))
            yield f"paying.committed {order + 1}", paid


def _closing(world: World, no: No) -> Steps:
    """Yield what one closer does with all unpaid orders, in one batch, dying included; it may begin again."""
    if world.close == "idle" and world.half2 in {"-", "dropped", "parked"}:
        named = (world.orders[0] == CREATED, world.orders[1] == CREATED)
        if any(named):
            again = {"record2": "-", "heard2": (False, False)}
            yield "close.half_sent", world._replace(close="half", half2="half", named=named, **again)
    if world.close == "half":
        yield from _close(world, no)
    elif world.close in {"committed", "raced"}:
        half2 = "ready" if world.close == "committed" else "dropped"
        yield "close.resolved", world._replace(close="idle", half2=half2 if world.half2 == "half" else world.half2)
    if world.close in {"half", "committed", "raced"}:
        yield "closer dies", world._replace(close="idle")
    if world.half2 == "half":
        if world.record2 == "-":
            yield "closing: check.fenced", world._replace(record2="aborted")
        else:
            yield "closing: check", world._replace(half2="ready" if world.record2 == "committed" else "dropped")
        if "no giving up" not in no:
            yield "broker gives up on closing", world._replace(half2="parked")
    if world.half2 == "ready":
        cells = tuple(cell for cell, (order, _) in enumerate(CELLS) if world.named[order])
        yield from deliver(world, "heard2", {"half2": "dropped"}, cells, no)


def _close(world: World, no: No) -> Steps:
    named = [order for order in (0, 1) if world.named[order]]
    if world.record2 != "-" or any(world.orders[order] != CREATED for order in named):
        yield "closing refused", world._replace(close="raced" if world.record2 == "-" else "idle")
        return
    closed = world._replace(close="committed", record2="committed")
    for order in named:
        closed = closed._replace(orders=put(closed.orders, order, CLOSED))
        for cell in OF_ORDER[order]:
            if CELLS[cell][1] == COUPON and "closing notes stock only" in no:
                continue
            closed = closed._replace(settlements=put(closed.settlements, cell, "void"))
    yield "close.committed", closed


def _sweeping(world: World, no: No) -> Steps:
    """Yield what becomes of live reservations that are not verified, participant by participant."""
    for cell, (order, participant) in enumerate(CELLS):
        if world.headers[cell] != "deducted" or world.verified[cell]:
            continue
        if participant == COUPON and "the sweep asks stock only" in no:
            continue
        name = f"sweep.settled {NAMES[participant]} {order + 1}"
        if world.orders[order] == PAID and participant == COUPON:
            yield name, tell_paid(world, cell)
        elif standing(world, order):
            yield name, world._replace(verified=put(world.verified, cell, value=True))
        elif world.orders[order] == CLOSED or world.record != "-":
            yield name, release(world, cell, no)
        elif world.orders[order] == GONE:
            yield "sweep.fenced", world._replace(record="aborted")


def _confirming(world: World, no: No) -> Steps:
    """Yield what is told a participant of what it has still to confirm: by the sweep or, of a payment, at once."""
    for cell, (order, participant) in enumerate(CELLS):
        fate = world.settlements[cell]
        if fate == "-" or (fate == "void" and "no sweep" in no):
            continue
        told = tell_paid(world, cell) if fate == "paid" else release(world, cell, no)
        if "confirmed before it is told" in no:
            told = world
        name = f"{NAMES[participant]} is told: order {order + 1} {fate}"
        yield f"{name}, not noted", told
        gone = OF_ORDER[order] if "confirmed by one is confirmed by all" in no else (cell,)
        settlements = world.settlements
        for each in gone:
            settlements = put(settlements, each, "-")
        yield name, told._replace(settlements=settlements)
