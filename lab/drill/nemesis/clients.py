"""Plays the clients of a plan: each on a thread of its own, and its calls at the same moment on several."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Protocol

from lab.drill.nemesis.history import Entry, Recorder
from lab.drill.nemesis.plan import PLACING, Call, Client, Op, Plan
from ops.client import Answer, Unreachable

_MOST_AT_ONCE = 12
_SALE_PRICE = 77
_LONG_AGO, _IN_YEARS = "2020-01-01T00:00:00.000Z", "2090-01-01T00:00:00.000Z"
_OF_ADMINS = frozenset({Op.OPEN_SALE, Op.CLOSE_SALE})
_BACK_OFF = 0.3  # seconds before a client that got no answer goes on: it would only run into the same wall again


class Asks(Protocol):
    """What of `ops.client.Client` is needed here."""

    def ask(
        self,
        service: str,
        method: str,
        path: str,
        *,
        json_body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make one call. Raise `Unreachable`."""


@dataclass(frozen=True, slots=True)
class Shop:
    """What clients need to know: ids of goods and coupons by position, order processes by position, the clock.

    `admin`: who opens and closes flash sales; `sales`: their ids by the plan's names, as they are told.
    """

    goods: Sequence[str]
    coupons: Sequence[str]
    instances: Sequence[str]
    now: Callable[[], float]
    admin: Asks | None = None
    sales: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ask:
    """One HTTP request."""

    service: str
    method: str
    path: str
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None


class Shopper:
    """One client; knows the ids of its orders from what it was told."""

    def __init__(self, user: str, client: Asks, shop: Shop, recorder: Recorder) -> None:
        """Call in the name of `user`."""
        self._user, self._client, self._shop, self._recorder = user, client, shop, recorder
        self._ids: dict[str, str] = {}
        self._requests: dict[str, str] = {}
        self._lock = threading.Lock()

    def play(self, script: Client) -> None:
        """Make the calls of a script; those about orders whose ids were never told are left out."""
        pause = threading.Event()
        with ThreadPoolExecutor(_MOST_AT_ONCE) as pool:
            for step in script.steps:
                pause.wait(step.after)
                if not all(pool.map(self._call, step.calls)):
                    pause.wait(_BACK_OFF)

    def _call(self, call: Call) -> bool:
        """Make one call; return whether it was answered."""
        with self._lock:
            of = (self._requests if call.op is Op.ASK else self._ids).get(call.order)
        sale_id = self._shop.sales.get(call.sale)
        if sale_id is None and call.op in {Op.BUY, Op.CLOSE_SALE}:
            return True
        if of is None and call.op in {Op.PAY, Op.CANCEL, Op.RETURN, Op.LOOK, Op.ASK}:
            return True
        ask = self._ask_of_sale(call, sale_id) if call.sale else self._ask(call, of or "")
        of_order = None if call.op in {Op.ASK, Op.BUY} or call.op in PLACING else of
        of_request = of if call.op is Op.ASK else None
        client = self._client if self._shop.admin is None or call.op not in _OF_ADMINS else self._shop.admin
        entry = Entry(self._user, call.op, call.order or call.sale, ask.service, self._shop.now(), order_id=of_order,
                      sent=ask.body, request_id=of_request, sale_id=sale_id,
                      keyed=call.op in PLACING and call.keyed)  # fmt: skip
        try:
            answer = client.ask(
                ask.service, ask.method, ask.path, json_body=ask.body, query=ask.query, headers=ask.headers
            )
        except Unreachable as error:
            self._recorder.add(replace(entry, why=error.detail))
            return False
        self._recorder.add(
            replace(
                entry,
                answered=self._shop.now(),
                status=answer.status,
                body=answer.body,
                replayed=answer.headers.get("idempotency-replayed") == "true",
            )
        )
        if call.op is Op.OPEN_SALE and answer.status == HTTPStatus.CREATED:
            self._shop.sales[call.sale] = str(answer.body["sale_id"])
        if (call.op in {Op.ASK, Op.BUY} or call.op in PLACING) and isinstance(answer.body, dict):
            self._learn(call, answer.body)
        return True

    def _learn(self, call: Call, body: Mapping[str, Any]) -> None:
        """Keep the ids that an answer told."""
        with self._lock:
            if body.get("order_id") is not None:
                self._ids[call.order] = str(body["order_id"])
            if "request_id" in body:
                self._requests[call.order] = str(body["request_id"])

    def _ask_of_sale(self, call: Call, sale_id: str | None) -> Ask:
        if call.op is Op.CLOSE_SALE:
            return Ask("flash", "POST", f"/flash-sales/{sale_id}/close")
        ((goods, quantity),) = call.lines
        if call.op is Op.BUY:
            return Ask("flash", "POST", f"/flash-sales/{sale_id}/orders", {"quantity": quantity})
        terms = {"goods_id": self._shop.goods[goods], "quantity": quantity, "unit_price": _SALE_PRICE}
        body = {**terms, "per_user": call.per_user, "starts_at": _LONG_AGO, "ends_at": _IN_YEARS}
        key = f"{self._shop.goods[goods]}-{call.sale}"  # names come again in other runs, goods do not
        return Ask("flash", "POST", "/flash-sales", body, headers={"Idempotency-Key": key})

    def _ask(self, call: Call, of: str) -> Ask:
        instance = self._shop.instances[call.instance % len(self._shop.instances)]
        if call.op in PLACING:
            items = [{"goods_id": self._shop.goods[one], "quantity": quantity} for one, quantity in call.lines]
            receiver = {"name": call.order, "phone": "0", "address": self._user}
            headers = {"Idempotency-Key": call.order} if call.keyed else {}
            headers |= {"Prefer": "respond-async"} if call.op is Op.SUBMIT else {}
            coupon = {} if call.coupon is None else {"coupon_id": self._shop.coupons[call.coupon]}
            return Ask(instance, "POST", "/orders", {"items": items, "receiver": receiver} | coupon, headers=headers)
        if call.op is Op.COUPON:
            return Ask("coupon", "GET", f"/coupons/{self._shop.coupons[call.coupon or 0]}")
        if call.op is Op.LIST:
            return Ask(instance, "GET", "/orders", query={"limit": "100"})
        if call.op is Op.LEVEL:
            return Ask("stock", "GET", f"/stock/{self._shop.goods[call.lines[0][0]]}")
        if call.op in {Op.LOOK, Op.ASK}:
            return Ask(instance, "GET", f"/{'orders' if call.op is Op.LOOK else 'order-requests'}/{of}")
        body = {"provider": "sandbox", "scenario": call.scenario} if call.scenario else None
        body = {"reason": "too small"} if call.op is Op.RETURN else body
        return Ask(instance, "POST", f"/orders/{of}/{call.op}", body)


def play(plan: Plan, shoppers: Mapping[str, Shopper]) -> None:
    """Play all clients of a plan at once; return when the last of them has its last answer."""
    with ThreadPoolExecutor(max(1, len(plan.clients))) as pool:
        for future in [pool.submit(shoppers[script.name].play, script) for script in plan.clients]:
            future.result()


def stopwatch() -> Callable[[], float]:
    """Return a clock that shows the seconds since now."""
    began = time.monotonic()
    return lambda: time.monotonic() - began
