"""What events of providers mean for payments and charges: decided in memory, while their rows are locked.

The events of one transaction come one after the other, each on what those before it have done. `pay.service.posting`
reads and writes.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from pay.model import ChargeState, EventEffect, PaymentState, Reason, cut
from pay.providers.port import Kind

log = structlog.get_logger()

_OVER: Final = frozenset({PaymentState.CLOSED, PaymentState.REFUNDING, PaymentState.REFUNDED})
_REFUNDABLE: Final = frozenset({ChargeState.REFUNDING, ChargeState.REFUSED})

ChargeKey = tuple[str, str]
"""A provider, and its name of the money."""
Values = dict[str, Any]
"""A row, by the names of its columns."""
PAYS: Final = "pays"
"""What stands for the reason of money that is kept."""
Said = tuple[EventEffect, str | None]
Money = tuple[int | None, str | None]
"""An amount in minor units and its currency, as an event says it; None: it does not say."""


@dataclass(slots=True)
class Tally:
    """What a transaction did to money: minor units by currency; refusals; what paid an order and went back unasked.

    `charges`: how many were heard of, by why they go back; `PAYS`: they do not.
    """

    charges: Counter[str] = field(default_factory=Counter)
    taken: Counter[str] = field(default_factory=Counter)
    refunded: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    unasked: int = 0


@dataclass(slots=True)
class Ledger:
    """The payments (order id → row) and the charges that some events are about, as they stand under their locks.

    `sent_back`: for charges the money of refunds that were heard of before the charge was. `now`, and the time until
    a refusal is asked about again, in ms. What the events did gathers in the other members.
    """

    now: int
    refused_again_after: int
    payments: Mapping[int, Values]
    charges: dict[ChargeKey, Values]
    sent_back: Mapping[ChargeKey, Collection[Money]]
    paid: list[int] = field(default_factory=list)
    reopened: defaultdict[PaymentState, list[int]] = field(default_factory=lambda: defaultdict(list))
    tries: list[Any] = field(default_factory=list)
    handled: list[Values] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    def would_pay(self, event: Any) -> bool:
        """Whether an event's money pays its order; an event is a row of `payment_events`."""
        is_new = event.kind == Kind.SUCCEEDED and _names_money(event) and _key(event) not in self.charges
        return is_new and not self._is_sent_back(event) and self._reason(event) is None

    def handle(self, event: Any, tx_id: int | None = None) -> None:
        """Take one event; `tx_id`: of the message that tells of it."""
        deeds: dict[Kind, Callable[[Any], Said]] = {
            Kind.SUCCEEDED: self._succeeded,
            Kind.FAILED: self._ended,
            Kind.EXPIRED: self._ended,
            Kind.REFUNDED: self._refunded,
            Kind.REFUND_REFUSED: self._refund_refused,
            Kind.OTHER: lambda _: (EventEffect.NONE, event.reason),
        }
        effect, reason = deeds[Kind(event.kind)](event)
        told = {"its_provider": event.provider, "its_id": event.event_id, "did": effect.value, "why": cut(reason)}
        self.handled.append(told | {"tx": tx_id, "now": self.now})

    def _succeeded(self, event: Any) -> Said:
        if not _names_money(event):
            log.error("a provider took money that it does not name", provider=event.provider, event_id=event.event_id)
            return EventEffect.NONE, event.reason
        self.tries.append(event)
        charge = self.charges.get(_key(event))
        if charge is not None:
            other = _other_money((event.amount, event.currency), charge)
            if other is None:
                return EventEffect.KNOWN, event.reason
            log.error("a provider took other money than it said", provider=event.provider, charge_id=event.charge_id)
            return EventEffect.NONE, other
        self.tally.taken[event.currency] += event.amount
        if self._is_sent_back(event):
            self._take(event, ChargeState.REFUNDED, Reason.BY_PROVIDER)
            self._reopen(event.order_id)
            self.tally.refunded[event.currency] += event.amount
            return EventEffect.REFUNDED, Reason.BY_PROVIDER
        reason = self._reason(event)
        if reason is not None:
            self._take(event, ChargeState.REFUNDING, reason)
            self._reopen(event.order_id)
            return EventEffect.REFUNDING, reason
        self._take(event, ChargeState.KEPT, None)
        self.payments[event.order_id].update(state=PaymentState.SUCCEEDED.value, provider=event.provider)
        self.paid.append(event.order_id)
        return EventEffect.PAID, event.reason

    def _is_sent_back(self, event: Any) -> bool:
        taken = {"amount": event.amount, "currency": event.currency}
        return any(_other_money(money, taken) is None for money in self.sent_back.get(_key(event), ()))

    def _reason(self, event: Any) -> Reason | None:
        """Return why money goes back; None: it pays."""
        payment = self.payments.get(event.order_id)
        if payment is None:
            return Reason.UNKNOWN_ORDER
        if payment["state"] in _OVER:
            return Reason.LATE
        if payment["state"] == PaymentState.SUCCEEDED:
            return Reason.DOUBLE
        if payment["currency"] != event.currency:
            return Reason.OTHER_CURRENCY
        return Reason.OTHER_AMOUNT if payment["amount"] != event.amount else None

    def _reopen(self, order_id: int) -> None:
        """Have a payment that was over go to `refunding`: money came for it once more."""
        payment = self.payments.get(order_id)
        if payment is not None and payment["state"] in {PaymentState.CLOSED, PaymentState.REFUNDED}:
            self._to_refunding(payment)

    def _to_refunding(self, payment: Values) -> None:
        self.reopened[PaymentState(payment["state"])].append(payment["order_id"])
        payment["state"] = PaymentState.REFUNDING.value

    def _take(self, event: Any, state: ChargeState, reason: Reason | None) -> None:
        self.charges[_key(event)] = self._charge(event, state, reason)
        self.tally.charges[reason or PAYS] += 1

    def _charge(self, event: Any, state: ChargeState, reason: Reason | None) -> Values:
        is_kept, is_back = state is ChargeState.KEPT, state is ChargeState.REFUNDED
        return {
            "provider": event.provider,
            "charge_id": event.charge_id,
            "order_id": event.order_id,
            "kept_for": event.order_id if is_kept else None,
            "amount": event.amount,
            "currency": event.currency,
            "state": state.value,
            "reason": reason,
            "refund_id": None,
            "refusal": None,
            "next_try_at": None if is_kept or is_back else self.now,
            "taken_at": event.received_at,
            "refund_since": None if is_kept else self.now,
            "refunded_at": self.now if is_back else None,
        }

    def _ended(self, event: Any) -> Said:
        if event.reference is None:
            return EventEffect.NONE, event.reason
        self.tries.append(event)
        return EventEffect.ENDED, event.reason

    def _refunded(self, event: Any) -> Said:
        charge = self.charges.get(_key(event))
        if charge is None:  # found again when the charge is heard of
            return EventEffect.NONE, event.reason
        if charge["state"] == ChargeState.REFUNDED:
            return EventEffect.KNOWN, event.reason
        other = _other_money((event.amount, event.currency), charge)
        if other is not None:
            log.error("a provider sent back other money", provider=event.provider, charge_id=event.charge_id)
            self.tally.unasked += charge["state"] == ChargeState.KEPT
            return EventEffect.NONE, other
        if charge["refunded_at"] is not None:  # and failed since, or before: the provider knows
            charge["next_try_at"] = self.now
            return EventEffect.KNOWN, event.reason
        if charge["state"] == ChargeState.KEPT:
            log.error("a provider sent back what pays an order", provider=event.provider, charge_id=event.charge_id)
            self._to_refunding(self.payments[charge["order_id"]])
            charge.update(reason=Reason.BY_PROVIDER.value, refund_since=self.now)
            self.tally.unasked += 1
        charge.update(state=ChargeState.REFUNDED.value, kept_for=None, next_try_at=None, refunded_at=self.now)
        self.tally.refunded[charge["currency"]] += charge["amount"]
        return EventEffect.REFUNDED, event.reason

    def _refund_refused(self, event: Any) -> Said:
        charge = self.charges.get(_key(event))
        if charge is not None and charge["state"] == ChargeState.REFUNDED and charge["reason"] != Reason.BY_PROVIDER:
            charge["next_try_at"] = self.now  # it failed since, or the event is an old one: the provider knows
            return EventEffect.REFUND_REFUSED, event.reason
        if charge is None or charge["state"] not in _REFUNDABLE:
            return EventEffect.NONE, event.reason
        other = _other_money((event.amount, event.currency), charge)
        if other is not None:  # of a part, by hand: ours, of all of it, is under way
            return EventEffect.NONE, other
        log.error("a refund was refused", provider=event.provider, charge_id=event.charge_id, reason=event.reason)
        again = self.now + self.refused_again_after
        charge.update(state=ChargeState.REFUSED.value, refusal=cut(event.reason), next_try_at=again)
        self.tally.refused += 1
        return EventEffect.REFUND_REFUSED, event.reason


def _key(event: Any) -> ChargeKey:
    return event.provider, event.charge_id


def _other_money(told: Money, charge: Mapping[str, Any]) -> Reason | None:
    """Return in what the money of an event is not a charge's; None: it is, as far as the event says."""
    amount, currency = told
    if currency not in {None, charge["currency"]}:
        return Reason.OTHER_CURRENCY
    return None if amount in {None, charge["amount"]} else Reason.OTHER_AMOUNT


def _names_money(event: Any) -> bool:
    return event.charge_id is not None and event.currency is not None and (event.amount or 0) > 0
