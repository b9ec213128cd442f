"""Several instances of a service, and two supervisors that want one data directory."""

import subprocess
import sys
from collections import Counter
from functools import partial

from lab.drill.crowd import at_once
from lab.drill.drill import Drill, Ground
from lab.drill.freezing import frozen
from lab.drill.profiles import PAIR, QUICK
from lab.drill.scene import Scene
from lab.drill.site import STOCK
from ops.client import Answer
from ops.places import PACKAGES

_AT_ONCE = 50
_CREATED, _OK = 201, 200


def _takes_over_delivery(scene: Scene) -> None:
    order_id = scene.placed()
    scene.supervisor.hold("stock-2")
    pid = scene.arm("stock-2", "stock.rollback_received=kill")
    with frozen(scene.site.deployment, "stock"):
        scene.say("stock is frozen, so that stock-2 gets the rollback")
        scene.change(order_id, "cancel")
        scene.died("stock-2", pid, "stock.rollback_received, and stays dead")
    scene.mended("stock goes on")
    scene.settle()
    scene.claim("stock-2 is still dead: stock took its delivery over", scene.supervisor.pid("stock-2") is None)
    scene.stands("closed")


def _without_a_stock(scene: Scene, gone: str) -> None:
    scene.take_down(gone)
    answers = [scene.place(at=at) for at in ("order", "order-2") * 4]
    scene.same("orders accepted", [a.status for a in answers if a].count(_CREATED), 8)
    scene.bring_back(gone)
    scene.supervisor.wait_ready(gone)
    scene.settle()
    scene.stands(*["created"] * 8)


def _without_an_order(scene: Scene) -> None:
    first, second = (scene.placed(at="order-2") for _ in range(2))
    scene.take_down("order-2")
    for order_id, action in ((first, "pay"), (second, "cancel")):
        answer = scene.change(order_id, action)
        scene.same("HTTP status of the answer", answer and answer.status, _OK)
    scene.settle()
    scene.stands("closed", "paid")


def _one_key(scene: Scene) -> None:
    body = {"items": [{"goods_id": scene.goods_id, "quantity": 2}]}
    key = {"Idempotency-Key": "one"}
    with scene.site.deployment.client(scene.user, ["orders"]) as client:

        def place(at: str) -> Answer:
            return client.ask(at, "POST", "/orders", json_body=body, headers=key)

        answers = at_once([partial(place, ("order", "order-2")[number % 2]) for number in range(_AT_ONCE)])
    scene.fault(f"one Idempotency-Key came {_AT_ONCE} times at one moment, at both instances")
    scene.same("answers", dict(Counter(answer.status for answer in answers)), {_CREATED: _AT_ONCE})
    scene.same("orders that they name", len({answer.body["order_id"] for answer in answers}), 1)
    scene.settle()
    scene.stands("created")


def _two_supervisors(scene: Scene) -> None:
    root = str(scene.site.deployment.place.root)
    pids = [process.pid for process in scene.supervisor.states()]
    scene.placed()
    done = subprocess.run(
        [sys.executable, "-m", "ops", "up", "--data-dir", root, "--port-base", "8001"],
        check=False, capture_output=True, text=True, timeout=60, cwd=PACKAGES,
    )  # fmt: skip
    said = (done.stderr or done.stdout).strip().splitlines()
    scene.fault("`orders up` is started a second time on the same data directory")
    scene.claim(f"it refuses: {said[-1] if said else 'nothing said'}", done.returncode == 1)
    scene.claim("it says who runs it already", "is run by process" in done.stderr)
    scene.claim("the first one's processes are the same", [p.pid for p in scene.supervisor.states()] == pids)
    scene.placed()
    scene.settle()
    scene.same("pieces available", scene.available(), STOCK - 4)


DRILLS = (
    Drill(
        "delivery-taken-over",
        "one of two stock processes is killed and stays dead",
        "over a rollback that was delivered to it",
        "the message comes again, to the other one",
        _takes_over_delivery,
        profile=PAIR,
    ),
    *(
        Drill(
            f"without-{gone}",
            f"{gone}, one of two stock processes, is gone",
            "while orders are placed",
            "no order is refused for it",
            partial(_without_a_stock, gone=gone),
            profile=PAIR,
        )
        for gone in ("stock", "stock-2")
    ),
    Drill(
        "without-order-2",
        "one of two order processes is gone",
        "after it accepted orders",
        "the other one shows, pays and cancels them",
        _without_an_order,
        profile=PAIR,
    ),
    Drill(
        "one-key-at-two-instances",
        "one Idempotency-Key comes 50 times at one moment",
        "at both order processes",
        "one order, and everybody is told of it",
        _one_key,
        profile=PAIR,
    ),
    Drill(
        "two-supervisors",
        "a second `orders up` is started",
        "on a data directory that is in use",
        "it refuses and says who runs it; nothing of the first is touched",
        _two_supervisors,
        ground=Ground.EMBEDDED,
        profile=QUICK,
    ),
)
