"""One state of everything that an order's payment touches, and what pay does with news of the provider's."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.model.exploring import No
from tests.model.world import CLOSED, CREATED, GONE, PAID, put

CHARGES = (0, 1)
Two = tuple[str, str]


class World(NamedTuple):
    """One order, its payment, and two tries to pay it: pairs are (first try, second try)."""

    place: str = "start"  # start asked held committed aborting done
    half: str = "-"  # placing's order_rollback, deliver_if aborted: - half ready dropped parked
    record: str = "-"  # of placing: - committed aborted
    order: str = GONE
    wire: int = 0  # requests to pay on their way, late ones included
    header: str = "-"  # pay's reservation: - deducted released
    payment: str = "-"  # - open closed succeeded refunding refunded
    verified: bool = False
    tries: Two = ("-", "-")  # - begun; two means that a customer has two pages open
    wrong_amount: bool = False  # the first try takes another amount than the payment's
    taken: tuple[bool, bool] = (False, False)  # the provider's ledger: money that it took
    returned: tuple[int, int] = (0, 0)  # the provider's ledger: how often it sent it back
    no: tuple[bool, bool] = (False, False)  # the provider said that it does not send it back
    news: Two = ("-", "-")  # of the money: - wire lost stored handled
    charges: Two = ("-", "-")  # what pay made of it: - kept refunding refused refunded
    handler: Two = ("idle", "idle")  # of a success: idle half committed raced
    success: Two = ("-", "-")  # payment_succeeded, deliver_if committed: - half ready dropped parked
    told: Two = ("-", "-")  # its record in pay's database
    settlement: str = "-"  # what pay has still to confirm to order: - void paid
    known: bool = False  # pay has heard that the order is paid
    was_paid: bool = False
    close: str = "none"  # none (nothing closes here) idle asking half committed raced
    half2: str = "-"  # the closing's order_rollback, deliver_if committed
    record2: str = "-"
    answers: bool = False  # the provider answers the last question, and nothing dies: then it must be heard
    in_time: bool = False  # there, money of the right amount was taken before anything closed
    copies: int = 0  # duplicates spent


Steps = Iterator[tuple[str, World]]
"""The name of each step that is possible, and the world after it."""


def is_right(world: World, charge: int) -> bool:
    """Tell whether a charge is of the payment's amount."""
    return bool(charge) or not world.wrong_amount


def released(world: World, no: No) -> World:
    """Do what pay does with a release: close what is open, send back what was kept, leave a tombstone else."""
    if world.header == "released" or (world.header == "-" and "no tombstone" in no):
        return world
    after = world._replace(header="released")
    if world.payment == "open":
        return after._replace(payment="closed")
    if world.payment == "succeeded" and "giving back leaves the money" not in no:
        going = ("refunding" if charge == "kept" else charge for charge in world.charges)
        return after._replace(payment="refunding", charges=tuple(going))
    return after


def sent_back(world: World, charge: int) -> World:
    """Take a charge that has to go back, its news being handled, in one transaction."""
    payment = "refunding" if world.payment in {"closed", "refunded"} else world.payment
    return world._replace(
        charges=put(world.charges, charge, "refunding"),
        news=put(world.news, charge, "handled"),
        payment=payment,
    )


def kept(world: World, charge: int) -> World:
    """Take a charge that pays the payment, in the local transaction of payment_succeeded."""
    return world._replace(
        charges=put(world.charges, charge, "kept"),
        news=put(world.news, charge, "handled"),
        payment="succeeded",
    )


def paid(world: World, no: No) -> World:
    """Do what the order service does with a success: one compare-and-set, and what pay is to be told with it."""
    if world.order == CREATED or (world.order == CLOSED and "a success reopens a closed order" in no):
        return world._replace(order=PAID, was_paid=True, settlement="paid")
    return world


def refunded(world: World, charge: int) -> World:
    """Note that the provider has sent a charge back; the payment is refunded when no charge is on its way."""
    charges: Two = put(world.charges, charge, "refunded")
    is_over = world.payment == "refunding" and not {"refunding", "refused"} & set(charges)
    return world._replace(charges=charges, payment="refunded" if is_over else world.payment)


def changed(values: tuple[Any, ...], position: int, before: str, after: str) -> Any:
    """Return the tuple with another value at a position, if it is `before` there."""
    return put(values, position, after) if values[position] == before else values
