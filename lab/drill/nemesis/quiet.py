"""Waits until a deployment is at rest after the last fault, and reads how everything stands then."""

import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

from common.registry import SANDBOX
from halfmessage.clock import now_ms
from halfmessage.errors import HalfMessageError, MessageNotFound
from halfmessage.mq.factory import split_prefix
from halfmessage.mq.port import State
from lab.drill import pending
from lab.drill.nemesis.history import Charge, Count, Coupon, Final, Level, Owned, Reservation, Use
from lab.drill.nemesis.linked_sut import LinkedSystem
from lab.drill.pending import console
from lab.judge.databases import UNTOLD, read
from lab.judge.judge import Judge
from ops.stack import Stack
from pay.model import CLAIMED_FOR

_LOOK_EVERY = 0.05  # seconds
_PATIENCE, _PATIENT_FOR = 3.0, 10.0  # times the limit, and seconds, that are waited before it counts as never
_SOON = 10_000  # ms; an order that expires sooner is waited for
_LOOKS = 2  # in a row: a message may move from what is looked at last to what was looked at first


class Watch:
    """Waits for quiet. `since` is the last fault, in seconds of `time.monotonic`."""

    def __init__(self, sut: LinkedSystem, since: float) -> None:
        """Nothing is looked at yet."""
        self._sut, self.since = sut, since
        self.left: list[str] = ["not looked at yet"]
        self.last_open: list[str] = []
        """What came to rest last."""

    def wait(self, limit: float) -> float | None:
        """Return how long after the last fault everything was at rest; None: it never came to."""
        quiet = 0
        while True:
            self._note_what_happened()
            looked_at = time.monotonic()
            self.left = self._open_ends()
            self.last_open = self.left or self.last_open
            quiet = 0 if self.left else quiet + 1
            if quiet == _LOOKS:
                return max(0.0, looked_at - self.since)
            if looked_at > self.since + max(_PATIENCE * limit, _PATIENT_FOR):
                return None
            threading.Event().wait(_LOOK_EVERY)

    def sweep(self) -> None:
        """Sweep, as would be done in time, and count from now. Raise `CommandFailed`."""
        with self._sut.deployment.client("drill", ["admin"]) as admin:
            admin.post("order", "/sweep")
        self.since = time.monotonic()

    def _note_what_happened(self) -> None:
        """Count from a failpoint that is reached only now, the end of an order's time, and that of a claim."""
        armed = self._sut.armed
        for process, pid in list(armed.items()):
            if self._sut.supervisor.pid(process) != pid:
                del armed[process]
                self.since = time.monotonic()
        try:
            moments = (self._last_to_expire(), *self._claimed_until())
        except HalfMessageError:
            return
        for moment in moments:
            if moment is not None:
                self.since = max(self.since, time.monotonic() + (moment - now_ms()) / 1000)

    def _claimed_until(self) -> list[int]:
        """Return when claims end that matter, pay's and that of a return: they may be of a process that was killed."""
        deployment = self._sut.deployment
        found = (pending.claimed_until(deployment), pending.returns_due(deployment))
        return [until for until in found if until is not None and until < now_ms() + CLAIMED_FOR * 1000]

    def _last_to_expire(self) -> int | None:
        until = now_ms() + _SOON
        query = f"SELECT MAX(expires_at) FROM orders WHERE status = 'created' AND expires_at < {until}"  # noqa: S608 # nosec B608 - a number
        (((expires_at,),),) = read(self._sut.deployment.database_url("order"), query)
        return None if expires_at is None else int(expires_at)

    def _open_ends(self) -> list[str]:
        deployment, broker = self._sut.deployment, self._sut.broker
        try:
            moving = pending.unsettled(deployment, broker)
            soon = self._last_to_expire()
            if soon is not None:
                return [*moving, "an order will expire soon"]
            sweeps = self._sut.regime.sweeps
            moving = [line for line in moving if not (sweeps and _is_parked(line))]
            hides = sweeps or deployment.plan.servers is not None  # what a consumer took, or what a sweep will do
            return moving or (Judge.of(deployment).wrong() if hides else [])
        except HalfMessageError as error:
            return [f"can't be looked at: {error.detail}"]


def _is_parked(line: str) -> bool:
    return line.endswith(" is parked")


def dropped(sut: LinkedSystem) -> int:
    """Return how many of the deployment's messages RocketMQ says it dropped so far; the embedded broker drops none."""
    servers = sut.deployment.plan.servers
    return len(Stack(Path(servers.stack)).dropped(split_prefix(servers.broker_url)[1])) if servers else 0


def resume_parked(sut: LinkedSystem) -> None:
    """Do what an operator does about parked half messages: have them asked about again."""
    looking = console(sut.deployment, sut.broker)
    for view in looking.find(state=State.PARKED, limit=1000):
        with suppress(MessageNotFound):  # done meanwhile
            looking.resume(view.message_id)


def read_final(
    sut: LinkedSystem,
    goods: Mapping[str, int],
    coupons: Mapping[str, Coupon],
    users: Sequence[str],
    requests: Collection[tuple[str, str]],
    left: Sequence[str],
    *,
    since: int,
    quiet_after: float | None,
    limit: float,
) -> Final:
    """Read how everything stands: REST as each user and as admin, and SQL; of money, what was taken since an order id.

    `requests`: the order requests to look at, each after its user. Raise `CommandFailed`.
    """
    deployment = sut.deployment
    orders = {user: _orders_of(sut, user) for user in users}
    with deployment.client("drill", ["admin"]) as admin:
        shown = {goods_id: admin.get("stock", f"/stock/{goods_id}") for goods_id in goods}
        counted = {coupon_id: admin.get("coupon", f"/coupons/{coupon_id}") for coupon_id in coupons}
    levels, headers, lines, allotted = read(
        deployment.database_url("stock"),
        "SELECT goods_id, total, available FROM stock",
        "SELECT order_id, state FROM reservations",
        "SELECT order_id, goods_id, quantity FROM reservation_lines",
        "SELECT sale_id, goods_id, quantity FROM allotments",
    )
    (uses,) = read(deployment.database_url("coupon"), "SELECT order_id, coupon_id, user_id, state FROM coupon_uses")
    taken, refunds = read(deployment.database_url(SANDBOX), *_BOOKS)
    (untold,) = read(deployment.database_url("order"), UNTOLD.format(participant="coupon"))
    return Final(
        goods=dict(goods),
        orders=orders,
        shown={goods_id: Level(level["total"], level["available"]) for goods_id, level in shown.items()},
        levels={str(one): Level(total, available) for one, total, available in levels if str(one) in goods},
        reservations=_reservations(headers, lines, goods, {str(o["order_id"]) for own in orders.values() for o in own}),
        quiet_after=quiet_after,
        limit=limit,
        left=list(left),
        coupons=dict(coupons),
        counted={one: Count(of["free"], of["held"], of["used"]) for one, of in counted.items()},
        uses=[Use(str(o), str(c), user, state) for o, c, user, state in uses if str(c) in coupons],
        untold=[str(order_id) for (order_id,) in untold],
        requests=_requests(sut, requests),
        sales={str(sale): Owned(str(one), owned) for sale, one, owned in allotted if str(one) in goods},
        charges=[charge for charge in _charges(taken, refunds) if int(charge.order_id) >= since],
    )


_BOOKS = (
    """
    SELECT s.payment_id, c.charge_id, c.amount, c.currency FROM charges c
    JOIN sessions s ON s.session_id = c.session_id
    """,
    "SELECT charge_id, state FROM refunds",
)


def _charges(taken: Sequence[tuple[Any, ...]], refunds: Sequence[tuple[Any, ...]]) -> list[Charge]:
    """Return all money that the provider ever took."""
    keys = Counter(charge_id for charge_id, _ in refunds)
    back = Counter(charge_id for charge_id, state in refunds if state == "done")
    return [
        Charge(str(order_id), str(charge_id), amount, currency, back[charge_id], keys[charge_id])
        for order_id, charge_id, amount, currency in taken
    ]


def _reservations(
    headers: Sequence[tuple[Any, ...]],
    lines: Sequence[tuple[Any, ...]],
    goods: Mapping[str, int],
    orders: set[str],
) -> list[Reservation]:
    """Return the rows that concern these goods or orders, each with its lines."""
    by_order: dict[str, dict[str, int]] = {str(order_id): {} for order_id, _ in headers}
    for order_id, goods_id, quantity in lines:
        by_order.setdefault(str(order_id), {})[str(goods_id)] = quantity
    return [
        Reservation(str(order_id), state, by_order[str(order_id)])
        for order_id, state in headers
        if str(order_id) in orders or not goods.keys().isdisjoint(by_order[str(order_id)])
    ]


def _requests(sut: LinkedSystem, asked: Collection[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """Return what users are shown of their requests, of those that are found."""
    found = {}
    for user, request_id in sorted(asked):
        with sut.deployment.client(user) as client:
            answer = client.ask("order", "GET", f"/order-requests/{request_id}")
        if answer.status == HTTPStatus.OK:
            found[request_id] = answer.body
    return found


def _orders_of(sut: LinkedSystem, user: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    query = {"limit": "100"}
    with sut.deployment.client(user) as client:
        while True:
            page = client.get("order", "/orders", **query)
            found += page["items"]
            if page["next_cursor"] is None:
                return found
            query["cursor"] = page["next_cursor"]
