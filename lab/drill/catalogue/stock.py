"""A stock service that is gone, slow or frozen, and deductions that come too late."""

from functools import partial
from typing import Any

from lab.drill.crowd import spread
from lab.drill.drill import Drill, Ground
from lab.drill.freezing import frozen
from lab.drill.profiles import DEFAULTS
from lab.drill.scene import Scene

_MANY = 1000
_CLIENTS = 24
_REFUSED = 503


def _thousand_rollbacks(scene: Scene) -> None:
    scene.stock(_MANY)
    with scene.site.deployment.client(scene.user, ["orders"]) as client:
        body = {"items": [{"goods_id": scene.goods_id, "quantity": 1}]}

        def place(_: int) -> str:
            return str(client.post("order", "/orders", body)["order_id"])

        def cancel(order_id: str) -> str:
            return str(client.post("order", f"/orders/{order_id}/cancel")["status"])

        order_ids = spread(place, range(_MANY), threads=_CLIENTS)
        scene.order_id = order_ids[0]
        scene.say(f"{_MANY} orders are placed, nothing is left of the goods")
        scene.same("pieces available", scene.available(), 0)
        scene.take_down("stock")
        statuses = spread(cancel, order_ids, threads=_CLIENTS)
    scene.same("orders cancelled without stock", statuses.count("closed"), _MANY)
    scene.bring_back("stock")
    scene.settle()
    scene.same("pieces available", scene.available(), _MANY)


def _late_deduction(scene: Scene) -> None:
    scene.arm("stock", "stock.deduct_received=delay:2.5")
    answer = scene.place()
    scene.fault("order gave up waiting for the deduction, which has not begun")
    scene.same("HTTP status of the answer", answer and answer.status, _REFUSED)
    state = scene.wait("the rollback to leave its tombstone", partial(_reservation, scene, "state"))
    scene.same("the reservation, before the deduction ran", state, "released")
    scene.wait("the late deduction to run", lambda: _deductions(scene) >= 1)
    scene.mended("the late deduction ran, and found the tombstone")
    scene.settle()
    scene.same("what it took", len(_reservation(scene, "items") or []), 0)
    scene.stands()


def _answered_too_late(scene: Scene) -> None:
    scene.arm("stock", "stock.deducted=delay:2.5")
    answer = scene.place()
    scene.fault("order gave up waiting for the deduction, which is committed")
    scene.same("HTTP status of the answer", answer and answer.status, _REFUSED)
    scene.settle()
    scene.same("the reservation", _reservation(scene, "state"), "released")
    scene.stands()


def _frozen(scene: Scene) -> None:
    with frozen(scene.site.deployment, "stock") as pid:
        scene.fault(f"stock (pid {pid}) is frozen (SIGSTOP)")
        answer = scene.place()
        scene.same("HTTP status of the answer", answer and answer.status, _REFUSED)
    scene.mended("stock goes on (SIGCONT), and with it the deduction that it had got")
    scene.wait("stock to answer", lambda: scene.available() >= 0)
    scene.settle()
    scene.stands()


def _redelivered_at_default_times(scene: Scene) -> None:
    order_id = scene.placed()
    pid = scene.arm("stock", "stock.rollback_received=kill")
    scene.change(order_id, "cancel")
    scene.died("stock", pid, "stock.rollback_received")
    scene.back("stock", pid)
    scene.settle()
    scene.stands("closed")


def _reservation(scene: Scene, member: str) -> Any:
    order_id = scene.concerns()
    if order_id is None:
        return None
    answer = scene.site.admin.ask("stock", "GET", f"/reservations/{order_id}")
    return answer.body.get(member)


def _deductions(scene: Scene) -> int:
    """Return how many deductions the stock process has answered in this life."""
    mark = 'orders_http_requests_total{method="POST",route="/reservations"'
    lines = scene.metrics("stock").splitlines()
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
        "stock is killed (kill -9), with the settings that everybody gets",
        "at stock.rollback_received: rollback delivered, nothing given back",
        "settled within one check interval of 5 s, and 5 s more",
        _redelivered_at_default_times,
        ground=Ground.EMBEDDED,
        profile=DEFAULTS,
    ),
)
