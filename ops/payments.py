"""Compares orders with their payments, and those with the provider's own books, to the minor unit. It never writes."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Row, Select, func, select

from common.registry import SANDBOX
from ops.findings import BY_HAND, WAIT, Finding, Gravity, SentBack, by_age, wrong
from ops.ledgers import opened, pages
from ops.other_money import other_money, sent_back
from ops.provider_books import Books, Taken
from ops.returns import under_way
from order.model import Status, orders
from pay.model import ChargeState, PaymentState, Reason, attempts, charges, payments

_ORDERS: Select[Any] = select(
    *(orders.c.order_id, orders.c.status, orders.c.total_amount, orders.c.currency, orders.c.paid_through),
    func.coalesce(orders.c.closed_at, orders.c.returned_at),
)
_PAYMENTS: Select[Any] = select(
    *(payments.c.order_id, payments.c.state, payments.c.amount, payments.c.currency, payments.c.provider),
    *(payments.c.created_at, payments.c.succeeded_at),
)
_CHARGES: Select[Any] = select(
    *(charges.c.order_id, charges.c.provider, charges.c.charge_id, charges.c.state, charges.c.amount),
    *(charges.c.currency, charges.c.refusal, charges.c.taken_at, charges.c.refund_since, charges.c.reason),
)
_ASKED: Select[Any] = select(attempts.c.order_id).where(attempts.c.next_poll_at.is_not(None))


@dataclass(frozen=True, slots=True)
class _Order:
    status: Status
    amount: int
    currency: str
    paid_through: str | None
    over_at: int | None
    is_returning: bool = False


@dataclass(frozen=True, slots=True)
class _Payment:
    state: PaymentState
    amount: int
    currency: str
    provider: str | None
    created_at: int
    succeeded_at: int | None


@dataclass(frozen=True, slots=True)
class _Charge:
    provider: str
    charge_id: str
    state: ChargeState
    amount: int
    currency: str
    refusal: str | None
    taken_at: int
    refund_since: int | None
    reason: str | None


class Payments:
    """The databases of orders, of pay and, where the deployment has it, of the sandbox provider."""

    def __init__(self, order_url: str, pay_url: str, sandbox_url: str | None, *, grace: float) -> None:
        """Open all for reading; `grace`: seconds that anything may be on its way.

        Raise `SchemaMismatch` where one is another release's.
        """
        self._orders, self._pay = opened("order", order_url), opened("pay", pay_url)
        self._books = None if sandbox_url is None else Books(sandbox_url)
        self._grace = grace

    def close(self) -> None:
        """Close all."""
        for database in (self._orders, self._pay):
            database.close()
        if self._books is not None:
            self._books.close()

    def count(self) -> int:
        """Return how many payments there are."""
        with self._pay.read() as connection:
            return int(connection.scalar(select(func.count()).select_from(payments)) or 0)

    def ids(self) -> Iterator[Sequence[int]]:
        """Yield the ids of all orders that have a payment, or money at pay or the provider, page by page.

        An order may be in several of them.
        """
        yield from pages(self._pay, select(payments.c.order_id), payments.c.order_id)
        named = select(charges.c.order_id).where(charges.c.order_id.is_not(None)).distinct()
        yield from pages(self._pay, named, charges.c.order_id)
        if self._books is not None:
            yield from self._books.ids()

    def nameless(self) -> list[Finding]:
        """Return money of no order of ours that is not back yet, or of which its provider says otherwise."""
        with self._pay.read() as connection:
            rows = connection.execute(_CHARGES.where(charges.c.order_id.is_(None))).all()
            otherwise = list(other_money(connection, charges.c.order_id.is_(None)))
        return otherwise + [finding for row in rows for finding in self._judge_charge("none", _charge(row))]

    def sent_back(self) -> SentBack:
        """Return the money of another amount or currency that was taken for an order, and is back."""
        with self._pay.read() as connection:
            return sent_back(connection)

    def judge(self, order_ids: Collection[int]) -> list[Finding]:
        """Return what is wrong with these orders and their money."""
        with self._orders.read() as connection:
            rows = connection.execute(_ORDERS.where(orders.c.order_id.in_(order_ids)))
            known = {order_id: _Order(Status(status), *rest) for order_id, status, *rest in rows}
            returned = [order_id for order_id, order in known.items() if order.status is Status.RETURNED]
            for order_id in under_way(connection, returned):
                known[order_id] = replace(known[order_id], is_returning=True)
        with self._pay.read() as connection:
            rows = connection.execute(_PAYMENTS.where(payments.c.order_id.in_(order_ids)))
            paid = {order_id: _Payment(PaymentState(state), *rest) for order_id, state, *rest in rows}
            taken: defaultdict[int, list[_Charge]] = defaultdict(list)
            for row in connection.execute(_CHARGES.where(charges.c.order_id.in_(order_ids))):
                taken[row.order_id].append(_charge(row))
            asked = set(connection.scalars(_ASKED.where(attempts.c.order_id.in_(order_ids))))
            otherwise = list(other_money(connection, charges.c.order_id.in_(order_ids)))
        books = {} if self._books is None else self._books.taken(order_ids)
        return otherwise + [
            finding
            for order_id in order_ids
            for finding in (
                *self._judge(str(order_id), known.get(order_id), paid.get(order_id)),
                *self._judge_money(str(order_id), known.get(order_id), paid.get(order_id), taken[order_id]),
                *self._judge_books(str(order_id), taken[order_id], books.get(order_id, []), order_id in asked),
            )
        ]

    def _judge(self, order_id: str, order: _Order | None, payment: _Payment | None) -> Iterator[Finding]:
        """Compare an order with its payment."""
        if payment is None:
            if order is not None and order.paid_through is not None:
                yield wrong("order", order_id, "the order is paid, but pay knows no payment of it")
            return
        if order is None or not order.status.stands:
            yield from self._judge_over(order_id, order, payment)
            return
        if (payment.amount, payment.currency) != (order.amount, order.currency):
            what = (
                f"the order costs {order.amount} {order.currency}, its payment is {payment.amount} {payment.currency}"
            )
            yield wrong("order", order_id, what, BY_HAND)
        if order.status is Status.CREATED and payment.state is PaymentState.SUCCEEDED:
            what = "the money was taken, but the order is not paid yet"
            yield self._open(order_id, what, payment.succeeded_at or 0)
        elif order.status is Status.CREATED and payment.state is not PaymentState.OPEN:
            yield wrong("order", order_id, f"the order is created, but its payment is {payment.state}")
        elif order.paid_through is not None and payment.state in {PaymentState.OPEN, PaymentState.CLOSED}:
            remedy = _TELL_AGAIN if payment.state is PaymentState.OPEN else BY_HAND
            yield wrong("order", order_id, f"the order is paid, but its payment is {payment.state}", remedy)

    def _judge_over(self, order_id: str, order: _Order | None, payment: _Payment) -> Iterator[Finding]:
        """Judge the payment of an order that is closed or returned, or never was."""
        if order is not None and order.paid_through is not None and payment.state is PaymentState.CLOSED:
            yield wrong("order", order_id, "the order was paid, but pay knows of no money to send back", _TELL_AGAIN)
            return
        if order is not None and order.is_returning:
            return
        if payment.state in {PaymentState.OPEN, PaymentState.SUCCEEDED}:
            why = "that does not exist" if order is None else f"that is {order.status}"
            what = f"the payment of an order {why} is {payment.state}"
            since = payment.created_at if order is None else order.over_at or 0
            yield by_age(Gravity.DISAGREEMENT, "order", order_id, what, since, self._grace)

    def _judge_money(
        self, order_id: str, order: _Order | None, payment: _Payment | None, taken: Sequence[_Charge]
    ) -> Iterator[Finding]:
        """Compare a payment with what was taken for it; the return of its order waits for what is to go back."""
        kept = [charge for charge in taken if charge.state is ChargeState.KEPT]
        if payment is not None and payment.state is PaymentState.SUCCEEDED:
            if [(charge.amount, charge.currency) for charge in kept] != [(payment.amount, payment.currency)]:
                what = (
                    f"{_money(payment)} were to be taken once, and kept is: {', '.join(map(_money, kept)) or 'nothing'}"
                )
                yield wrong("payment", order_id, what, BY_HAND)
        elif kept:
            what = f"its payment is {payment.state if payment else 'unknown'}, but its money is kept"
            yield wrong("payment", order_id, what, BY_HAND)
        if order is not None and order.status is Status.PAID and payment is not None:
            yield from self._judge_gone(order_id, payment, taken)
        is_returning = order is not None and order.is_returning
        for charge in taken:
            if not is_returning or charge.state is not ChargeState.REFUNDING:
                yield from self._judge_charge(order_id, charge)

    def _judge_gone(self, order_id: str, payment: _Payment, taken: Sequence[_Charge]) -> Iterator[Finding]:
        """Judge the payment of a paid order whose money went back; an admin who had it sent back has decided so."""
        if payment.state not in {PaymentState.REFUNDING, PaymentState.REFUNDED}:
            return
        if any(charge.reason == Reason.BY_ADMIN for charge in taken):
            return
        went = [charge for charge in taken if charge.reason in _PAID_BEFORE]
        why = ", ".join(sorted({str(charge.reason) for charge in went})) or "of unknown reason"
        what = f"the order is paid, but its payment is {payment.state} ({why})"
        since = max((charge.refund_since or 0 for charge in went), default=0)
        found = by_age(Gravity.DISAGREEMENT, "order", order_id, what, since, self._grace)
        yield found if found.gravity is Gravity.IN_PROGRESS else replace(found, remedy=_RETURN)

    def _judge_charge(self, order_id: str, charge: _Charge) -> Iterator[Finding]:
        """Judge money that is to go back."""
        since = charge.refund_since or charge.taken_at
        if charge.state is ChargeState.REFUSED:
            what = f"{charge.provider} refuses to send {_money(charge)} back ({charge.charge_id}): {charge.refusal}"
            yield Finding(Gravity.UNRESOLVED, "payment", order_id, what, remedy=_ASK_PROVIDER)
        elif charge.state is ChargeState.REFUNDING:
            why = "" if charge.reason is None else f": {charge.reason}"
            yield self._open(order_id, f"{_money(charge)} are to go back through {charge.provider}{why}", since)

    def _judge_books(
        self, order_id: str, taken: Sequence[_Charge], books: Sequence[Taken], is_asked: bool
    ) -> Iterator[Finding]:
        """Compare what pay knows with the provider's own books, if there are any.

        `is_asked`: pay asks the provider about a try of it, and so hears of what it took.
        """
        if self._books is None:
            return
        known = {charge.charge_id: charge for charge in taken if charge.provider == SANDBOX}
        for book in books:
            charge = known.pop(book.charge_id, None)
            if charge is None:
                what = f"the provider took {_money(book)}, of which pay has not heard"
                unheard = self._open(order_id, what, book.taken_at)
                yield unheard if is_asked else replace(unheard, remedy=_TELL_AGAIN)
                continue
            if (charge.amount, charge.currency) != (book.amount, book.currency):
                what = f"the provider took {_money(book)}, pay has {_money(charge)} of it"
                yield wrong("payment", order_id, what, BY_HAND)
            yield from self._judge_refunds(order_id, charge, book)
        for charge in known.values():
            what = f"pay has {_money(charge)} ({charge.charge_id}) that the provider never took"
            yield wrong("payment", order_id, what, BY_HAND)

    def _judge_refunds(self, order_id: str, charge: _Charge, book: Taken) -> Iterator[Finding]:
        back = f"of {_money(book)} the provider has sent back {book.refunded} in {book.refunds} refunds"
        if book.refunds > 1 or book.refunded not in {0, book.amount}:
            yield wrong("payment", order_id, back, BY_HAND)
        elif charge.state is ChargeState.REFUNDED and not book.refunds:
            yield wrong("payment", order_id, f"pay calls {_money(charge)} refunded; {back}", BY_HAND)
        elif charge.state is ChargeState.KEPT and book.refunds:
            yield self._open(order_id, f"pay keeps {_money(charge)}; {back}", book.refunded_at or 0)

    def _open(self, order_id: str, what: str, since: int) -> Finding:
        return replace(by_age(Gravity.UNRESOLVED, "payment", order_id, what, since, self._grace), remedy=WAIT)


_TELL_AGAIN = "have the provider send its events of this payment again, see docs/backup.md: pay asks for none"
_RETURN = "settle it with the customer; the order's return takes back what was bought: POST /orders/{id}/return"
_PAID_BEFORE = frozenset({Reason.BY_PROVIDER, Reason.ORDER_CLOSED})
"""Why money went back that had paid an order, but for an admin's word."""
_ASK_PROVIDER = "ask the provider why; pay goes on asking for it, slowly"


def _charge(row: Row[Any]) -> _Charge:
    _, provider, charge_id, state, *rest = tuple(row)
    return _Charge(provider, charge_id, ChargeState(state), *rest)


def _money(of: _Charge | _Payment | Taken) -> str:
    return f"{of.amount} {of.currency}"
