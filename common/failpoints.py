"""The failpoints of our services, and the setting that arms them (`halfmessage.failpoints`)."""

from typing import Final

from common.errors import OrdersError
from common.registry import PARTICIPANTS
from halfmessage import failpoints

POINTS: Final = frozenset[str]().union(*map(failpoints.of_participant, PARTICIPANTS)) | frozenset(
    {
        # placing an order
        "order.half_sent",
        "order.timeout_scheduled",
        "order.deducted",
        "order.before_commit",
        "order.committed",
        "order.before_resolve",
        "order.resolved",
        # taking in an order that is to be placed soon, and placing it
        "request.half_sent",
        "request.before_commit",
        "request.committed",
        "request.before_resolve",
        "request.resolved",
        "request.received",
        "request.handled",
        # buying in a flash sale, and placing what was bought
        "purchase.half_sent",
        "purchase.before_commit",
        "purchase.committed",
        "purchase.before_resolve",
        "purchase.resolved",
        "purchase_check.received",
        "purchase_check.fenced",
        "selling.received",
        "selling.handled",
        # opening a flash sale, ending it, and bringing its pieces back
        "sale.allotted",
        "sale.opened",
        "sale.closed",
        "sale.returned",
        "sale.given_back",
        # closing one (timeout or cancel)
        "close.half_sent",
        "close.before_commit",
        "close.committed",
        "close.before_resolve",
        "close.resolved",
        # paying
        "paying.committed",
        "payment.received",
        "payment.handled",
        # the timeout consumer, the checker and the sweep, on the order side
        "timeout.received",
        "timeout.handled",
        "check.received",
        "check.fenced",
        "sweep.fenced",
        "sweep.settled",
        # pay: what providers say, and the message of a success
        "event.stored",
        "event.handled",
        "success.half_sent",
        "success.before_commit",
        "success.committed",
        "success.before_resolve",
        "success.resolved",
        # pay: tries, and refunds; each once the provider has answered, and once that is stored
        "attempt.stored",
        "attempt.begun",
        "refund.asked",
        "refund.stored",
    }
    | failpoints.of_saga("return") - {"return.turned"}  # it goes forward only
)


def arm(spec: str, *, production: bool) -> None:
    """Arm what ORDERS_FAILPOINTS says. Raise `OrdersError` where it is wrong, or in production."""
    if spec and production:
        raise OrdersError("ORDERS_FAILPOINTS is set, but ORDERS_ENVIRONMENT says production: refusing to start")
    failpoints.arm(spec, POINTS)
