"""What must hold when a run is at rest: the judge's invariants, and that every answer was true."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lab.judge.agreement import agreement
from lab.judge.coupons import coupons
from lab.judge.databases import Ask, Rows
from lab.judge.orders import orders_alone
from lab.judge.stock import conservation
from lab.simulate.clients import Told
from lab.simulate.templates import BROKER, DATABASES

_CREATED: Final = 201
_SOON: Final = 60_000  # ms: a message that waits for longer has its time, and is at rest

_MOVING: Final = {
    "an order is overdue": "SELECT order_id FROM 'order'.orders WHERE status = 'created' AND expires_at < {now}",
    "a half message is not resolved": "SELECT id FROM broker.messages WHERE stage = 'half'",
    "a message is not delivered": (
        "SELECT message_id FROM broker.deliveries WHERE state = 'pending' AND visible_at < {now} + {soon}"
    ),
}
_SWEPT: Final = {
    "a participant is to be told": "SELECT order_id FROM 'order'.settlements",
    "stock does not know that its order stands": (
        "SELECT order_id FROM stock.reservations WHERE state = 'deducted' AND NOT verified"
    ),
    "coupon does not know that its order stands": (
        "SELECT order_id FROM coupon.reservations WHERE state = 'deducted' AND NOT verified"
    ),
}
_DEAD: Final = "SELECT message_id FROM broker.deliveries WHERE state = 'dead'"
_ORDERS: Final = "SELECT order_id, user_id, status, close_reason, closed_at, expires_at FROM 'order'.orders"


class Books:
    """All databases of a run, as they are; looked at by connections that are kept from run to run."""

    def __init__(self, folder: Path) -> None:
        """Take where they are."""
        self._all = sqlite3.connect(":memory:", isolation_level=None)
        for name in (*DATABASES, BROKER):
            self._all.execute("ATTACH ? AS ?", (f"{folder / name}.db", name))
        uris = {name: f"file:{folder / name}.db?mode=ro" for name in DATABASES}
        self._each = {name: sqlite3.connect(uri, uri=True, isolation_level=None) for name, uri in uris.items()}

    def _ask(self, query: str) -> Rows:
        return self._all.execute(query).fetchall()

    def _ask_of(self, name: str) -> Ask:
        connection = self._each[name]
        return lambda query: connection.execute(query).fetchall()

    def moving(self, now: int, *, sweeps: bool) -> list[str]:
        """Return what is not at rest at a time (ms since the epoch); what only a sweep moves is, without one."""
        for what, query in (_MOVING | (_SWEPT if sweeps else {})).items():
            if found := self._ask(query.format(now=now, soon=_SOON)):
                return [f"{what}: {found[0][0]}"]
        return []

    def wrong(self, clients: Sequence[Told]) -> list[str]:
        """Return what breaks the promise, in words: what the judge of the drills says, and what was told untruly."""
        orders, stock, coupon = map(self._ask_of, DATABASES)
        acknowledged = [order_id for told in clients for order_id in told.order_ids]
        invariants = [
            conservation(stock, None),
            *agreement(orders, stock, 0, acknowledged, None),
            *orders_alone(orders, 0, None),
            coupons(orders, coupon, None),
        ]
        wrong = [line for one in invariants for line in one.broken]
        wrong += [f"message {row[0]} is a dead letter" for row in self._ask(_DEAD)]
        found = self._ask(_ORDERS)
        for told in clients:
            mine = {row[0]: row for row in found if row[1] == told.user}
            wrong += [f"{told.user}: {line}" for line in (*_untrue(told, list(mine)), *_changed(told, mine))]
        return wrong

    def close(self) -> None:
        """Close the connections."""
        for connection in (self._all, *self._each.values()):
            connection.close()


def _untrue(told: Told, order_ids: Sequence[object]) -> list[str]:
    """Compare what a client was told of its order with whether there is one."""
    found = []
    if len(order_ids) > 1:
        found.append(f"has {len(order_ids)} orders for one wish")
    if len(set(told.order_ids)) > 1:
        found.append(f"was told of several orders: {told.order_ids}")
    is_told_that_none_is = all(
        status and status != _CREATED and kind != "outcome-unknown" for status, kind in told.answers
    )
    if told.answers and is_told_that_none_is and order_ids:
        found.append(f"was told that nothing was created ({told.answers}), and has order {order_ids[0]}")
    return found


def _changed(told: Told, orders: dict[object, tuple[object, ...]]) -> list[str]:
    """Compare what became of a client's order with what it asked for and was told."""
    found = []
    for order_id, _, status, reason, closed_at, expires_at in orders.values():
        if reason == "cancelled" and not told.has_cancelled:
            found.append(f"order {order_id} is cancelled, and was not asked to be")
        if reason == "timeout" and int(str(closed_at)) < int(str(expires_at)):
            found.append(f"order {order_id} is closed as timed out before its time")
        if told.cancelled == (200, "closed") and status != "closed":
            found.append(f"order {order_id} is {status}, and was said to be cancelled")
        if told.cancelled == (409, "order-paid") and status != "paid":
            found.append(f"order {order_id} is {status}, and was said to be paid")
        if status == "paid" and not told.has_paid and told.wish.coupon_id != 12:  # noqa: PLR2004
            found.append(f"order {order_id} is paid, and was not paid for")
    return found
