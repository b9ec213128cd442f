"""What time does that is longer than records are kept: transactions get too old, their records are purged.

An old transaction without a record may never have been decided, or its record may have been purged: the checker can't
tell. So it neither delivers nor calls it aborted; it writes `expired`, a fence as well, which drops the half message.
Stock forgets what is released as late. A release that comes later still leaves a tombstone again; a deduction that does
takes pieces for an order that is closed or can't be written any more, which the sweep gives back. What was written
tells the rest: a reservation without an order row is void, a closed order's stock is to be released.
Nothing can write that row any more: a local transaction that is too old by its own clock refuses itself, and one whose
clock is behind finds the fence.
"""

from tests.model.exploring import No
from tests.model.world import IDLE, Closer, Steps, World, put

_DECIDED = frozenset({"committed", "aborted"})
_OLD_ONES_GO_ON = frozenset({"a clock is behind", "old local transactions go on"})


def long_stop(world: World, no: No) -> Steps:
    """Yield the stop itself, what is purged after it, and the operator who resumes what the broker parked meanwhile."""
    if world.stop == "none":
        return
    if world.stop == "ahead" and world.place != "start":
        yield "a long stop", world._replace(stop="over", closers=tuple(_older(closer) for closer in world.closers))
    if "nothing is purged" not in no and (world.stop == "over" or "records are purged too early" in no):
        yield from _purging(world)
    if world.half == "parked" and not world.resumed:
        yield "half message resumed", world._replace(half="half", resumed=True)


def _older(closer: Closer) -> Closer:
    return closer if closer == IDLE else closer._replace(age="old")


def _purging(world: World) -> Steps:
    if world.record in _DECIDED:
        yield "record purged", world._replace(record="-")
    for number, closer in enumerate(world.closers):
        if closer.record in _DECIDED and closer.age == "old":
            yield (
                "closing's record purged",
                world._replace(closers=put(world.closers, number, closer._replace(record="-"))),
            )


def headers_purged(world: World, no: No) -> Steps:
    """Yield what stock forgets: released reservations and tombstones, once nothing that is kept can name them."""
    too_early = "tombstones are purged too early" in no
    if "nothing is purged" in no or not (world.stop == "over" or too_early):
        return
    for order in (0, 1):
        if world.headers[order] == "released":
            gone = world._replace(
                headers=put(world.headers, order, "-"), verified=put(world.verified, order, value=False)
            )
            yield f"reservation {order + 1} purged", gone


def refused(is_old: bool, no: No) -> bool:
    """Tell whether a local transaction refuses itself."""
    return is_old and not _OLD_ONES_GO_ON & no


def undecidable(world: World, no: No) -> bool:
    """Tell whether the checker leaves an old transaction alone for ever, which is a flaw."""
    return world.stop == "over" and "the old are left undecided" in no
