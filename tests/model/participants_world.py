"""One state of everything that two orders and two participants touch, and what a participant does."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.model.exploring import No
from tests.model.world import CREATED, GONE, PAID, put

STOCK, COUPON = 0, 1
PARTICIPANTS = (STOCK, COUPON)
NAMES = ("stock", "coupon")
CELLS = ((0, STOCK), (0, COUPON), (1, STOCK))
"""What is reserved by whom for which order: the first order needs both, the second has no coupon."""
OF_ORDER = ((0, 1), (2,))
OF_PARTICIPANT = ((0, 2), (1,))
COUPON_CELL = 1


class World(NamedTuple):
    """Where a tuple has three members, they are those of `CELLS`; where two, orders or participants."""

    place: str = "start"  # start asked answered committed dropping aborting done
    half: str = "-"  # the batch's order_rollback, deliver_if aborted: - half ready dropped parked
    heard: tuple[bool, bool] = (False, False)  # it has reached this participant's group
    own: str = "-"  # the release of the order that dropped out alone: - ready done
    own_order: int = -1
    own_heard: tuple[bool, bool] = (False, False)
    record: str = "-"  # - committed aborted
    orders: tuple[str, str] = (GONE, GONE)
    free: bool = False  # the coupon makes the first order cost nothing: it is paid at once
    wire: tuple[int, int] = (0, 0)  # requests on their way to each participant, late ones included
    replies: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())  # verdicts on the participant's cells; ("lost",)
    headers: tuple[str, str, str] = ("-", "-", "-")  # - deducted released
    left: int = 2  # pieces in stock
    total: int = 2
    uses: int = 1  # of the coupon, free ones
    used: bool = False  # the coupon's participant has been told that the first order is paid
    verified: tuple[bool, bool, bool] = (False, False, False)
    settlements: tuple[str, str, str] = ("-", "-", "-")  # what the participant has still to confirm: - void paid
    paid: tuple[bool, bool] = (False, False)
    close: str = "none"  # none (nobody closes here) idle half committed raced
    named: tuple[bool, bool] = (False, False)
    half2: str = "-"  # the closing's order_rollback, deliver_if committed
    heard2: tuple[bool, bool] = (False, False)
    record2: str = "-"
    copies: int = 0  # duplicates spent


Steps = Iterator[tuple[str, World]]
"""The name of each step that is possible, and the world after it."""


def standing(world: World, order: int) -> bool:
    """Tell whether an order is created or paid."""
    return world.orders[order] in {CREATED, PAID}


def reserve(world: World, participant: int, no: No) -> Iterator[tuple[str, World]]:
    """Yield what one call to a participant for all orders that need it may come to, verdicts in order of its cells."""
    cells = OF_PARTICIPANT[participant]
    for sequence in {cells, cells[::-1]}:  # which of two gets the last piece is not said
        after, verdicts = world, {}
        for cell in sequence:
            after, verdicts[cell] = _reserve(after, cell, no)
        told = tuple(verdicts[cell] for cell in cells)
        is_waited_for = after.place == "asked" and not after.replies[participant]
        yield (
            f"{NAMES[participant]}.deducted",
            after._replace(replies=put(after.replies, participant, told)) if is_waited_for else after,
        )


def _reserve(world: World, cell: int, no: No) -> tuple[World, str]:
    header = world.headers[cell]
    if header == "deducted":
        return world, "deducted"
    if header == "released":
        return world, "released"
    if CELLS[cell][1] == COUPON:
        taken = world._replace(uses=world.uses - 1)
        refused = not world.uses and "the last use is given twice" not in no
    else:
        taken = world._replace(left=world.left - 1)
        refused = not world.left
    return (world, "refused") if refused else (taken._replace(headers=put(world.headers, cell, "deducted")), "deducted")


def release(world: World, cell: int, no: No) -> World:
    """Do what a participant does with the release of one order: give back, or leave a tombstone."""
    header = world.headers[cell]
    if header == "released" or (header == "-" and "no tombstone" in no):
        return world
    if header == "deducted" and CELLS[cell][1] == COUPON:
        world = world._replace(uses=world.uses + 1)
    elif header == "deducted":
        world = world._replace(left=world.left + 1)
    return world._replace(headers=put(world.headers, cell, "released"))


def tell_paid(world: World, cell: int) -> World:
    """Do what a participant does when it hears that an order is paid: confirmed, and the use counted as used."""
    if world.headers[cell] != "deducted":
        return world
    verified = put(world.verified, cell, value=True)
    return world._replace(verified=verified, used=world.used or CELLS[cell][1] == COUPON)


def deliver(world: World, heard: str, done: dict[str, Any], cells: tuple[int, ...], no: No) -> Steps:
    """Yield a rollback's delivery to each group that has not had it; `done` is the world's change after the last."""
    for participant in PARTICIPANTS:
        before: tuple[bool, bool] = getattr(world, heard)
        if before[participant]:
            continue
        after = world
        for cell in cells:
            if CELLS[cell][1] == participant:
                after = release(after, cell, no)
        if world.copies < 1:
            yield f"{heard} by {NAMES[participant]}, comes again", after._replace(copies=world.copies + 1)
        after = after._replace(**{heard: put(before, participant, value=True)})
        over = all(getattr(after, heard)) or "one group for all" in no
        yield f"{heard} by {NAMES[participant]}", after._replace(**done) if over else after
