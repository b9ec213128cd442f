"""Paying orders: pay is asked for a try, and what was paid is marked so by compare-and-set, however it is told.

Money is taken by a provider; that it was is told by pay's answer to the try, by its message `payment_succeeded`
(`order.service.successes`), or by its answer to the last question (`order.service.overdue`). All of them end in
`Paying.mark`. What participants have still to hear of is written with it: see `order.service.settling`.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection, select, update

from common.db import Database
from common.errors import PeerUnavailable
from halfmessage import failpoints
from halfmessage.chunks import ROWS, chunks
from halfmessage.clock import now_ms
from halfmessage.errors import CommitOutcomeUnknown, OutcomeUnknown, Unavailable
from order.clients.pay import Attempt, PayClient, PaymentStatus
from order.model import Order, OrderClosed, PaymentRefused, Status, UnknownProvider, orders, orders_unheld
from order.service.reading import OrderReader, find_orders
from order.service.settling import Settlements

log = structlog.get_logger()

_OPEN = orders.c.status == Status.CREATED.value


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The customer pays at `pay_url`; whether that was done is told later."""

    order_id: int
    pay_url: str


class Paying:
    """Pays orders."""

    def __init__(
        self,
        database: Database,
        reader: OrderReader,
        payments: PayClient | None,
        is_held: Callable[[Order], bool],
        settlements: Settlements,
        tell: Callable[[], object],
    ) -> None:
        """Take the order service's database, what reads orders, and the pay service where the deployment has it.

        `is_held` knows whether all that an order needs is held, `settlements` what is to be confirmed; `tell` is called
        when a participant has to hear of a payment.
        """
        self._database = database
        self._reader = reader
        self._payments = payments
        self._is_held = is_held
        self._settlements = settlements
        self._tell = tell

    def pay(self, order_id: int, provider: str, scenario: str | None, *, owner: str | None) -> Order | Elsewhere:
        """Pay an unpaid order; again: the same.

        Raise `NotFound`, `OrderClosed`, `UnknownProvider`, `PaymentRefused`, `Unavailable` or `OutcomeUnknown`.
        """
        before = self._reader.get(order_id, owner=owner)
        if before.status is not Status.CREATED or not self._is_held(before):
            return _outcome(before)
        if self._payments is None:
            raise UnknownProvider("This deployment has no pay service (ORDERS_PARTICIPANTS): no order can be paid.")
        return self._settle(before, self._payments.attempt(before, provider, scenario), owner)

    def _settle(self, order: Order, attempt: Attempt, owner: str | None) -> Order | Elsewhere:
        """Do what a try tells: a payment that is closed, or goes back, is of an order that is closed."""
        payment = attempt.payment
        if payment.status is PaymentStatus.OPEN:
            if attempt.pay_url is not None:
                return Elsewhere(order.order_id, attempt.pay_url)
            if attempt.refusal is not None:
                raise PaymentRefused(reason=attempt.refusal)
            raise PeerUnavailable("The payment is under way; nothing is lost, look at the order again.")
        if payment.status is PaymentStatus.SUCCEEDED and payment.provider is not None:
            try:
                self.mark({order.order_id: payment.provider})
            except CommitOutcomeUnknown as error:
                raise OutcomeUnknown(order_id=str(order.order_id)) from error
        return _outcome(self._reader.get(order.order_id, owner=owner))

    def mark(self, paid: Mapping[int, str]) -> list[int]:
        """Mark orders paid (order id → who took the money): those that are unpaid, at most `ROWS` in a transaction.

        Return those that stay unpaid because what they need is known not to be held. Closed ones, and such as do not
        exist, are left alone: their money goes back. Raise `Unavailable` or `CommitOutcomeUnknown`: do it again.
        """
        return [order_id for part in chunks(sorted(paid), ROWS) for order_id in self._mark({o: paid[o] for o in part})]

    def _mark(self, paid: Mapping[int, str]) -> list[int]:
        unheld, is_to_be_told = self._database.transact(lambda connection: self._mark_rows(connection, paid))
        failpoints.hit("paying.committed")
        if is_to_be_told:
            self._tell()
        return unheld

    def _mark_rows(self, connection: Connection, paid: Mapping[int, str]) -> tuple[list[int], bool]:
        """Return the unpaid ones that are not held, and whether a participant has to hear of the others."""
        is_unheld = select(orders_unheld.c.order_id).where(orders_unheld.c.order_id == orders.c.order_id).exists()
        unpaid = (
            select(orders.c.order_id, is_unheld)
            .where(orders.c.order_id.in_(paid) & _OPEN)
            .order_by(orders.c.order_id)
            .with_for_update()
        )
        found = {row[0]: bool(row[1]) for row in connection.execute(unpaid)}
        held = find_orders(connection, [order_id for order_id, lacks in found.items() if not lacks])
        by_provider: defaultdict[str, list[int]] = defaultdict(list)
        for order_id in held:
            by_provider[paid[order_id]].append(order_id)
        for provider, order_ids in by_provider.items():
            moved = {"status": Status.PAID.value, "paid_at": now_ms(), "paid_through": provider}
            connection.execute(update(orders).where(orders.c.order_id.in_(order_ids) & _OPEN).values(moved))
        is_to_be_told = bool(held) and self._settlements.note_paid(connection, list(held.values()))
        return [order_id for order_id, lacks in found.items() if lacks], is_to_be_told


def _outcome(order: Order) -> Order:
    """Return the order if it is paid, or raise why it is not."""
    if order.status is Status.CLOSED:
        raise OrderClosed
    if order.status is Status.RETURNED:
        raise OrderClosed("The order was returned and can't be paid again.")
    if order.status is Status.CREATED:
        log.error("an order without what it needs was to be paid", order_id=str(order.order_id))
        raise Unavailable("What this order needs is not held at the moment; nothing is lost, try again.")
    return order
