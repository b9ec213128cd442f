"""Payments, timeouts and cancellations of one order at one moment: exactly one of them wins."""

import random
import threading
import time
from collections import Counter
from datetime import datetime
from functools import partial

from lab.drill.drill import Drill
from lab.drill.drill_run import DrillRun
from lab.drill.event_log import NotStaged
from lab.drill.parallel import at_once, spread
from ops.client import Answer, Client

_RACES = 1000
_RUNNERS = 96
_PAIRS = 200
_PAY_TIMEOUT = 1.5  # seconds
_EARLY, _LATE = -0.05, 0.35  # seconds around the timeout at which payments come
_OK, _CONFLICT = 200, 409


def _pay_races_timeout(run: DrillRun) -> None:
    run.stock(_RACES)
    run.arm("order", "", pay_timeout=_PAY_TIMEOUT)
    moments = random.Random(7)
    offsets = [moments.uniform(_EARLY, _LATE) for _ in range(_RACES)]
    clients = [run.sut.deployment.client(run.user, ["orders"]) for _ in range(_RUNNERS // 24)]

    def race(number: int) -> tuple[str, Answer]:
        client = clients[number % len(clients)]
        order = client.post("order", "/orders", {"items": [{"goods_id": run.goods_id, "quantity": 1}]})
        due = datetime.fromisoformat(order["expires_at"]).timestamp() + offsets[number]
        threading.Event().wait(max(0.0, due - time.time()))
        return str(order["order_id"]), client.ask("order", "POST", f"/orders/{order['order_id']}/pay")

    raced = spread(race, range(_RACES), threads=_RUNNERS)
    run.fault(f"{_RACES} payments came {-_EARLY * 1000:.0f} ms before to {_LATE * 1000:.0f} ms after the timeout")
    won = Counter(answer.status for _, answer in raced)
    run.same("answers that are neither 200 nor 409", len(raced) - won[_OK] - won[_CONFLICT], 0)
    if not (won[_OK] and won[_CONFLICT]):
        raise NotStaged(f"One side won all: {won[_OK]} payments, {won[_CONFLICT]} timeouts.")
    run.say(f"both sides won some: {won[_OK]} payments, {won[_CONFLICT]} timeouts")
    run.order_id = next(order_id for order_id, answer in raced if answer.status == _CONFLICT)
    run.settle()
    run.same("answers that are not true", _untrue(clients[0], raced), 0)
    run.same("pieces available", run.available(), won[_CONFLICT])
    for client in clients:
        client.close()


def _untrue(client: Client, raced: list[tuple[str, Answer]]) -> int:
    """Count payments that were confirmed and are not, or refused and are."""

    def is_true(one: tuple[str, Answer]) -> bool:
        order_id, answer = one
        status = client.get("order", f"/orders/{order_id}")["status"]
        return bool(status == ("paid" if answer.status == _OK else "closed"))

    return spread(is_true, raced, threads=24).count(False)


def _cancel_races_pay(run: DrillRun) -> None:
    run.stock(_PAIRS)
    with run.sut.deployment.client(run.user, ["orders"]) as client:
        body = {"items": [{"goods_id": run.goods_id, "quantity": 1}]}
        order_ids = spread(lambda _: str(client.post("order", "/orders", body)["order_id"]), range(_PAIRS), threads=24)

        def race(order_id: str) -> tuple[int, int]:
            pay, cancel = at_once(
                [partial(client.ask, "order", "POST", f"/orders/{order_id}/{action}") for action in ("pay", "cancel")]
            )
            return pay.status, cancel.status

        outcomes = Counter(spread(race, order_ids, threads=12))
    run.fault(f"{_PAIRS} orders were paid and cancelled at one moment")
    paid, cancelled = outcomes[_OK, _CONFLICT], outcomes[_CONFLICT, _OK]
    run.order_id = order_ids[0]
    run.same("races with two winners or none", _PAIRS - paid - cancelled, 0)
    run.claim(f"{paid} were paid, {cancelled} cancelled", True)
    run.settle()
    run.same("pieces available", run.available(), cancelled)


DRILLS = (
    Drill(
        "pay-races-timeout",
        "1,000 payments come at the moment of their order's timeout",
        "at order",
        "each order is paid (200) or closed (409), as its client was told; stock follows",
        _pay_races_timeout,
    ),
    Drill(
        "cancel-races-pay",
        "200 orders are cancelled and paid at one moment",
        "at order",
        "exactly one of the two succeeds; stock follows",
        _cancel_races_pay,
    ),
)
