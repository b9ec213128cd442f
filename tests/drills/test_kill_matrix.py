"""kill -9 at every failpoint, with real processes: what is open is settled by check-back and redelivery alone."""

import pytest

from common.failpoints import POINTS
from ops.client import Client, Unreachable
from tests.drills.site import STOCK, Site
from tests.support import eventually

pytestmark = pytest.mark.drill

PLACING = {  # where the order service dies → whether the order exists afterwards
    "order.half_sent": False,
    "order.timeout_scheduled": False,
    "order.deducted": False,
    "order.before_commit": False,
    "order.committed": True,
    "order.before_resolve": True,
    "order.resolved": True,
}
DEDUCTING = ("stock.deduct_received", "stock.before_commit", "stock.deducted")
CANCELLING = {  # where the order service dies → the order's status afterwards
    "close.half_sent": "created",
    "close.before_commit": "created",
    "close.committed": "closed",
    "close.before_resolve": "closed",
    "close.resolved": "closed",
}
TIMING_OUT = ("timeout.received", "timeout.handled")
CHECKING = ("check.received", "check.fenced")
ROLLING_BACK = ("stock.rollback_received", "stock.released")
SWEEPING = {"sweep.fenced": "order", "sweep.settled": "order", "stock.settled": "stock"}


def test_every_failpoint_has_its_kill() -> None:
    """A failpoint that nobody kills at is a promise that nobody tests."""
    killed = {*PLACING, *DEDUCTING, *CANCELLING, *TIMING_OUT, *CHECKING, *ROLLING_BACK, *SWEEPING, "pay.committed"}
    assert killed == POINTS


@pytest.mark.parametrize(("point", "exists"), PLACING.items())
def test_killed_while_placing(site: Site, point: str, exists: bool) -> None:
    """The order stands with its stock, or never was and its stock is back: by where the process died."""
    goods_id, user = site.new_goods(), site.user()
    pid = site.arm("order", f"{point}=kill")
    assert site.place(user, goods_id) is None
    site.survived("order", pid)
    site.settle()
    assert [order["status"] for order in site.orders(user)] == (["created"] if exists else [])
    assert site.available(goods_id) == STOCK - 2 * exists


@pytest.mark.parametrize("point", DEDUCTING)
def test_stock_killed_while_deducting(site: Site, point: str) -> None:
    """The client hears that nothing was created, and that is true: what was deducted comes back."""
    goods_id, user = site.new_goods(), site.user()
    pid = site.arm("stock", f"{point}=kill")
    answer = site.place(user, goods_id)
    assert answer is not None
    assert (answer.status, answer.body["type"]) == (503, "/problems/unavailable")
    site.survived("stock", pid)
    site.settle()
    assert site.orders(user) == []
    assert site.available(goods_id) == STOCK


@pytest.mark.parametrize(("point", "status"), CANCELLING.items())
def test_killed_while_cancelling(site: Site, point: str, status: str) -> None:
    """The order is still open with its stock, or closed with its stock back: by where the process died."""
    goods_id, user = site.new_goods(), site.user()
    pid = site.arm("order", f"{point}=kill")
    placed = site.place(user, goods_id)
    assert placed is not None
    assert site.call(user, f"/orders/{placed.body['order_id']}/cancel") is None
    site.survived("order", pid)
    site.settle()
    assert [order["status"] for order in site.orders(user)] == [status]
    assert site.available(goods_id) == (STOCK if status == "closed" else STOCK - 2)


def test_killed_after_paying(site: Site) -> None:
    """A payment that was committed stands, though its answer was lost; asked again, it is the same."""
    goods_id, user = site.new_goods(), site.user()
    pid = site.arm("order", "pay.committed=kill")
    placed = site.place(user, goods_id)
    assert placed is not None
    path = f"/orders/{placed.body['order_id']}/pay"
    assert site.call(user, path) is None
    site.survived("order", pid)
    again = site.call(user, path)
    assert again is not None
    assert (again.status, again.body["status"]) == (200, "paid")
    site.settle()
    assert site.available(goods_id) == STOCK - 2


@pytest.mark.parametrize("point", TIMING_OUT)
def test_killed_while_timing_out(site: Site, point: str) -> None:
    """A timeout that was delivered to a process that died comes again, and closes the order once."""
    goods_id, user = site.new_goods(), site.user()
    pid = site.arm("order", f"{point}=kill", pay_timeout="1.0")
    placed = site.place(user, goods_id)
    assert placed is not None
    assert placed.status == 201
    site.survived("order", pid)
    eventually(lambda: site.orders(user)[0]["status"] == "closed", within=20)
    assert site.orders(user)[0]["close_reason"] == "timeout"
    site.settle()
    assert site.available(goods_id) == STOCK


@pytest.mark.parametrize("point", CHECKING)
def test_killed_while_checking_back(site: Site, point: str) -> None:
    """A check-back whose answer was lost is asked again, and answered the same."""
    goods_id, user = site.new_goods(), site.user()
    pid = site.arm("order", f"order.deducted=raise;{point}=kill")
    answer = site.place(user, goods_id)
    assert answer is not None
    assert answer.status == 503
    site.survived("order", pid)
    site.settle()
    assert site.orders(user) == []
    assert site.available(goods_id) == STOCK


@pytest.mark.parametrize("point", ROLLING_BACK)
def test_stock_killed_while_rolling_back(site: Site, point: str) -> None:
    """A rollback that was delivered to a process that died comes again, and gives the stock back once."""
    goods_id, user = site.new_goods(), site.user()
    placed = site.place(user, goods_id)
    assert placed is not None
    pid = site.arm("stock", f"{point}=kill")
    cancelled = site.call(user, f"/orders/{placed.body['order_id']}/cancel")
    assert cancelled is not None
    assert cancelled.status == 200
    site.survived("stock", pid)
    site.settle()
    assert site.available(goods_id) == STOCK


@pytest.mark.parametrize(("point", "service"), SWEEPING.items())
def test_killed_while_sweeping(site: Site, point: str, service: str) -> None:
    """A sweep that died half-way is finished by the next one."""
    goods_id = site.new_goods()
    order_id = site.orphan(goods_id)
    pid = site.arm(service, f"{point}=kill")
    with site.deployment.client("admin", ["admin"]) as admin:
        eventually(lambda: _sweep_fails(admin))  # once the orphan is old enough to be swept
    site.survived(service, pid)
    site.admin.post("order", "/sweep")
    assert site.admin.get("stock", f"/reservations/{order_id}")["state"] == "released"
    site.settle()
    assert site.available(goods_id) == STOCK


def _sweep_fails(admin: Client) -> bool:
    try:
        return admin.ask("order", "POST", "/sweep").status == 503
    except Unreachable:
        return True
