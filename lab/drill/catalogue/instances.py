"""Several instances of a service, and two supervisors that want one data directory."""

import subprocess
import sys
from collections import Counter
from functools import partial

from lab.drill.drill import Drill, ServerKind
from lab.drill.drill_run import DrillRun
from lab.drill.freezing import frozen
from lab.drill.parallel import at_once
from lab.drill.profiles import PAIR, QUICK
from lab.drill.sut import STOCK
from ops.client import Answer
from ops.places import PACKAGES

_AT_ONCE = 50
_TRIES = 5  # of a client that is told to ask again
_CREATED, _OK, _AGAIN = 201, 200, 503


def _takes_over_delivery(run: DrillRun) -> None:
    order_id = run.placed()
    run.supervisor.hold("stock-2")
    pid = run.arm("stock-2", "stock.rollback_received=kill")
    with frozen(run.sut.deployment, "stock"):
        run.say("stock is frozen, so that stock-2 gets the rollback")
        run.change(order_id, "cancel")
        run.died("stock-2", pid, "stock.rollback_received, and stays dead")
    run.mended("stock goes on")
    run.settle()
    run.claim("stock-2 is still dead: stock took its delivery over", run.supervisor.pid("stock-2") is None)
    run.stands("closed")


def _without_a_stock(run: DrillRun, gone: str) -> None:
    run.take_down(gone)
    answers = [run.place(at=at) for at in ("order", "order-2") * 4]
    run.same("orders accepted", [a.status for a in answers if a].count(_CREATED), 8)
    run.bring_back(gone)
    run.supervisor.wait_ready(gone)
    run.settle()
    run.stands(*["created"] * 8)


def _without_an_order(run: DrillRun) -> None:
    first, second = (run.placed(at="order-2") for _ in range(2))
    run.take_down("order-2")
    for order_id, action in ((first, "pay"), (second, "cancel")):
        answer = run.change(order_id, action)
        run.same("HTTP status of the answer", answer and answer.status, _OK)
    run.settle()
    run.stands("closed", "paid")


def _one_key(run: DrillRun) -> None:
    body = {"items": [{"goods_id": run.goods_id, "quantity": 2}]}
    key = {"Idempotency-Key": "one"}
    with run.sut.deployment.client(run.user, ["orders"]) as client:

        def place(at: str) -> Answer:
            for _ in range(_TRIES):  # a machine that is busy with all of them at once may have no time for one: 503
                answer = client.ask(at, "POST", "/orders", json_body=body, headers=key)
                if answer.status != _AGAIN:
                    break
            return answer

        answers = at_once([partial(place, ("order", "order-2")[number % 2]) for number in range(_AT_ONCE)])
    run.fault(f"one Idempotency-Key came {_AT_ONCE} times at one moment, at both instances")
    run.same("answers", dict(Counter(answer.status for answer in answers)), {_CREATED: _AT_ONCE})
    run.same("orders that they name", len({answer.body["order_id"] for answer in answers}), 1)
    run.settle()
    run.stands("created")


def _two_supervisors(run: DrillRun) -> None:
    root = str(run.sut.deployment.directory.root)
    pids = [process.pid for process in run.supervisor.states()]
    run.placed()
    done = subprocess.run(
        [sys.executable, "-m", "ops", "up", "--data-dir", root, "--port-base", "8001"],
        check=False, capture_output=True, text=True, timeout=60, cwd=PACKAGES,
    )  # fmt: skip
    said = (done.stderr or done.stdout).strip().splitlines()
    run.fault("`orders up` is started a second time on the same data directory")
    run.claim(f"it refuses: {said[-1] if said else 'nothing said'}", done.returncode == 1)
    run.claim("it says who runs it already", "is run by process" in done.stderr)
    run.claim("the first one's processes are the same", [p.pid for p in run.supervisor.states()] == pids)
    run.placed()
    run.settle()
    run.same("pieces available", run.available(), STOCK - 4)


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
        "one order, and every client is told of it",
        _one_key,
        profile=PAIR,
    ),
    Drill(
        "two-supervisors",
        "a second `orders up` is started",
        "on a data directory that is in use",
        "it refuses and says who runs it; nothing of the first is touched",
        _two_supervisors,
        servers=ServerKind.EMBEDDED,
        profile=QUICK,
    ),
)
