"""Random processes killed at random moments under load; then every answer that a client got must be true.

On real servers these are killed too: name server, broker with proxy, database and cache.

More of it: ORDERS_DRILL_KILLS=500 ORDERS_DRILL_SEED=7 ./scripts/test tests/drills/test_random_kills.py
"""

import itertools
import os
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.drill.sut import SystemUnderTest
from lab.judge.databases import read
from ops.client import Unreachable
from ops.stack.settings import SERVERS
from tests.drills.conftest import running_sut
from tests.stack import stack

pytestmark = [
    pytest.mark.drill,
    pytest.mark.timeout(3600),
    *(pytest.mark.P1, pytest.mark.P2, pytest.mark.P3, pytest.mark.P4, pytest.mark.P5),
]

KILLS = int(os.environ.get("ORDERS_DRILL_KILLS", "12"))
SEED = int(os.environ.get("ORDERS_DRILL_SEED", "1"))
CLIENTS = 6


@dataclass
class History:
    """What the clients were told, by idempotency key: an order id, or that nothing was created."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    created: dict[str, str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    last_status: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    wrong: list[str] = field(default_factory=list)


def test_random_kills(tmp_path: Path) -> None:
    """A 201 is never lost, "nothing was created" is true, a paid order stays paid, the ledger is exact."""
    with running_sut(tmp_path) as sut:
        random_kills(sut)


def random_kills(sut: SystemUnderTest) -> None:
    """Kill instances at random under load; then hold every answer against the rows."""
    plan = random.Random(SEED)
    goods = [sut.new_goods() for _ in range(3)]
    for goods_id in goods:
        sut.admin.put("stock", f"/stock/{goods_id}", {"total": 2000})
    history, stop = History(), threading.Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        shoppers = [pool.submit(_shop, sut, goods, number, history, stop) for number in range(CLIENTS)]
        try:
            _kill_at_random(sut, plan)
        finally:
            stop.set()
        for shopper in shoppers:
            shopper.result()
    sut.supervisor.wait_ready(within=60)
    sut.settle(within=120)
    assert history.created, "no order got through: nothing was tested"
    assert _untrue(sut, history) == []


def _kill_at_random(sut: SystemUnderTest, plan: random.Random) -> None:
    for victim in itertools.islice(_victims(sut, plan), KILLS):
        threading.Event().wait(plan.uniform(0.1, 1.5))  # the nemesis takes its time: this is the load, no waiting
        if victim in SERVERS:
            stack().kill(victim)
            stack().start(victim)
        elif (pid := sut.kill(victim)) is not None:
            sut.supervisor.wait_gone(pid)
        if plan.random() < 0.5:  # let it recover, or strike again while it starts
            sut.supervisor.wait_ready(within=60)


def _victims(sut: SystemUnderTest, plan: random.Random) -> Iterator[str]:
    """Yield processes, and servers where they are real: at random, but each before any comes again."""
    everybody = [*sut.deployment.plan.processes, *(SERVERS if sut.deployment.plan.servers else ())]
    while True:
        yield from plan.sample(everybody, len(everybody))


def _shop(sut: SystemUnderTest, goods: list[str], number: int, history: History, stop: threading.Event) -> None:
    chance = random.Random(SEED * 1000 + number)
    user = f"shopper-{number}"
    instances = sut.deployment.plan.instances_of("order")
    with sut.deployment.client(user, ["orders"]) as client:
        for count in _until(stop):
            key = f"{user}-{count}"
            body = {"items": [{"goods_id": chance.choice(goods), "quantity": 1}]}
            at = instances[count % len(instances)]
            try:
                answer = client.ask(at, "POST", "/orders", json_body=body, headers={"Idempotency-Key": key})
                _note(history, key, answer.status, answer.body)
                if answer.status == 201 and chance.random() < 0.6:
                    action = chance.choice(["pay", "cancel"])
                    changed = client.ask(at, "POST", f"/orders/{answer.body['order_id']}/{action}")
                    if changed.status == 200:
                        history.last_status[key] = changed.body["status"]
            except Unreachable:
                history.cut += 1
                stop.wait(0.05)


def _until(stop: threading.Event) -> Iterator[int]:
    count = 0
    while not stop.is_set():
        yield count
        count += 1


def _note(history: History, key: str, status: int, body: dict[str, str]) -> None:
    slug = body.get("type", "").rpartition("/")[2]
    with history.lock:
        if status == 201:
            history.created[key] = body["order_id"]
        elif slug in {"unavailable", "insufficient-stock"}:
            history.refused.add(key)
        elif slug != "outcome-unknown":
            history.wrong.append(f"{key}: {status} {slug}")


def _untrue(sut: SystemUnderTest, history: History) -> list[str]:
    """Hold every answer against the rows."""
    keys, orders = read(
        sut.deployment.database_url("order"),
        "SELECT idempotency_key, order_id FROM idempotency_keys",
        "SELECT order_id, status FROM orders",
    )
    known = {key: str(order_id) for key, order_id in keys}
    statuses = {str(order_id): status for order_id, status in orders}
    lost = [f"{key}: a 201 was lost" for key, order_id in history.created.items() if known.get(key) != order_id]
    lies = [f"{key}: created, though the answer said no" for key in history.refused if key in known]
    changed = [
        f"{key}: answered {status}, is {statuses[known[key]]}"
        for key, status in history.last_status.items()
        if statuses[known[key]] != status
    ]
    return history.wrong + lost + lies + changed
