"""What must hold when a run is at rest: the judge's invariants, and that every answer was true."""

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Final

import orjson

from halfmessage.ids import EPOCH
from lab.judge.agreement import agreement
from lab.judge.coupons import coupons
from lab.judge.databases import Ask, Rows
from lab.judge.orders import orders_alone
from lab.judge.stock import conservation
from lab.simulate.answers import Found, untrue
from lab.simulate.clients import Told
from lab.simulate.coupons import COUPONS, WITHDRAWN
from lab.simulate.money import Money
from lab.simulate.ordering import DEADLINE
from lab.simulate.provider import Provider
from lab.simulate.returning import returned_wrongly
from lab.simulate.templates import BROKER, DATABASES
from lab.simulate.world import World

_SOON: Final = 60_000  # ms: a message that waits for longer has its time, and is at rest

_MOVING: Final = {
    "an order is overdue": "SELECT order_id FROM 'order'.orders WHERE status = 'created' AND expires_at < {now}",
    "a half message is not resolved": "SELECT id FROM broker.messages WHERE stage = 'half'",
    "an order is on its way back": "SELECT key FROM 'order'.sagas WHERE state IN ('running', 'undoing')",
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
    "pay does not know that its order stands": (
        "SELECT order_id FROM pay.reservations WHERE state = 'deducted' AND NOT verified"
    ),
}
_DEAD: Final = "SELECT message_id FROM broker.deliveries WHERE state = 'dead'"
_ORDERS: Final = """
SELECT c.request_id, o.order_id, o.status, o.close_reason, o.closed_at, o.expires_at, o.total_amount
FROM 'order'.orders o LEFT JOIN 'order'.placing_calls c ON c.order_id = o.order_id ORDER BY o.order_id
"""
_HELD: Final = "SELECT CAST(order_id AS TEXT) order_id, state FROM {name}.reservations ORDER BY reservations.order_id"
_FINAL: Final = {
    "orders": """
        SELECT CAST(order_id AS TEXT) order_id, user_id, status, close_reason, total_amount,
            CAST(coupon_id AS TEXT) coupon_id FROM 'order'.orders ORDER BY orders.order_id
    """,
    "stock": "SELECT CAST(goods_id AS TEXT) goods_id, total, available FROM stock.stock ORDER BY stock.goods_id",
    "reservations": _HELD.format(name="stock"),
    "coupon-reservations": _HELD.format(name="coupon"),
}
_EARLY: Final = f"""
SELECT tx_id FROM 'order'.transaction_records
WHERE outcome = 'aborted' AND decided_at - (tx_id >> 22) - {EPOCH} < {int(1000 * DEADLINE)}
"""  # noqa: S608 # nosec B608 - numbers of ours
_NOT_NEEDED: Final = """
SELECT s.order_id FROM 'order'.settlements s JOIN 'order'.orders o ON o.order_id = s.order_id
WHERE s.participant = 'coupon' AND o.coupon_id IS NULL
"""
_PAID_BY_NONE: Final = """
SELECT order_id FROM 'order'.orders WHERE status IN ('paid', 'returned') AND total_amount > 0 AND paid_through IS NULL
"""
_WITH_COUPONS: Final = """
SELECT o.order_id, o.coupon_id, o.user_id, o.goods_amount, o.discount_amount, r.created_at
FROM 'order'.orders o JOIN coupon.reservations r ON r.order_id = o.order_id WHERE o.coupon_id IS NOT NULL
"""
_STATE: Final = "SELECT state, released_at FROM {name}.reservations WHERE order_id = {order_id}"
_RECORD: Final = ": its transaction "
"""In what the judge says of an order whose record is not there: it may be purged."""
_WORKER: Final = 0x3FF  # the bits of an id that tell who issued it, 12 from its end


class Books:
    """All databases of a run, as they are; looked at by connections that are kept from run to run."""

    def __init__(self, folder: Path) -> None:
        """Take where they are."""
        self._all = sqlite3.connect(":memory:", isolation_level=None)
        for name in (*DATABASES, BROKER):
            self._all.execute("ATTACH ? AS ?", (f"{folder / name}.db", name))
        uris = {name: f"file:{folder / name}.db?mode=ro" for name in DATABASES}
        self._each = {name: sqlite3.connect(uri, uri=True, isolation_level=None) for name, uri in uris.items()}
        self._money = Money()

    def _ask(self, query: str) -> Rows:
        return self._all.execute(query).fetchall()

    def _ask_of(self, name: str) -> Ask:
        connection = self._each[name]
        return lambda query: connection.execute(query).fetchall()

    def moving(self, now: int, *, sweeps: bool, provider: Provider | None) -> list[str]:
        """Return what is not at rest at a time (ms since the epoch); what only a sweep moves is, without one."""
        for what, query in (_MOVING | (_SWEPT if sweeps else {})).items():
            if found := self._ask(query.format(now=now, soon=_SOON)):
                return [f"{what}: {found[0][0]}"]
        return [] if provider is None else list(islice(self._money.moving(self._ask, provider), 1))

    def wrong(self, world: World, clients: Sequence[Told], provider: Provider | None) -> list[str]:
        """Return what breaks the promise, in words: what the judge of the drills says, and what was told untruly."""
        orders, stock, coupon, pay = map(self._ask_of, DATABASES)
        acknowledged = [order_id for told in clients for order_id in told.order_ids]
        invariants = [
            conservation(stock, None),
            *agreement(orders, stock, 0, acknowledged, None),
            *orders_alone(orders, 0, None),
            coupons(orders, coupon, None),
        ]
        wrong = [line for one in invariants for line in one.broken if world.plan.keeps_records or _RECORD not in line]
        wrong += (
            [] if provider is None else self._money.wrong(orders, pay, provider, was_calm=not world.injector.struck)
        )
        wrong += returned_wrongly(orders, clients, provider)
        wrong += [f"message {row[0]} is a dead letter" for row in self._ask(_DEAD)]
        wrong += [f"transaction {row[0]} is fenced before its deadline" for row in self._ask(_EARLY)]
        wrong += [f"coupon has to confirm order {row[0]}, which has none" for row in self._ask(_NOT_NEEDED)]
        wrong += [f"order {row[0]} is paid, and does not say through whom" for row in self._ask(_PAID_BY_NONE)]
        wrong += [*self._told_deducted(world), *self._against_rules(world.withdrawn_at), *issued_by_two(world.issued)]
        found = [(row[0], Found(*row[1:])) for row in self._ask(_ORDERS)]
        for told in clients:
            mine = [order for called, order in found if called == told.called]
            wrong += [f"{told.called}: {line}" for line in untrue(told, mine)]
        return wrong

    def final(self) -> dict[str, list[dict[str, Any]]]:
        """Return orders, stock and what is held for orders, as they are, with ids as text."""
        return {name: list(self._rows(query)) for name, query in _FINAL.items()}

    def _rows(self, query: str) -> Iterator[dict[str, Any]]:
        cursor = self._all.execute(query)
        names = [column[0] for column in cursor.description]
        for row in cursor:
            yield dict(zip(names, row, strict=True))

    def _told_deducted(self, world: World) -> Iterator[str]:
        """Yield which orders a participant said to hold something for that it had released before it was asked."""
        for name, at, answer in world.network.deductions:
            for one in orjson.loads(answer)["orders"]:
                if one["verdict"] != "deducted":
                    continue
                rows = self._ask(_STATE.format(name=name, order_id=one["order_id"]))
                state, released_at = rows[0] if rows else ("not known", at - 1)
                if state != "deducted" and released_at < at:
                    yield f"order {one['order_id']}: {name} said that it is deducted, and it was {state} before"

    def _against_rules(self, withdrawn_at: int | None) -> Iterator[str]:
        """Yield which orders have a coupon that they may not have, or something else taken off than it says."""
        for order_id, coupon_id, user, amount, taken_off, held_at in self._ask(_WITH_COUPONS):
            withdrawn = withdrawn_at if coupon_id == WITHDRAWN else None
            if rule := COUPONS[coupon_id].breaks(user, amount, taken_off, held_at, withdrawn):
                yield f"order {order_id}: its coupon {coupon_id} {rule}"

    def close(self) -> None:
        """Close the connections."""
        for connection in (self._all, *self._each.values()):
            connection.close()
        self._money.close()


def issued_by_two(issued: Sequence[tuple[int, str]]) -> Iterator[str]:
    """Yield which worker ids two processes had at once: the ids of one lie between those of the other."""
    by_worker = sorted(issued, key=lambda one: (one[0] >> 12 & _WORKER, one[0]))
    for worker, ids in groupby(by_worker, key=lambda one: one[0] >> 12 & _WORKER):
        owners = [name for name, _ in groupby(name for _, name in ids)]
        if len(owners) > len(set(owners)):
            yield f"worker id {worker} was of several processes at once: {owners}"
