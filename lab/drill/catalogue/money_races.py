"""Callbacks, timeouts, cancellations, returns, polls and refunds of one order at one moment: its money is right."""

import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, Final

from common.registry import SANDBOX
from lab.drill.drill import Drill
from lab.drill.drill_run import DrillRun
from lab.drill.event_log import NotStaged
from lab.drill.parallel import spread
from lab.drill.provider import asked_back_twice, doing_wrong, still_has, taken
from ops.client import Client, Unreachable

_CREATED = 201
_PAY_TIMEOUT = 1.5  # seconds
_RACES: Final = 1000
_RUNNERS: Final = 48
_EARLY, _LATE = -0.4, 0.2  # seconds around the timeout at which orders are cancelled or returned
_SCENARIOS: Final = ("callback", "callback", "card", "silent", "twice", "late:1", "late:2")
_AGAINST: Final = (None, "cancel", "return")
_FAULTS: Final = {"delay": 0.5, "duplicate": 0.3, "reorder": 0.2, "lost": 0.1, "refund_fails_done": 0.1}
_SETTLED_WITHIN: Final = 60.0  # seconds after a thousand races: lost callbacks are found by polls, one after the other


def _callbacks_race(run: DrillRun) -> None:
    run.stock(_RACES)
    run.arm("order", "", pay_timeout=_PAY_TIMEOUT)
    run.arm("pay", "", polls_per_second=500)
    chance = random.Random(7)
    plans = [(chance.choice(_SCENARIOS), chance.choice(_AGAINST), chance.uniform(_EARLY, _LATE)) for _ in range(_RACES)]
    clients = [run.sut.deployment.client(run.user, ["orders"]) for _ in range(_RUNNERS // 24)]

    def race(number: int) -> str | None:
        return _race(clients[number % len(clients)], run.goods_id, *plans[number])

    with doing_wrong(run, "callbacks come late, doubled, muddled or never; answers to refunds are lost", **_FAULTS):
        order_ids = [one for one in spread(race, range(_RACES), threads=_RUNNERS) if one is not None]
        run.say(f"{len(order_ids)} orders were paid around their timeout, cancelled and returned meanwhile")
    run.settle(limit=_SETTLED_WITHIN * run.stretch)
    shown = dict(zip(order_ids, spread(partial(_shown, clients[0]), order_ids, threads=24), strict=True))
    won = Counter(str(order["status"]) for order in shown.values())
    if len(order_ids) < _RACES / 2 or not (won["paid"] and won["closed"]):  # the others found a service too busy
        raise NotStaged(f"Of {_RACES} orders these raced: {dict(won)}.")
    wrong = _wrong(shown, taken(run))
    run.order_id = wrong[0] if wrong else order_ids[0]
    run.say(", ".join(f"{number} are {status}" for status, number in sorted(won.items())))
    run.same("orders whose money is neither kept once for a paid order nor sent back once", wrong[:5], [])
    run.same("pieces available", run.available(), _RACES - run.statuses().count("paid"))
    for client in clients:
        client.close()


def _race(client: Client, goods_id: str, scenario: str, against: str | None, offset: float) -> str | None:
    """Place an order, begin to pay it, and have something come against that near its timeout; return its id.

    None: it was not accepted. An answer that does not come in time leaves it to the books, as does a refusal.
    """
    with suppress(Unreachable):
        placed = client.ask("order", "POST", "/orders", json_body={"items": [{"goods_id": goods_id, "quantity": 1}]})
        if placed.status == _CREATED:
            _contend(client, placed.body, scenario, against, offset)
            return str(placed.body["order_id"])
    return None


def _contend(client: Client, order: Mapping[str, Any], scenario: str, against: str | None, offset: float) -> None:
    order_id = str(order["order_id"])
    with suppress(Unreachable):
        client.ask("order", "POST", f"/orders/{order_id}/pay", json_body={"provider": SANDBOX, "scenario": scenario})
    due = datetime.fromisoformat(order["expires_at"]).timestamp() + offset
    threading.Event().wait(max(0.0, due - time.time()))
    if against is not None:
        body = {"reason": "raced"} if against == "return" else None
        with suppress(Unreachable):
            client.ask("order", "POST", f"/orders/{order_id}/{against}", json_body=body)


def _shown(client: Client, order_id: str) -> dict[str, Any]:
    return dict(client.get("order", f"/orders/{order_id}"))


def _wrong(orders: Mapping[str, Mapping[str, Any]], books: Mapping[str, list[Mapping[str, Any]]]) -> list[str]:
    """Return the orders whose money is not where it must be, by the provider's books."""

    def is_right(order_id: str) -> bool:
        order, charges = orders[order_id], books.get(order_id, [])
        due = [(order["total_amount"], order["currency"])] if order["status"] == "paid" else []
        return still_has(charges) == due and not asked_back_twice(charges)

    return [order_id for order_id in orders if not is_right(order_id)]


DRILLS = (
    Drill(
        "race-callbacks",
        "1,000 orders are paid, by callbacks that come late, doubled or never",
        "around their timeout, while they are cancelled, returned, asked about and refunded",
        "by the provider's books: money is kept once for a paid order, any other went back once; stock follows",
        _callbacks_race,
    ),
)
