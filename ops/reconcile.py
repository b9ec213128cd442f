"""Compares orders, reservations, stock and messages with the invariants of docs/architecture.md.

Everything moves while it is read, and the two databases can't be read at one instant. So whatever looks wrong is
looked at again, by its id, until it is right or stays wrong; stock levels come from one snapshot and need no second
look.
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial

from common.registry import NEVER_DELAYED
from halfmessage.clock import now_ms
from halfmessage.mq.port import Console, MessageView, State
from ops.findings import KEPT, WAIT, Finding, Gravity, Limits, Report, age_of, by_age, of_participant
from ops.holdings import Holdings
from ops.ledgers import OrderRow, Orders
from ops.payments import Payments
from ops.sales import STORE_DOWN, Sales
from order.model import Status

_LOOKS = 4  # at what looks wrong, before it is called wrong
_BETWEEN_LOOKS = 0.4  # seconds
_MESSAGES = 1000  # of one state
_PAY = "pay"  # the participant whose payments are compared
_FLASH = "flash"  # the one whose sales are


class Comparison:
    """One comparison of one deployment."""

    def __init__(
        self,
        orders: Orders,
        holdings: Sequence[Holdings],
        console: Console,
        limits: Limits,
        payments: Payments | None = None,
        sales: Sales | None = None,
        *,
        progress: Callable[[str], None] = lambda _: None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take what to read: orders, what each participant holds, messages; `payments`, `sales` where there are some.

        `progress` is told what is looked at.
        """
        self._orders, self._holdings, self._console, self._limits = orders, holdings, console, limits
        self._progress, self._pause = progress, pause
        self._payments, self._sales = payments, sales

    def run(self) -> Report:
        """Compare everything. Raise `DatabaseUnavailable` or `BrokerError` where it can't be read."""
        report = Report()
        for one in self._holdings:
            self._progress(f"the numbers of {one.name}")
            counted, found = one.numbers()
            report.checked |= counted
            report.participants.append(one.name)
            report.add(of_participant(one.name, found))
        report.checked |= {"orders": 0, "live_reservations": 0}
        self._progress("orders")
        for page in self._orders.ids():
            report.checked["orders"] += len(page)
            report.add(self._again(self._judge_orders, page))
        for one in self._holdings:
            self._progress(f"reservations of {one.name}")
            for page in one.live_ids():
                report.checked["live_reservations"] += len(page)
                report.add(self._again(one.judge, self._orders.unknown(page)))
        if self._payments is not None:
            self._compare_payments(self._payments, report)
        if self._sales is not None:
            self._compare_sales(self._sales, report)
        self._progress("returns")
        report.under_way = self._orders.open_returns()
        self._progress("messages")
        report.add(self._again(lambda _: self._judge_messages()))
        return report

    def _compare_payments(self, payments: Payments, report: Report) -> None:
        """Compare orders, payments and the provider's books: all ids that any of them has."""
        self._progress("payments")
        report.checked["payments"] = payments.count()
        report.add(of_participant(_PAY, payments.nameless()))
        report.sent_back = payments.sent_back()
        for ids in (self._orders.ids(), map(self._orders.unknown, payments.ids())):
            for page in ids:
                report.add(of_participant(_PAY, self._again(payments.judge, page)))

    def _compare_sales(self, sales: Sales, report: Report) -> None:
        """Compare sales with stock, and those that the store of pieces counts with that, to the piece."""
        self._progress("flash sales")
        for ids in (sales.ids(), sales.unknown()):
            for page in ids:
                report.add(of_participant(_FLASH, self._again(sales.judge, page)))
        report.checked["purchases"] = 0
        if not sales.answers():
            report.add(of_participant(_FLASH, [STORE_DOWN]))
            return
        for page in sales.counted():
            for sale_id in page:
                for some in sales.purchases.pages(sale_id):
                    report.checked["purchases"] += len(some)
                    found = self._again(partial(sales.purchases.judge, sale_id), some)
                    report.add(of_participant(_FLASH, found))
            report.add(of_participant(_FLASH, self._again(sales.judge_count, page)))

    def _again(
        self, judge: Callable[[Collection[int]], list[Finding]], order_ids: Collection[int] | None = None
    ) -> list[Finding]:
        """Judge, and judge again what looks wrong: keep what every look found. None: everything is judged again."""
        found = judge(order_ids or ())
        for _ in range(_LOOKS - 1):
            if not found:
                break
            self._pause(_BETWEEN_LOOKS)
            wrong = {(finding.id, finding.what) for finding in found}
            suspects = () if order_ids is None else {int(finding.id) for finding in found}
            found = [finding for finding in judge(suspects) if (finding.id, finding.what) in wrong]
        return found

    def _judge_orders(self, order_ids: Collection[int]) -> list[Finding]:
        """Judge orders by themselves, and what each participant holds for them."""
        orders = self._orders.rows(order_ids)
        found = [finding for order_id, order in orders.items() for finding in self._judge_order(str(order_id), order)]
        return found + [finding for one in self._holdings for finding in one.judge(order_ids)]

    def _judge_order(self, order_id: str, order: OrderRow) -> Iterator[Finding]:
        if order.status is Status.CREATED and order.expires_at <= now_ms():
            yield self._open("order", order_id, "the order is overdue and was not closed", order.expires_at)
        yield from self._judge_unconfirmed(order_id, order)

    def _judge_unconfirmed(self, order_id: str, order: OrderRow) -> Iterator[Finding]:
        """Yield what the sweep should have had confirmed by now."""
        told = "its payment" if order.status.stands else "its release"
        for participant, since in order.unconfirmed.items():
            if age_of(since) > self._limits.confirm_within:
                what = f"the order is {order.status}, but {participant} has not confirmed {told} to the sweep"
                yield replace(self._open("order", order_id, what, since), participant=participant)

    def _judge_messages(self) -> list[Finding]:
        found = []
        for state in (State.HALF, State.PARKED, State.DEAD, State.READY, State.IN_FLIGHT):
            found += [self._judge_message(view) for view in self._console.find(state=state, limit=_MESSAGES)]
        for topic in NEVER_DELAYED:
            retried = self._console.find(topic=topic, state=State.DELAYED, limit=_MESSAGES)
            found += [self._judge_message(view) for view in retried]
        return found[:KEPT]

    def _judge_message(self, view: MessageView) -> Finding:
        born_at = max(view.born_at, view.deliver_at or 0)
        what = _MESSAGE_TROUBLE[view.state].format(topic=view.message.topic)
        if view.state in {State.PARKED, State.DEAD}:
            remedy = f"orders messages {_ENDED[view.state]} {view.message_id}"
            return Finding(Gravity.UNRESOLVED, "message", view.message_id, what, age_of(born_at), remedy)
        return replace(self._open("message", view.message_id, what, born_at), remedy=WAIT)

    def _open(self, subject: str, identity: str, what: str, since: int) -> Finding:
        return by_age(Gravity.UNRESOLVED, subject, identity, what, since, self._limits.grace)


_MESSAGE_TROUBLE = {
    State.HALF: "a half message of {topic} is not resolved",
    State.PARKED: "a half message of {topic} is parked: the broker asks no more",
    State.DEAD: "a message of {topic} is dead: it failed too often",
    State.READY: "a message of {topic} waits for its consumer",
    State.IN_FLIGHT: "a message of {topic} is being consumed",
    State.DELAYED: "a message of {topic} failed and waits for its next try",
}


_ENDED = {State.PARKED: "resume", State.DEAD: "resend"}
