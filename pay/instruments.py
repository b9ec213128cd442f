"""What the pay service tells Prometheus: money in minor units by currency, and what waits."""

from collections import Counter
from typing import Final

from sqlalchemy import case, func, select

from common.currencies import CURRENCIES
from common.db import Database
from common.telemetry import Metrics
from halfmessage.clock import now_ms
from halfmessage.mq.port import CheckAnswer
from pay.model import ChargeState, charges, payment_events
from pay.service.ledger import Tally

_HOUR: Final = 3_600_000  # ms
_KNOWN: Final = frozenset(CURRENCIES)
_OTHER: Final = "other"  # currencies that a provider makes up make no further series
_IS_GOING = charges.c.state.in_([ChargeState.REFUNDING.value, ChargeState.REFUSED.value])


class Instruments:
    """Counters of what this process did, and gauges of what the database says."""

    def __init__(self, metrics: Metrics, database: Database) -> None:
        """Declare them."""
        self._database = database
        self._taken = metrics.counter("money_taken", "Money that providers took, in minor units", "currency")
        self._refunded = metrics.counter("money_refunded", "Money that went back, in minor units", "currency")
        self._charges = metrics.counter("charges", "Charges that were heard of, by why they go back", "reason")
        self._refused = metrics.counter("refunds_refused", "Refunds that a provider refused; each is a finding")
        self._unasked = metrics.counter("refunds_unasked", "Money of paid orders that a provider sent back by itself")
        self._callbacks = metrics.counter("callbacks", "Callbacks by verdict", "provider", "verdict")
        self._polls = metrics.counter("polls", "Questions to providers about tries, by result", "provider", "result")
        self._steps = metrics.histogram("step_seconds", "Steps of the protocol", "step")
        self._checks = metrics.counter("check_backs", "Check-backs by answer", "answer")
        metrics.observe_all("Money and events that wait", self._waiting)
        metrics.observe_by("money_going_back", "Money on its way back, by age", ("currency", "age"), self._going_back)

    def money(self, tally: Tally) -> None:
        """Count what a transaction did to money."""
        for currency, amount in tally.taken.items():
            self._taken.labels(_named(currency)).inc(amount)
        for currency, amount in tally.refunded.items():
            self._refunded.labels(_named(currency)).inc(amount)
        for reason, number in tally.charges.items():
            self._charges.labels(reason).inc(number)
        self._refused.inc(tally.refused)
        self._unasked.inc(tally.unasked)

    def callback(self, provider: str, verdict: str) -> None:
        """Count a callback."""
        self._callbacks.labels(provider, verdict).inc()

    def poll(self, provider: str, result: str) -> None:
        """Count a question about a try."""
        self._polls.labels(provider, result).inc()

    def step(self, step: str, seconds: float) -> None:
        """Note how long a step took."""
        self._steps.labels(step).observe(seconds)

    def check_back(self, answer: CheckAnswer) -> None:
        """Count a check-back."""
        self._checks.labels(answer.value).inc()

    def _waiting(self) -> dict[str, float]:
        """Return what waits, each found by an index: what is in between is little, however much there was."""
        going = select(charges.c.state, func.count(), func.min(charges.c.refund_since)).where(_IS_GOING)
        unhandled = select(func.count()).where(payment_events.c.handle_at.is_not(None))
        with self._database.read() as connection:
            found = {state: (number, since) for state, number, since in connection.execute(going.group_by("state"))}
            events = connection.scalar(unhandled) or 0
        refunding = found.get(ChargeState.REFUNDING.value, (0, None))
        refused = found.get(ChargeState.REFUSED.value, (0, None))
        since = min((since for _, since in (refunding, refused) if since is not None), default=now_ms())
        return {
            "refunds_under_way": refunding[0],
            "refunds_standing_refused": refused[0],
            "refund_oldest_seconds": max(0, now_ms() - since) / 1000,
            "payment_events_unhandled": events,
        }

    def _going_back(self) -> dict[tuple[str, ...], float]:
        """Return the minor units that are to go back, by currency and age: found as `_waiting` finds them."""
        now, since = now_ms(), charges.c.refund_since
        age = case((since > now - _HOUR, "minutes"), (since > now - 24 * _HOUR, "hours"), else_="days").label("age")
        query = select(charges.c.currency, age, func.sum(charges.c.amount)).where(_IS_GOING)
        found = Counter[tuple[str, ...]]()
        with self._database.read() as connection:
            for currency, how_old, amount in connection.execute(query.group_by("currency", "age")):
                found[_named(currency), how_old] += int(amount)
        return dict(found)


def _named(currency: str) -> str:
    return currency if currency in _KNOWN else _OTHER
