"""Databases restored from older backups, and stops that last: what can be repaired is, and what is lost is known."""

from typing import Any

from lab.drill import backups
from lab.drill.drill import Drill, Ground, Limit
from lab.drill.profiles import LONG_STOP, RESTORED
from lab.drill.scene import Broken, Scene

_OK, _CREATED, _UNAVAILABLE, _NOT_FOUND = 200, 201, 503, 404
_SWEPT_WITHIN = 90.0  # seconds, on a machine that is busy with much else
_OLDER_THAN_THE_GRACE = 5.0  # seconds; longer than the deadline of a transaction in that profile
_STOPPED_FOR = 8.0  # seconds; records are kept for 5 in that profile


def _back_up(scene: Scene, name: str) -> backups.Restore:
    restore = backups.take(scene.site.deployment, name)
    scene.say(f"a backup of the {name} database is taken")
    return restore


def _restore(scene: Scene, name: str, restore: backups.Restore) -> None:
    """Stop everything, put the backup in the database's place, start everything."""
    processes = scene.site.deployment.plan.processes
    for process in processes:
        scene.take_down(process)
    scene.site.broker.close()
    restore()
    scene.fault(f"the {name} database is restored from the older backup")
    for process in processes:
        scene.supervisor.release(process)
    scene.supervisor.wait_ready()
    scene.site.broker = scene.site.deployment.open_broker()
    scene.mended("everything is started again")


def _repair(scene: Scene) -> dict[str, Any]:
    """Do what `orders reconcile --repair` does; return what it did."""
    swept = _sweep(scene)
    done = (f"{name} {number}" for name, number in swept.items() if number and name != "violations")
    scene.say(f"repaired: {', '.join(done)}")
    if swept["violations"]:
        raise Broken(f"Orders stand without their stock after the repair: {swept['violations']}.")
    return swept


def _released(scene: Scene, order_id: str) -> None:
    scene.change(order_id, "cancel")
    scene.wait(
        "the stock of the cancelled order to be back",
        lambda: scene.site.admin.get("stock", f"/reservations/{order_id}")["state"] == "released" or None,
    )


def _settled_once(scene: Scene) -> None:
    """Let the orders get older than the grace period, and have a sweep verify and confirm them."""
    scene.pause(_OLDER_THAN_THE_GRACE)
    _sweep(scene)


def _sweep(scene: Scene) -> dict[str, Any]:
    """Sweep once everything answers again."""
    answer = scene.wait(
        "a sweep that comes to its end",
        lambda: done if (done := scene.site.admin.ask("order", "POST", "/sweep/full")).status == _OK else None,
        within=_SWEPT_WITHIN,
    )
    return dict(answer.body)


def _stock(scene: Scene) -> None:
    closed = scene.placed()
    _settled_once(scene)
    backup = _back_up(scene, "stock")
    paid, unpaid = scene.placed(), scene.placed()
    scene.change(paid, "pay")
    _released(scene, closed)
    _settled_once(scene)
    _restore(scene, "stock", backup)
    refused = scene.change(unpaid, "pay")
    scene.same("HTTP status of a payment for what is not held", refused and refused.status, _UNAVAILABLE)
    swept = _repair(scene)
    scene.same("orders whose stock is reserved anew", swept["reserved"], 2)
    scene.settle()
    scene.stands("created", "paid", "closed")
    answer = scene.change(unpaid, "pay")
    scene.same("HTTP status of a payment now", answer and answer.status, _OK)
    scene.settle()


def _order(scene: Scene) -> None:
    closed = scene.placed()
    _settled_once(scene)
    backup = _back_up(scene, "order")
    lost = scene.placed()
    scene.change(lost, "pay")
    _released(scene, closed)
    _settled_once(scene)
    _restore(scene, "order", backup)
    refused = scene.change(closed, "pay")
    scene.same("HTTP status of a payment for what was closed", refused and refused.status, _UNAVAILABLE)
    _repair(scene)
    scene.settle()
    scene.say(f"lost with the newer database: order {lost}; its pieces are back")
    scene.stands("closed")
    scene.placed()
    scene.settle()


def _broker(scene: Scene) -> None:
    cancelled = scene.placed()
    backup = _back_up(scene, "broker")
    kept = scene.placed()
    scene.change(kept, "pay")
    _released(scene, cancelled)
    scene.pause(_OLDER_THAN_THE_GRACE)
    _restore(scene, "broker", backup)
    _repair(scene)
    scene.settle()
    scene.stands("paid", "closed")


def _goods(scene: Scene) -> None:
    kept = scene.placed()
    backup = _back_up(scene, "goods")
    lost = scene.site.new_goods()
    answer = scene.site.place(scene.user, lost)
    scene.same("HTTP status of an order for goods made after the backup", answer and answer.status, _CREATED)
    _restore(scene, "goods", backup)
    shown = scene.site.admin.ask("goods", "GET", f"/goods/{lost}")
    scene.same("HTTP status of goods made after the backup", shown.status, _NOT_FOUND)
    scene.settle()
    scene.same("orders that are told as they were", len(scene.site.orders(scene.user)), 2)
    scene.claim("orders for goods that were kept are accepted", scene.placed() != kept)
    scene.settle()


def _long_stop(scene: Scene) -> None:
    pid = scene.arm("order", "order.deducted=kill")
    scene.supervisor.hold("order")
    scene.place()
    scene.died("order", pid, "order.deducted, and stays down")
    scene.pause(_STOPPED_FOR)
    scene.supervisor.release("order")
    scene.supervisor.wait_ready()
    scene.mended("order is started again, and ready")
    scene.settle()
    scene.stands()


DRILLS = (
    *(
        Drill(
            f"restore-{name}",
            f"the {name} database is restored from an older backup",
            "after orders were placed, paid and cancelled",
            holds,
            play,
            ground=Ground.EMBEDDED if name == "broker" else Ground.BOTH,
            profile=RESTORED,
        )
        for name, holds, play in (
            (
                "stock",
                "what is not held can't be paid; the repair reserves it anew, and releases what is closed",
                _stock,
            ),
            (
                "order",
                "orders newer than the backup are lost, their pieces come back; what was closed is again",
                _order,
            ),
            ("broker", "messages that come again change nothing; those that are lost are made up for", _broker),
            ("goods", "orders and stock are as they were; goods newer than the backup can't be ordered", _goods),
        )
    ),
    Drill(
        "stopped-longer-than-records-are-kept",
        "order is killed, and down for longer than its transactions' records are kept",
        "after stock has deducted",
        "its pieces come back, its half message is dropped, its timeout is handled",
        _long_stop,
        ground=Ground.EMBEDDED,
        profile=LONG_STOP,
        limit=Limit.SWEEP,
    ),
)
