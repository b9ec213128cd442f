"""One state of everything that the protocol touches."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.model.exploring import No

GONE, CREATED, PAID, CLOSED = "-", "created", "paid", "closed"

Pair = tuple[str, str]


class Closer(NamedTuple):
    """Something that closes orders: the consumer of timeouts, a client who cancels, the sweep of overdue ones."""

    step: str = "idle"  # idle half_sent committed raced
    named: tuple[bool, bool] = (False, False)  # the orders in its message
    half: str = "-"  # its order_rollback, deliver_if committed: - half ready dropped parked
    record: str = "-"
    age: str = "young"  # young old; old: its record is not kept any longer


IDLE = Closer()


class World(NamedTuple):
    """Two orders of one piece each, in one batch; pairs are (first order, second order)."""

    place: str = "start"  # the failpoint passed last, or what `Placing` is about to do
    answers: Pair = ("-", "-")  # what the clients were told: 201, nothing created, unknown, replayed
    half: str = "-"  # the batch's order_rollback, deliver_if aborted: - half ready dropped parked
    record: str = "-"  # of the batch: - committed aborted expired
    stop: str = "none"  # a stop for longer than records are kept: none (there is none here) ahead over
    resumed: bool = False  # an operator has had a parked half message asked about again
    orders: Pair = (GONE, GONE)
    wire: int = 0  # deduct requests on their way to stock, late ones included
    verdicts: tuple[str, ...] = ()  # the answer to the request that is waited for
    headers: Pair = ("-", "-")  # reservations: - deducted released
    left: int = 2  # pieces available
    total: int = 2
    key: str = "none"  # the second order's idempotency key: none free taken (by another process)
    own: str = "-"  # the dropped order's own release message: - ready done
    half_written: bool = False  # only with the flaw "commit part of a batch": the second order is still to be written
    scheduling: str = "-"  # the sending of order_timeout: - at it done failed
    timeout: str = "-"  # order_timeout of the batch: - delayed done
    closers: tuple[Closer, ...] = ()
    sweep: tuple[str, str, str] = ("idle", "-", "-")  # its step, and what it knows of each order
    verified: tuple[bool, bool] = (False, False)
    confirmed: tuple[bool, bool] = (False, False)
    paid: tuple[bool, bool] = (False, False)
    copies: int = 0  # duplicates spent


Steps = Iterator[tuple[str, World]]
"""The name of each step that is possible, and the world after it."""

_MOST_COPIES = 1


def put(values: tuple[Any, ...], position: int, value: Any) -> Any:
    """Return the tuple with another value at a position."""
    return (*values[:position], value, *values[position + 1 :])


def copied(world: World) -> range:
    """Tell, as something to iterate over, whether one more duplicate may happen."""
    return range(_MOST_COPIES - world.copies)


def fence(is_old: bool, no: No) -> str:
    """Return what the checker writes where there is no record: there may have been one that was purged, or not."""
    return "expired" if is_old and "a purged record is fenced like a missing one" not in no else "aborted"


def release(world: World, no: No, order: int) -> World:
    """Do what stock does with the release of one order."""
    header = world.headers[order]
    if header == "released":
        return world._replace(left=world.left + 1) if "release without a log" in no else world
    if header == "-" and "no tombstone" in no:
        return world
    left = world.left + (header == "deducted")
    return world._replace(headers=put(world.headers, order, "released"), left=left)
