"""What must hold of money when a run is at rest: orders, payments and the provider's own ledger agree."""

import sqlite3
from collections.abc import Iterator
from typing import Final

from lab.judge.databases import Ask, Rows
from lab.judge.money import money
from lab.simulate.provider import Provider

_TABLES: Final = """
CREATE TABLE sessions (session_id INTEGER, payment_id INTEGER);
CREATE TABLE charges (charge_id INTEGER, session_id INTEGER, amount INTEGER, currency TEXT);
CREATE TABLE refunds (charge_id INTEGER, state TEXT);
"""
"""The provider's ledger, as the judge of the drills reads the sandbox's."""
_MOVING: Final = {
    "an event is not handled": "SELECT event_id FROM pay.payment_events WHERE handled_at IS NULL",
    "money is on its way back": "SELECT charge_id FROM pay.charges WHERE state IN ('refunding', 'refused')",
    "a success is told": (
        "SELECT order_id FROM pay.payments WHERE tell_at IS NOT NULL AND order_id NOT IN"
        " (SELECT order_id FROM 'order'.settlements WHERE participant = 'pay' AND fate = 'paid')"
    ),
}
"""An order that says itself that pay is yet to hear of it is moved by a sweep alone."""
_TIMED_OUT: Final = """
SELECT order_id, expires_at, total_amount, currency FROM orders WHERE status = 'closed' AND close_reason = 'timeout'
"""
_IN_TIME: Final = 500
"""Ms before its order's time is over, when money was taken by which the order has to be kept."""
_KNOWN: Final = "SELECT charge_id FROM pay.charges"


class Money:
    """The provider's ledger beside the databases of a run."""

    def __init__(self) -> None:
        """Begin with none."""
        self._ledger = sqlite3.connect(":memory:", isolation_level=None)
        self._ledger.executescript(_TABLES)

    def moving(self, ask: Ask, provider: Provider) -> Iterator[str]:
        """Yield what is not at rest; `ask` reads all databases of the run."""
        if provider.is_busy:
            yield "the provider is yet to do something"
        for what, query in _MOVING.items():
            if found := ask(query):
                yield f"{what}: {found[0][0]}"
        known = {row[0] for row in ask(_KNOWN)}
        yield from (f"pay does not know of charge {one[0]}" for one in provider.charges() if str(one[0]) not in known)

    def wrong(self, orders: Ask, pay: Ask, provider: Provider, *, was_calm: bool) -> Iterator[str]:
        """Yield what the judge of the drills says: all agree to the minor unit, and what goes back does so once.

        In a run in which nothing went wrong, `was_calm`, what was paid in time keeps its order: the last question asks.
        """
        if was_calm:
            yield from _closed_though_paid(orders, provider)
        self._ledger.executescript("DELETE FROM sessions; DELETE FROM charges; DELETE FROM refunds")
        self._ledger.executemany("INSERT INTO sessions VALUES (?, ?)", provider.sessions())
        self._ledger.executemany("INSERT INTO charges VALUES (?, ?, ?, ?)", provider.charges())
        self._ledger.executemany("INSERT INTO refunds VALUES (?, ?)", provider.refunds())
        yield from money(orders, pay, self._ask, 0, None).broken

    def _ask(self, query: str) -> Rows:
        return self._ledger.execute(query).fetchall()

    def close(self) -> None:
        """Close it."""
        self._ledger.close()


def _closed_though_paid(orders: Ask, provider: Provider) -> Iterator[str]:
    timed_out = {row[0]: row[1:] for row in orders(_TIMED_OUT)}
    for order_id, taken_at, amount, currency in provider.taken():
        if order_id not in timed_out:
            continue
        expires_at, *owed = timed_out[order_id]
        if taken_at < expires_at - _IN_TIME and [amount, currency] == owed:
            yield f"order {order_id} is closed as timed out, and its money was taken {expires_at - taken_at} ms before"
