"""Closing a batch of orders, as `order.service.closing.Closing` does it, and what becomes of its half message."""

from tests.model.aging import refused
from tests.model.exploring import No
from tests.model.world import CLOSED, CREATED, IDLE, PAID, Closer, Steps, World, copied, fence, put, release


def closing(world: World, no: No, number: int) -> Steps:
    """Yield what one closer may do next, dying included, and what may happen to its message."""
    closer = world.closers[number]
    if closer.step == "idle":
        yield from _begin(world, no, number)
    else:
        yield from _go_on(world, no, number)
        yield f"closer {number + 1} dies", _with(world, number, closer._replace(step="idle"))
    if closer.half == "half":
        yield from _check_back(world, no, number)
    if closer.half == "ready":
        released = _released(world, no, closer)
        yield "closing's order_rollback delivered", _with(released, number, closer._replace(half="dropped"))
        for _ in copied(world):
            yield "closing's order_rollback delivered, comes again", released._replace(copies=world.copies + 1)


def _with(world: World, number: int, closer: Closer) -> World:
    if closer.step == "idle" and closer.half not in {"half", "ready"}:
        closer = IDLE  # what it was about does not matter any more
    return world._replace(closers=put(world.closers, number, closer))


def _is_open(world: World, no: No, order: int) -> bool:
    return world.orders[order] == CREATED or ("timeout ignores status" in no and world.orders[order] == PAID)


def _begin(world: World, no: No, number: int) -> Steps:
    if world.closers[number] != IDLE:
        return
    # the second closer is a client, who cancels the first order
    named = (_is_open(world, no, 0), number == 0 and _is_open(world, no, 1))
    if any(named):
        begun = Closer("half_sent", named, "half")
        yield f"close.half_sent {number + 1}", _with(world, number, begun)
        if "no failing send" not in no:
            yield f"begin {number + 1} raised, but arrived", _with(world, number, begun._replace(step="idle"))


def _go_on(world: World, no: No, number: int) -> Steps:
    closer = world.closers[number]
    if closer.step == "half_sent":
        yield from _commit(world, no, number)
        return
    resolution = "ready" if closer.step == "committed" else "dropped"
    half = resolution if closer.half == "half" else closer.half
    yield f"close.resolved {number + 1}", _with(world, number, closer._replace(step="idle", half=half))


def _commit(world: World, no: No, number: int) -> Steps:
    closer = world.closers[number]
    yield f"closing {number + 1} failed", _with(world, number, closer._replace(step="raced"))
    if closer.record != "-" or refused(closer.age == "old", no):
        yield f"closing {number + 1}: AlreadyAborted", _with(world, number, closer._replace(step="idle"))
        return
    named = [order for order in (0, 1) if closer.named[order]]
    still_open = [order for order in named if _is_open(world, no, order)]
    if still_open != named and "close batch releases a paid order" not in no:
        return  # _Raced, which is the failure above
    for order in still_open:
        world = world._replace(orders=put(world.orders, order, CLOSED))
    committed = closer._replace(step="committed", record="committed")
    yield f"close.committed {number + 1}", _with(world, number, committed)
    if "no unknown commit" not in no:
        unknown = _with(world, number, committed._replace(step="idle"))
        yield f"closing {number + 1}: CommitOutcomeUnknown, it committed", unknown


def _check_back(world: World, no: No, number: int) -> Steps:
    closer = world.closers[number]
    deliver_if = "aborted" if "closing rolls back like placing" in no else "committed"
    if closer.record == "-":
        fenced = closer._replace(record=fence(closer.age == "old", no))
        yield "closing: check.fenced", _with(world, number, fenced)
    else:
        half = "ready" if closer.record in {deliver_if, *_delivered_too(no)} else "dropped"
        yield f"closing: check, {half}", _with(world, number, closer._replace(half=half))
    if "no giving up" not in no:
        yield "broker gives up on closing", _with(world, number, closer._replace(half="parked"))


def _delivered_too(no: No) -> frozenset[str]:
    return frozenset({"expired"}) if "what expired is delivered" in no else frozenset()


def _released(world: World, no: No, closer: Closer) -> World:
    for order in (0, 1):
        if closer.named[order]:
            world = release(world, no, order)
    return world
