"""What drills do to a deployment, and how they look at it afterwards."""

import itertools
import signal
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, Final, Self

from common.peer import Peer
from common.registry import ROLLBACK_TOPIC
from halfmessage.clock import now_ms, rfc3339
from halfmessage.ids import first_of
from lab.drill.pending import console, settle
from lab.redis_server import RedisServer
from ops.client import Answer, Unreachable
from ops.deployment import Deployment
from ops.errors import CommandFailed
from ops.waiting import wait_for
from order.clients.participant import client_of
from order.model import Line, Order, Status

STOCK = 100
_CALLS: Final[dict[str, Any]] = {"timeout": 10.0, "connections": 1}


def sale_terms(goods_id: str, pieces: int, per_user: int | None = None) -> dict[str, Any]:
    """Return what opens a sale that goes on for longer than any drill; unless told, one user may have all pieces."""
    now = now_ms()
    times = {"starts_at": rfc3339(now - 60_000), "ends_at": rfc3339(now + 24 * 3_600_000)}
    return {"goods_id": goods_id, "quantity": pieces, "unit_price": 499, "per_user": per_user or pieces, **times}


class SystemUnderTest:
    """A running deployment with one goods, and users who each place one order."""

    def __init__(self, deployment: Deployment, redis: RedisServer | None = None) -> None:
        """Take a running deployment; `redis`: what counts its pieces, where that is a Redis of its own."""
        self.deployment, self.redis = deployment, redis
        self.supervisor = deployment.supervisor
        self.broker = deployment.open_broker()
        self.admin = deployment.client("admin", ["admin", "orders"])
        self.service = deployment.client("drill", ["service"])
        self._users = (f"user-{number}" for number in itertools.count())
        self._orphans = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.broker.close()
        self.admin.close()
        self.service.close()

    def new_goods(self) -> str:
        """Create goods with `STOCK` pieces."""
        goods_id = str(
            self.admin.post("goods", "/goods", {"name": "a lamp", "unit_price": 995, "currency": "EUR"})["goods_id"]
        )
        self.admin.put("stock", f"/stock/{goods_id}", {"total": STOCK})
        return goods_id

    def new_coupon(self) -> str:
        """Make a coupon of 1.00 off with `STOCK` uses, all of which one user may have."""
        body = {"kind": "amount", "value": 100, "currency": "EUR", "uses": STOCK, "uses_per_user": STOCK}
        return str(self.admin.post("coupon", "/coupons", body)["coupon_id"])

    def new_sale(self, goods_id: str, pieces: int = STOCK, *, per_user: int | None = None) -> str:
        """Open a flash sale of so many pieces; unless told, one user may have all of them."""
        return str(self.admin.post("flash", "/flash-sales", sale_terms(goods_id, pieces, per_user))["sale_id"])

    def sales(self, goods_id: str) -> list[dict[str, Any]]:
        """Return the sales of these goods, among the newest."""
        found = self.admin.get("flash", "/flash-sales", limit="100")["items"]
        return [sale for sale in found if sale["goods_id"] == goods_id]

    def available(self, goods_id: str) -> int:
        """Return how many pieces are left."""
        return int(self.admin.get("stock", f"/stock/{goods_id}")["available"])

    def arm(self, service: str, failpoints: str, **settings: str) -> int:
        """Restart a service with failpoints armed for this one life; return its pid."""
        extra = {f"ORDERS_{name.upper()}": value for name, value in settings.items()}
        self.supervisor.restart(service, extra_env={"ORDERS_FAILPOINTS": failpoints, **extra})
        self.supervisor.wait_ready(service)
        pid = self.supervisor.pid(service)
        if pid is None:
            raise CommandFailed(f"{service} ended again as soon as it was ready.")
        return pid

    def survived(self, service: str, pid: int, *, within: float = 60.0) -> None:
        """Wait until the process that was to die did, and its successor is ready."""
        self.supervisor.wait_gone(pid, within=within)
        wait_for(f"a successor of {service}", lambda: self.supervisor.pid(service) not in {None, pid}, within=within)
        self.supervisor.wait_ready(service, within=within)

    def kill(self, service: str) -> int | None:
        """End a process with SIGKILL; return its pid."""
        pid = self.supervisor.pid(service)
        self.supervisor.kill(service, signal.SIGKILL)
        return pid

    def user(self) -> str:
        """Return the name of a user that no other client has."""
        return next(self._users)

    def call(
        self, user: str, path: str, body: Any = None, *, at: str = "order", headers: Mapping[str, str] | None = None
    ) -> Answer | None:
        """POST to an instance of the order service; None if the connection was cut."""
        with self.deployment.client(user, ["orders"]) as client:
            try:
                return client.ask(at, "POST", path, json_body=body, headers=headers or {})
            except Unreachable:
                return None

    def place(self, user: str, goods_id: str, *, at: str = "order", coupon_id: str | None = None) -> Answer | None:
        """Order two pieces, with a coupon or without; None if the connection was cut."""
        coupon = {} if coupon_id is None else {"coupon_id": coupon_id}
        return self.call(user, "/orders", {"items": [{"goods_id": goods_id, "quantity": 2}], **coupon}, at=at)

    def submit(self, user: str, goods_id: str) -> Answer | None:
        """Submit an order of two pieces, to be placed soon; None if the connection was cut."""
        body = {"items": [{"goods_id": goods_id, "quantity": 2}]}
        return self.call(user, "/orders", body, headers={"Prefer": "respond-async"})

    def buy(self, user: str, sale_id: str) -> Answer | None:
        """Buy two pieces in a flash sale; None if the connection was cut."""
        return self.call(user, f"/flash-sales/{sale_id}/orders", {"quantity": 2}, at="flash")

    def orders(self, user: str, *, at: str = "order") -> list[dict[str, Any]]:
        """Return the orders of a user, the newest first."""
        with self.deployment.client(user, ["orders"]) as client:
            return list(client.get(at, "/orders")["items"])

    def orphan(self, participant: str, goods_id: str, sale_id: str | None = None) -> str:
        """Deduct for an order whose coordinator will never be heard of again; return the order's id.

        `sale_id`: where it was bought.
        """
        order_id = first_of(now_ms() - 60_000) + next(self._orphans)
        line = Line(int(goods_id), "a lamp", "", None, 2, 995, None)
        now = now_ms()
        order = Order(order_id, order_id, "orphan", Status.CREATED, None, (line,), None, 1990, "EUR", now, now)
        token = partial(self.deployment.token, "drill", ["service"])
        with closing(Peer(participant, self.deployment.plan.addresses(participant), token, **_CALLS)) as peer:
            client = client_of(participant).connect(peer, participant, lambda kind, at: kind(at, max_age=0, timeout=5))
            if sale_id is not None:
                order = replace(order, sale_id=int(sale_id), purchase_id=order_id)
            elif not client.needs(order):
                order = replace(order, coupon_id=int(self.new_coupon()), coupon_version=1)
            deduction = client.deduct(order_id, [order])[order_id]
        if not deduction.is_held:
            raise CommandFailed(f"The {participant} service refused a reservation: {deduction.verdict}.")
        return str(order_id)

    def checks(self) -> int:
        """Return how often the broker asked about the half message that was sent last."""
        return console(self.deployment, self.broker).find(topic=ROLLBACK_TOPIC)[0].check_count

    def settle(self, *, within: float = 60.0) -> None:
        """Wait until no message is open, and check every invariant. Raise `NotInTime`, `Unsound`."""
        settle(self.deployment, self.broker, within=within)
