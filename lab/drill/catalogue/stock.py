"""A stock service that is gone, slow or frozen, and deductions that come too late."""

from functools import partial
from typing import Any

from lab.drill.drill import Drill, ServerKind
from lab.drill.drill_run import DrillRun
from lab.drill.freezing import frozen
from lab.drill.parallel import spread
from lab.drill.profiles import DEFAULTS

_MANY = 1000
_CLIENTS = 24
_REFUSED = 503


def _thousand_rollbacks(run: DrillRun) -> None:
    run.stock(_MANY)
    with run.sut.deployment.client(run.user, ["orders"]) as client:
        body = {"items": [{"goods_id": run.goods_id, "quantity": 1}]}

        def place(_: int) -> str:
            return str(client.post("order", "/orders", body)["order_id"])

        def cancel(order_id: str) -> str:
            return str(client.post("order", f"/orders/{order_id}/cancel")["status"])

        order_ids = spread(place, range(_MANY), threads=_CLIENTS)
        run.order_id = order_ids[0]
        run.say(f"{_MANY} orders are placed, nothing is left of the goods")
        run.same("pieces available", run.available(), 0)
        run.take_down("stock")
        statuses = spread(cancel, order_ids, threads=_CLIENTS)
    run.same("orders cancelled without stock", statuses.count("closed"), _MANY)
    run.bring_back("stock")
    run.settle()
    run.same("pieces available", run.available(), _MANY)


def _late_deduction(run: DrillRun) -> None:
    run.arm("stock", "stock.deduct_received=delay:2.5")
    answer = run.place()
    run.fault("order gave up waiting for the deduction, which has not begun")
    run.same("HTTP status of the answer", answer and answer.status, _REFUSED)
    state = run.wait("the rollback to leave its tombstone", partial(_reservation, run, "state"))
    run.same("the reservation, before the deduction ran", state, "released")
    run.wait("the late deduction to run", lambda: _deductions(run) >= 1)
    run.mended("the late deduction ran, and found the tombstone")
    run.settle()
    run.same("what it took", len(_reservation(run, "items") or []), 0)
    run.stands()


def _answered_too_late(run: DrillRun) -> None:
    run.arm("stock", "stock.deducted=delay:2.5")
    answer = run.place()
    run.fault("order gave up waiting for the deduction, which is committed")
    run.same("HTTP status of the answer", answer and answer.status, _REFUSED)
    run.settle()
    run.same("the reservation", _reservation(run, "state"), "released")
    run.stands()


def _frozen(run: DrillRun) -> None:
    with frozen(run.sut.deployment, "stock") as pid:
        run.fault(f"stock (pid {pid}) is frozen (SIGSTOP)")
        answer = run.place()
        run.same("HTTP status of the answer", answer and answer.status, _REFUSED)
    run.mended("stock goes on (SIGCONT), and with it the deduction that it had got")
    run.wait("stock to answer", lambda: run.available() >= 0)
    run.settle()
    run.stands()


def _redelivered_at_default_times(run: DrillRun) -> None:
    order_id = run.placed()
    pid = run.arm("stock", "stock.rollback_received=kill")
    run.change(order_id, "cancel")
    run.died("stock", pid, "stock.rollback_received")
    run.back("stock", pid)
    run.settle()
    run.stands("closed")


def _reservation(run: DrillRun, member: str) -> Any:
    order_id = run.concerns()
    if order_id is None:
        return None
    answer = run.sut.admin.ask("stock", "GET", f"/reservations/{order_id}")
    return answer.body.get(member)


def _deductions(run: DrillRun) -> int:
    """Return how many deductions the stock process has answered in this life."""
    mark = 'orders_http_requests_total{method="POST",route="/reservations"'
    lines = run.metrics("stock").splitlines()
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith(mark))


DRILLS = (
    Drill(
        "stock-down-then-1000-rollbacks",
        "stock is killed and stays down while 1,000 orders are cancelled",
        "every rollback waits in the broker",
        "started again, stock gives back all 1,000, each once",
        _thousand_rollbacks,
    ),
    Drill(
        "rollback-before-late-deduction",
        "a deduction is held up until after its rollback",
        "in stock, before anything is taken",
        "the rollback leaves a tombstone; the late deduction is refused and takes nothing",
        _late_deduction,
    ),
    Drill(
        "deduction-answered-too-late",
        "the answer of a deduction comes after order's time limit",
        "in stock, taken and committed",
        "the client hears that nothing was created; what was taken comes back",
        _answered_too_late,
    ),
    Drill(
        "stock-frozen",
        "stock is frozen (SIGSTOP), and goes on later",
        "while an order is placed",
        "a 503 in time; the deduction that runs when it goes on is given back, or refused",
        _frozen,
    ),
    Drill(
        "default-redelivery",
        "stock is killed (kill -9), with the default settings",
        "at stock.rollback_received: rollback delivered, nothing given back",
        "settled within one check interval of 5 s, and 5 s more",
        _redelivered_at_default_times,
        servers=ServerKind.EMBEDDED,
        profile=DEFAULTS,
    ),
)
