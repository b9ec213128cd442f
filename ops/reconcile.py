"""Compares orders, reservations, stock and messages with the invariants of docs/architecture.md.

Everything moves while it is read, and the two databases can't be read at one instant. So whatever looks wrong is
looked at again, by its id, until it is right or stays wrong; stock levels come from one snapshot and need no second
look.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from common.registry import PAYMENT_TOPIC, ROLLBACK_TOPIC
from halfmessage.clock import now_ms
from halfmessage.mq.port import Console, MessageView, State
from ops.coupons import Coupons
from ops.findings import BY_HAND, KEPT, REPAIR, WAIT, Finding, Gravity, Report, age_of, by_age, wrong
from ops.ledgers import Ledgers, Level, OrderRow, ReservationRow
from ops.payments import Payments
from order.model import Status

_LOOKS = 4  # at what looks wrong, before it is called wrong
_BETWEEN_LOOKS = 0.4  # seconds
_MESSAGES = 1000  # of one state


@dataclass(frozen=True, slots=True)
class Limits:
    """How old, in seconds, what is on its way may get; and a closed order, until the sweep has confirmed it."""

    grace: float = 30.0
    confirm_within: float = 180.0


class Comparison:
    """One comparison of one deployment."""

    def __init__(
        self,
        ledgers: Ledgers,
        console: Console,
        limits: Limits,
        coupons: Coupons | None = None,
        payments: Payments | None = None,
        *,
        progress: Callable[[str], None] = lambda _: None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take what to read, `coupons` and `payments` where the deployment has them.

        `progress` is told what is looked at.
        """
        self._ledgers, self._console, self._limits = ledgers, console, limits
        self._progress, self._pause = progress, pause
        self._coupons, self._payments = coupons, payments
        self._available: Mapping[int, int] = {}

    def run(self) -> Report:
        """Compare everything. Raise `DatabaseUnavailable` or `BrokerError` where it can't be read."""
        report = Report()
        self._progress("stock levels")
        levels = self._ledgers.levels()
        self._available = {level.goods_id: level.available for level in levels}
        report.add([finding for level in levels if (finding := _judge_level(level))])
        report.checked = {"goods": len(levels), "orders": 0, "live_reservations": 0}
        for name, pages in (("orders", self._ledgers.order_ids()), ("live_reservations", self._orphans(report))):
            self._progress(name.replace("_", " "))
            for page in pages:
                report.add(self._again(self._judge_orders, page))
                if name == "orders":
                    report.checked["orders"] += len(page)
        if self._coupons is not None:
            self._compare_coupons(self._coupons, report)
        if self._payments is not None:
            self._compare_payments(self._payments, report)
        self._progress("messages")
        report.add(self._again(self._judge_messages, None))
        return report

    def _compare_coupons(self, coupons: Coupons, report: Report) -> None:
        """Compare counts and uses; then the orders that hold one and do not exist, or have none."""
        self._progress("coupons")
        report.checked["coupons"], found = coupons.counts()
        report.add(found)
        for ids in (self._ledgers.order_ids(), map(self._ledgers.unknown, coupons.live_ids())):
            for page in ids:
                report.add(self._again(lambda some: coupons.judge(some or ()), page))

    def _compare_payments(self, payments: Payments, report: Report) -> None:
        """Compare orders, payments and the provider's books: all ids that any of them has."""
        self._progress("payments")
        report.checked["payments"] = payments.count()
        report.add(payments.nameless())
        for ids in (self._ledgers.order_ids(), map(self._ledgers.unknown, payments.ids())):
            for page in ids:
                report.add(self._again(lambda some: payments.judge(some or ()), page))

    def _orphans(self, report: Report) -> Iterator[Sequence[int]]:
        for page in self._ledgers.live_ids():
            report.checked["live_reservations"] += len(page)
            yield self._ledgers.unknown(page)

    def _again(
        self, judge: Callable[[Collection[int] | None], list[Finding]], ids: Collection[int] | None
    ) -> list[Finding]:
        """Judge, and judge again what looks wrong: keep what every look found."""
        found = judge(ids)
        for _ in range(_LOOKS - 1):
            if not found:
                break
            self._pause(_BETWEEN_LOOKS)
            wrong = {(finding.id, finding.what) for finding in found}
            suspects = None if ids is None else {int(finding.id) for finding in found}
            found = [finding for finding in judge(suspects) if (finding.id, finding.what) in wrong]
        return found

    def _judge_orders(self, order_ids: Collection[int] | None) -> list[Finding]:
        if not order_ids:
            return []
        orders = self._ledgers.orders(order_ids)
        reservations = self._ledgers.reservations(order_ids)
        return [
            finding
            for order_id in order_ids
            for finding in self._judge_order(str(order_id), orders.get(order_id), reservations.get(order_id))
        ]

    def _judge_order(
        self, order_id: str, order: OrderRow | None, reservation: ReservationRow | None
    ) -> Iterator[Finding]:
        live = reservation is not None and reservation.live
        if order is None:
            if reservation is not None and live:
                yield self._by_age(
                    order_id, "stock is reserved for an order that does not exist", reservation.created_at
                )
        elif order.status is Status.CLOSED and live:
            yield self._by_age(order_id, "the order is closed, but its stock is still reserved", order.closed_at or 0)
        elif order.status is Status.CLOSED:
            yield from self._judge_unconfirmed(order_id, order)
        else:
            if reservation is None or not live:
                what = f"the order is {order.status}, but its stock is not reserved"
                yield wrong("order", order_id, what, self._restock(order))
            elif dict(order.lines) != dict(reservation.lines):
                yield wrong(
                    "order", order_id, f"the order is {order.status}, but other quantities are reserved", BY_HAND
                )
            if order.status is Status.CREATED and order.expires_at <= now_ms():
                yield self._open("order", order_id, "the order is overdue and was not closed", order.expires_at)
            yield from self._judge_unconfirmed(order_id, order)

    def _restock(self, order: OrderRow) -> str:
        """Return what gets the order its stock; an unpaid one for which it is short is closed by the repair."""
        short = {g: pieces for g, wanted in order.lines.items() if (pieces := wanted - self._available.get(g, 0)) > 0}
        if order.status is Status.CREATED or not short:
            return REPAIR
        calls = "; ".join(f'POST /stock/{g}/restock {{"quantity": {pieces}}}' for g, pieces in sorted(short.items()))
        return f"its stock is short: {calls} once they are there, then {REPAIR}"

    def _judge_unconfirmed(self, order_id: str, order: OrderRow) -> Iterator[Finding]:
        """Yield what the sweep should have had confirmed by now."""
        told = "its release" if order.status is Status.CLOSED else "its payment"
        for participant, since in order.unconfirmed.items():
            if age_of(since) > self._limits.confirm_within:
                what = f"the order is {order.status}, but {participant} has not confirmed {told} to the sweep"
                yield self._open("order", order_id, what, since)

    def _judge_messages(self, _: object) -> list[Finding]:
        found = []
        for state in (State.HALF, State.PARKED, State.DEAD, State.READY, State.IN_FLIGHT):
            found += [self._judge_message(view) for view in self._console.find(state=state, limit=_MESSAGES)]
        for topic in (ROLLBACK_TOPIC, PAYMENT_TOPIC):  # never sent to be delayed: one that is waits for its next try
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

    def _by_age(self, order_id: str, what: str, since: int) -> Finding:
        return by_age(Gravity.DISAGREEMENT, "order", order_id, what, since, self._limits.grace)

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


def _judge_level(level: Level) -> Finding | None:
    if level.available >= 0 and level.total == level.available + level.reserved:
        return None
    numbers = f"total {level.total}, available {level.available}, reserved {level.reserved}"
    total = max(level.total, level.reserved)
    mended = f"total = {total}, available = {total - level.reserved}"
    sql = f"UPDATE stock SET {mended} WHERE goods_id = {level.goods_id}"  # noqa: S608 # nosec B608 - shown, never executed
    remedy = f"stop stock and count the pieces; {sql}"
    return wrong("goods", str(level.goods_id), f"the stock does not add up: {numbers}", remedy)
