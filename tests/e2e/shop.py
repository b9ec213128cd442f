"""What end-to-end tests buy in: users, goods with stock, orders. Each test makes its own, so none disturbs another."""

import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import urllib3
from sqlalchemy import text

from common.db import Database
from halfmessage.clock import now_ms, rfc3339
from halfmessage.mq.port import MessageView
from lab.drill import pending
from ops.client import Answer, Client
from ops.deployment import Deployment
from tests.support import eventually

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer as it came over the wire; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    data: bytes

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.data)


@contextmanager
def running(deployment: Deployment) -> Iterator[Deployment]:
    """Prepare and start a deployment; stop it in the end, also one that did not start."""
    try:
        deployment.prepare()
        deployment.start()
        yield deployment
    finally:
        deployment.stop()


class Shop:
    """A running deployment, and what a test wants of it."""

    _numbers = itertools.count(1)

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self._clients: list[Client] = []
        self._pool = urllib3.PoolManager(maxsize=64, retries=False, timeout=30)
        self.admin = self.user(scopes=("admin",))
        self.service = self.user(scopes=("service",))

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._pool.clear()

    def name(self) -> str:
        """Return a user's name that no user had before, also in an earlier session on the same data."""
        return f"user-{os.getpid()}-{next(self._numbers)}"

    def user(self, name: str | None = None, scopes: Sequence[str] = ("orders",)) -> Client:
        """Return a client of a new user, or of the one named."""
        client = Client(self.deployment.plan.urls, self.deployment.token(name or self.name(), scopes), timeout=30)
        self._clients.append(client)
        return client

    def goods(self, stock: int = 10, **fields: Any) -> str:
        """Add goods and their stock; return their id."""
        body = {"name": "Tea", "unit_price": 250, "currency": "EUR"} | fields
        goods_id: str = self.admin.post("goods", "/goods", body)["goods_id"]
        if stock:
            self.admin.put("stock", f"/stock/{goods_id}", {"total": stock})
        return goods_id

    def available(self, goods_id: str) -> int:
        """Return how many pieces no order holds."""
        level: int = self.admin.get("stock", f"/stock/{goods_id}")["available"]
        return level

    def raw(
        self,
        service: str,
        method: str,
        path: str,
        *,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Raw:
        """Call with exactly these headers and this body; an iterator is sent in chunks."""
        url = self.deployment.plan.urls[service] + path
        chunked = body is not None and not isinstance(body, bytes)
        response = self._pool.request(method, url, body=body, headers=headers, chunked=chunked)
        return Raw(response.status, {k.lower(): v for k, v in response.headers.items()}, response.data)

    def bearer(self, name: str | None = None, scopes: Sequence[str] = ("orders",)) -> dict[str, str]:
        """Return the header that proves who calls."""
        return {"Authorization": f"Bearer {self.deployment.token(name or self.name(), scopes)}"}

    def assert_sound(self, *, within: float = 60.0) -> None:
        """Wait until everything came to rest; raise `Unsound` if an invariant is broken."""
        broker = self.deployment.open_broker()
        try:
            pending.settle(self.deployment, broker, within=within)
        finally:
            broker.close()

    def newest_order_id(self) -> str:
        """Return the id of the order that was tried last, from the message that was sent for it."""
        with self.deployment.open_console() as console:
            return console.find(topic="order_rollback")[0].message.keys[0]

    def find(self, **wanted: Any) -> list[MessageView]:
        """Return the messages that the broker finds, newest first."""
        with self.deployment.open_console() as console:
            return console.find(**wanted)

    @contextmanager
    def unable_to_release(self) -> Iterator[None]:
        """Have stock fail whenever it is told to give reserved pieces back, while the body runs."""
        database = Database(self.deployment.database_url("stock"))
        try:
            database.transact(lambda c: c.execute(text("ALTER TABLE reservations RENAME TO hidden")))
            try:
                yield
            finally:
                database.transact(lambda c: c.execute(text("ALTER TABLE hidden RENAME TO reservations")))
        finally:
            database.close()

    @contextmanager
    def settings(self, service: str, **changed: str | float) -> Iterator[None]:
        """Run a service with other settings for a while."""
        supervisor = self.deployment.supervisor
        supervisor.restart(service, extra_env={f"ORDERS_{name.upper()}": str(v) for name, v in changed.items()})
        supervisor.wait_ready(service)
        try:
            yield
        finally:
            supervisor.restart(service)
            supervisor.wait_ready()


def place(client: Client, quantities: Mapping[str, int], *, key: str | None = None, **fields: Any) -> Answer:
    """Try to place an order."""
    items = [{"goods_id": goods_id, "quantity": quantity} for goods_id, quantity in quantities.items()]
    headers = {"Idempotency-Key": key} if key is not None else {}
    return client.ask("order", "POST", "/orders", json_body={"items": items} | fields, headers=headers)


def placed(client: Client, quantities: Mapping[str, int], **options: Any) -> Any:
    """Place an order that must succeed; return it."""
    answer = place(client, quantities, **options)
    assert answer.status == 201, answer
    return answer.body


def pay(client: Client, order_id: str, scenario: str | None = None) -> Answer:
    """Try to pay an order: at once, or as the sandbox is told to behave."""
    body = None if scenario is None else {"provider": "sandbox", "scenario": scenario}
    return client.ask("order", "POST", f"/orders/{order_id}/pay", json_body=body)


def cancel(client: Client, order_id: str) -> Answer:
    """Try to cancel an order."""
    return client.ask("order", "POST", f"/orders/{order_id}/cancel")


def status_of(client: Client, order_id: str) -> str:
    """Return an order's status."""
    status: str = client.get("order", f"/orders/{order_id}")["status"]
    return status


def slug(answer: Answer | Raw) -> str:
    """Return the last part of a problem's type, after checking that it is a whole problem (RFC 9457)."""
    problem = answer.body if isinstance(answer, Answer) else answer.json
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "instance", "request_id"} <= problem.keys()
    assert problem["status"] == answer.status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["type"].startswith("/problems/")
    return str(problem["type"].removeprefix("/problems/"))


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Make all calls at the same moment, each on a thread of its own; return their answers in the order given."""
    gate = threading.Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        gate.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def eventually_status(client: Client, order_id: str, status: str, *, within: float = 60.0) -> None:
    """Wait until an order has a status."""
    eventually(lambda: status_of(client, order_id) == status, within=within)


def opened_sale(shop: Shop, quantity: int = 5) -> str:
    """Open a flash sale of new goods that goes on; return its id."""
    now = now_ms()
    times = {"starts_at": rfc3339(now - 3_600_000), "ends_at": rfc3339(now + 3_600_000)}
    terms = {"goods_id": shop.goods(stock=20), "quantity": quantity, "unit_price": 99, **times}
    sale_id: str = shop.admin.post("flash", "/flash-sales", terms)["sale_id"]
    return sale_id
