"""What an order needs is down: a 503 in time that says when to try again, nothing created, nothing lost later."""

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from common.registry import PARTICIPANTS
from lab.drill.freezing import frozen
from ops.client import Answer, Client
from tests.e2e.shop import Shop, at_once, cancel, eventually_status, pay, place, placed, slug
from tests.stack import stack
from tests.support import eventually

pytestmark = pytest.mark.e2e

_IN_TIME = 3.0  # seconds: the time limit of a call to another service (2.0), and a little
_LOCK_IN_TIME = 9.0  # seconds: how long the databases and the broker wait for a lock, and a little


@contextmanager
def stopped(shop: Shop, service: str) -> Iterator[None]:
    """Hold a process still: it neither answers nor dies."""
    try:
        with frozen(shop.deployment, service):
            yield
    finally:
        eventually(lambda: shop.raw(service, "GET", "/healthz").status == 200)


def locked(shop: Shop, what: str) -> AbstractContextManager[None]:
    """Let no process write to the broker, or to a service's database."""
    if shop.deployment.plan.servers is None:
        return _locked_file(shop.deployment.directory.root / f"{what}.db")
    return _stopped_broker(shop) if what == "broker" else _locked_tables(shop.deployment.database_url(what))


@contextmanager
def _locked_file(path: Path) -> Iterator[None]:
    """Hold the write lock of a database file."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            holder.execute("ROLLBACK")


@contextmanager
def _locked_tables(url: str) -> Iterator[None]:
    """Have every write to a database's tables wait, while reading goes on."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with closing(engine.connect()) as holder:
        tables = holder.scalars(text("SHOW TABLES")).all()
        holder.execute(text("LOCK TABLES " + ", ".join(f"`{table}` READ" for table in tables)))
        try:
            yield
        finally:
            holder.execute(text("UNLOCK TABLES"))
    engine.dispose()


@contextmanager
def _stopped_broker(shop: Shop) -> Iterator[None]:
    """Hold RocketMQ's broker and proxy still."""
    (pid,) = (server.pid for server in stack().status().servers if server.name == "broker")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
        eventually(lambda: shop.raw("order", "GET", "/readyz").status == 200, within=30)


def refused(user: Client, tea: str, *, within: float, key: str | None = None) -> Answer:
    """Try to place an order; it must be refused as unavailable, in time, with nothing created."""
    began = time.monotonic()
    answer = place(user, {tea: 2}, key=key)
    assert (answer.status, slug(answer)) == (503, "unavailable")
    assert time.monotonic() - began < within
    assert int(answer.headers["retry-after"]) >= 1
    return answer


def assert_nothing_created(shop: Shop, user: Client, tea: str) -> None:
    """No order, and once quiet all the stock is there."""
    assert user.get("order", "/orders")["items"] == []
    shop.assert_sound()
    assert shop.available(tea) == 10
    assert user.get("order", "/orders")["items"] == []


def test_stock_that_does_not_answer(shop: Shop) -> None:
    """Stock stopped: 503 in time, nothing created; when it goes on, its stock is whole and the same key works."""
    user, tea = shop.user(), shop.goods()
    with stopped(shop, "stock"):
        refused(user, tea, within=_IN_TIME, key="again")
    assert_nothing_created(shop, user, tea)
    answer = place(user, {tea: 2}, key="again")
    assert answer.status == 201
    assert "idempotency-replayed" not in answer.headers
    assert shop.available(tea) == 8


def test_many_orders_against_stock_that_does_not_answer(shop: Shop) -> None:
    """Sixteen orders at once while stock is stopped: all 503, and what was deducted late is given back."""
    user, tea = shop.user(), shop.goods()
    with stopped(shop, "stock"):
        answers = at_once([partial(place, user, {tea: 1})] * 16)
    assert {slug(answer) for answer in answers} == {"unavailable"}
    assert_nothing_created(shop, user, tea)


def test_a_deduction_that_comes_after_its_rollback_is_refused(shop: Shop) -> None:
    """The deduction runs after order gave up on it and stock handled the rollback: the tombstone refuses it."""
    user, tea = shop.user(), shop.goods()
    with shop.settings("stock", failpoints="stock.deduct_received=delay:3"):
        refused(user, tea, within=_IN_TIME)
        order_id = shop.newest_order_id()
        told = eventually(lambda: shop.service.ask("stock", "GET", f"/reservations/{order_id}").body.get("state"))
        assert told == "released"
        executed = b'orders_http_requests_total{method="POST",route="/reservations"'
        metrics = partial(shop.raw, "stock", "GET", "/metrics", headers=shop.bearer())
        eventually(lambda: executed in metrics().data)
    tombstone = shop.service.get("stock", f"/reservations/{order_id}")
    assert (tombstone["state"], tombstone["items"]) == ("released", [])
    assert_nothing_created(shop, user, tea)


def test_stock_that_died(shop: Shop) -> None:
    """Stock killed and not back yet: 503 in time, nothing created; it comes back by itself."""
    user, tea = shop.user(), shop.goods()
    old = shop.deployment.supervisor.pid("stock")
    assert old is not None
    shop.deployment.supervisor.kill("stock", signal.SIGKILL)
    shop.deployment.supervisor.wait_gone(old)
    refused(user, tea, within=_IN_TIME)
    shop.deployment.supervisor.wait_ready("stock")
    assert_nothing_created(shop, user, tea)
    eventually(lambda: place(user, {tea: 2}).status == 201)


def test_goods_that_do_not_answer(shop: Shop) -> None:
    """Goods stopped: 503 in time, nothing created, no message sent; it works again afterwards."""
    user, tea = shop.user(), shop.goods()
    before = shop.newest_order_id() if place(user, {tea: 1}).status == 201 else ""
    time.sleep(0.6)  # until the price that order knows is too old to be used
    other = shop.user()
    with stopped(shop, "goods"):
        refused(other, tea, within=_IN_TIME)
    assert shop.newest_order_id() == before
    assert other.get("order", "/orders")["items"] == []
    placed(other, {tea: 2})
    assert shop.available(tea) == 7


def test_paying_and_cancelling_need_neither_stock_nor_goods(shop: Shop) -> None:
    """Stock and goods stopped: orders are still read, paid and cancelled; the stock comes back later."""
    user, tea = shop.user(), shop.goods()
    first, second = (placed(user, {tea: 1})["order_id"] for _ in range(2))
    with stopped(shop, "stock"), stopped(shop, "goods"):
        assert len(user.get("order", "/orders")["items"]) == 2
        assert pay(user, first).status == 200
        assert cancel(user, second).status == 200
    eventually(lambda: shop.available(tea) == 9)
    shop.assert_sound()


def test_readiness_tells_who_does_not_answer(shop: Shop) -> None:
    """GET /readyz of order: 503 with `stock` failed while stock is stopped; alive all the same."""
    with stopped(shop, "stock"):
        eventually(lambda: shop.raw("order", "GET", "/readyz").status == 503)  # what was found is told for a second
        answer = shop.raw("order", "GET", "/readyz")
        assert slug(answer) == "unavailable"
        assert answer.json["checks"] == {
            **dict.fromkeys(("database", "ids", "broker", "goods", *PARTICIPANTS, "discovery"), "ok"),
            "stock": "failed",
        }
        assert shop.raw("order", "GET", "/healthz").status == 200
    eventually(lambda: shop.raw("order", "GET", "/readyz").status == 200)


def test_a_broker_that_can_not_be_written(shop: Shop) -> None:
    """The broker's file locked for longer than a send waits: 503, nothing created, nor cancelled; then it works."""
    user, tea, owner = shop.user(), shop.goods(), shop.user()
    order_id = placed(owner, {shop.goods(): 1})["order_id"]
    with locked(shop, "broker"):
        answers = at_once([partial(place, user, {tea: 2}), partial(cancel, owner, order_id)])
        assert [(a.status, slug(a)) for a in answers] == [(503, "unavailable")] * 2
        assert all(int(a.headers["retry-after"]) >= 1 for a in answers)
        assert owner.get("order", f"/orders/{order_id}")["status"] == "created"
        assert slug(pay(owner, order_id)) == "unavailable"  # the payment is told by a message
    eventually_status(owner, order_id, "paid")  # nothing was lost
    assert_nothing_created(shop, user, tea)
    placed(user, {tea: 2})


def test_an_order_database_that_can_not_be_written(shop: Shop) -> None:
    """The order database locked: 503 in time and nothing created, what was deducted comes back; then it works."""
    user, tea = shop.user(), shop.goods()
    with locked(shop, "order"):
        refused(user, tea, within=_LOCK_IN_TIME)
        assert user.get("order", "/orders")["items"] == []  # reading goes on
    assert_nothing_created(shop, user, tea)
    placed(user, {tea: 2})


def test_a_stock_database_that_can_not_be_written(shop: Shop) -> None:
    """The stock database locked: 503 in time, nothing created; a deduction that gets its lock late is given back."""
    user, tea = shop.user(), shop.goods()
    with locked(shop, "stock"):
        refused(user, tea, within=_IN_TIME)
    assert_nothing_created(shop, user, tea)
    placed(user, {tea: 2})


def test_a_goods_database_that_can_not_be_written(shop: Shop) -> None:
    """The goods database locked: changing a price is a 503 in time, reading goes on."""
    tea = shop.goods(unit_price=250)
    with locked(shop, "goods"):
        answer = shop.admin.ask("goods", "PATCH", f"/goods/{tea}", json_body={"unit_price": 1})
        assert (answer.status, slug(answer)) == (503, "unavailable")
        assert shop.admin.get("goods", f"/goods/{tea}")["unit_price"] == 250
