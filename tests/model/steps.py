"""What can happen next in a world: one generator for each actor. `no` names what can't, and the flaws planted."""

from tests.model.aging import headers_purged, long_stop, undecidable
from tests.model.closing import closing
from tests.model.exploring import No
from tests.model.placing import placing
from tests.model.sweeping import sweeping
from tests.model.world import CREATED, GONE, PAID, Steps, World, copied, fence, put, release


def steps(world: World, no: No) -> Steps:
    """Yield the name and the outcome of each step that is possible."""
    yield from placing(world, no)
    yield from _stock(world, no)
    yield from _batch_message(world, no)
    yield from _timeout_message(world, no)
    for number in range(len(world.closers)):
        yield from closing(world, no, number)
    yield from _paying(world, no)
    yield from sweeping(world, no)
    yield from long_stop(world, no)
    yield from headers_purged(world, no)


def _stock(world: World, no: No) -> Steps:
    if not world.wire:
        return
    arrived = world._replace(wire=world.wire - 1)
    yield "stock.deducted", _deduct(arrived, no)
    if "no lost request" not in no:
        yield "deduct request lost", arrived
    for _ in copied(world):
        yield "deduct request doubled", world._replace(wire=world.wire + 1, copies=world.copies + 1)


def _deduct(world: World, no: No) -> World:
    """Deduct both orders in one transaction; the answer reaches the threads that still wait for it."""
    verdicts = []
    for order in (0, 1):
        world, verdict = _deduct_one(world, no, order)
        verdicts.append(verdict)
    return world._replace(verdicts=tuple(verdicts)) if world.place == "waiting" else world


def _deduct_one(world: World, no: No, order: int) -> tuple[World, str]:
    header = world.headers[order]
    taken = world._replace(headers=put(world.headers, order, "deducted"), left=world.left - 1)
    if header == "deducted":
        return (world._replace(left=world.left - 1) if "deduct twice" in no else world), "deducted"
    if header == "released":
        return (taken, "deducted") if "a late deduction revives" in no else (world, "released")
    if world.left:
        return taken, "deducted"
    return world, "deducted" if "a short order is let through" in no else "insufficient"


def _batch_message(world: World, no: No) -> Steps:
    """Yield what becomes of the half message (deliver_if aborted), and of a dropped order's own release."""
    if world.half == "half":
        yield from _check_back(world, no)
    if world.half == "ready":
        released = release(release(world, no, 0), no, 1)
        yield "order_rollback delivered", released._replace(half="dropped")
        for _ in copied(world):
            yield "order_rollback delivered, comes again", released._replace(copies=world.copies + 1)
    if world.own == "ready":
        rest = release(world, no, 0) if "a dropped order's release names its batch" in no else world
        yield "release of the dropped delivered", release(rest, no, 1)._replace(own="done")


def _check_back(world: World, no: No) -> Steps:
    if world.record in {"committed", "expired"}:
        yield "check: rollback", world._replace(half="dropped")
    elif world.record == "aborted" or "checker writes nothing" in no:
        yield "check: commit", world._replace(half="ready")
    elif not undecidable(world, no):
        yield "check.fenced", world._replace(record=fence(world.stop == "over", no))
    if "no giving up" not in no:
        yield "broker gives up", world._replace(half="parked")


def _timeout_message(world: World, no: No) -> Steps:
    """Yield what `Timeouts.handle` does beside closing, which is an actor of its own."""
    if world.timeout != "delayed":
        return
    if world.orders == (GONE, GONE) and world.record == "-":
        if not undecidable(world, no):
            yield "timeout: check.fenced", world._replace(record=fence(world.stop == "over", no))
    elif CREATED not in world.orders or not world.closers:
        yield "timeout.handled", world._replace(timeout="done")
    if "no lost request" not in no:
        yield "timeout dead-lettered", world._replace(timeout="done")


def _paying(world: World, no: No) -> Steps:
    payable = () if "no paying" in no else (0,) if "paying the first only" in no else (0, 1)
    for order in payable:
        if world.orders[order] == CREATED:
            paid = world._replace(orders=put(world.orders, order, PAID), paid=put(world.paid, order, value=True))
            yield f"paying.committed {order + 1}", paid
