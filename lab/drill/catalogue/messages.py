"""Messages that come twice, a hundred times, out of order, too early, or that can't be read."""

import json
import random

from common.registry import PARTICIPANTS, ROLLBACK_TOPIC, TIMEOUT_TOPIC
from halfmessage.clock import now_ms
from halfmessage.mq.port import Message
from lab.drill.dead_letters import dead_rollback, settle_by_hand
from lab.drill.drill import Drill
from lab.drill.drill_run import DrillRun
from lab.drill.profiles import UNFORGIVING
from lab.drill.sut import STOCK

_OFTEN = 100


def _repeated(run: DrillRun, times: int) -> None:
    order_id = run.placed()
    run.change(order_id, "cancel")
    for _ in range(times - 1):
        _send(run, ROLLBACK_TOPIC, order_id)
    run.fault(f"the rollback is sent {times - 1} more times" if times > 2 else "the rollback is sent once more")  # noqa: PLR2004
    run.settle()
    run.stands("closed")


def _twice(run: DrillRun) -> None:
    _repeated(run, 2)


def _a_hundred_times(run: DrillRun) -> None:
    _repeated(run, _OFTEN)


def _timeouts(run: DrillRun) -> None:
    run.arm("order", "", pay_timeout=1.0)
    order_id = run.placed()
    for _ in range(_OFTEN):
        _send(run, TIMEOUT_TOPIC, order_id)
    run.fault(f"{_OFTEN} timeouts of the order come at once, before it is due")
    run.wait("the order to be closed", lambda: run.statuses() == ["closed"])
    order = run.sut.orders(run.user)[0]
    run.claim(
        f"closed at {order['closed_at']}, due at {order['expires_at']}", order["closed_at"] >= order["expires_at"]
    )
    run.settle()
    run.stands("closed")


def _out_of_order(run: DrillRun) -> None:
    order_ids = [run.placed() for _ in range(10)]
    run.take_down("stock")
    for order_id in order_ids[:5]:
        run.change(order_id, "cancel")
    again = [order_id for order_id in order_ids[:5] for _ in range(10)]
    random.Random(5).shuffle(again)  # always the same muddle
    for order_id in again:
        _send(run, ROLLBACK_TOPIC, order_id)
    run.say(f"{len(again)} more rollbacks of the five cancelled orders are sent, muddled")
    run.bring_back("stock")
    run.settle()
    run.stands(*["created"] * 5, *["closed"] * 5)


def _tombstone(run: DrillRun) -> None:
    order_id = run.order_id = run.unused_id()
    _send(run, ROLLBACK_TOPIC, order_id)
    run.fault(f"the rollback of order {order_id} comes before its deduction")
    run.settle()
    line = {"order_id": order_id, "items": [{"goods_id": run.goods_id, "quantity": 2}]}
    answer = run.sut.service.post("stock", "/reservations", {"tx_id": order_id, "orders": [line]})
    run.same("verdict on the deduction that comes late", answer["orders"][0]["verdict"], "released")
    run.stands()


def _timeout_before_its_order(run: DrillRun) -> None:
    run.arm("order", "order.before_commit=delay:0.8", pay_timeout=0.2)
    answer = run.place()
    run.fault("the timeout came while the order was not written yet")
    run.same("HTTP status of the answer", answer and answer.status, 201)
    run.settle()
    run.stands("closed")


def _poison(run: DrillRun) -> None:
    message_id = run.producer.send(Message(ROLLBACK_TOPIC, b"\xffno JSON", keys=("poison",)))
    run.fault(f"message {message_id}, which no service can read, is sent to stock")
    order_id = run.placed()
    run.change(order_id, "cancel")
    run.settle(but=["poison"])
    run.claim("a good rollback behind it was handled", run.available() == STOCK)
    dead = run.wait("the message to be a dead letter", lambda: dead_rollback(run, "poison", *PARTICIPANTS))
    run.same("dead letters that an operator's console counts", run.console.stats().dead, 1)
    if run.sut.deployment.plan.servers is None:  # services have no console on RocketMQ, so no gauges of it either
        for group in dead.groups:
            run.same(f"deliveries to {group.group} before it was given up", group.attempts, 4)
        run.claim("so does GET /metrics", "orders_dead_letters 1.0" in run.metrics("order"))
    settle_by_hand(run, "resend", dead.message_id)
    run.wait("it to be a dead letter again", lambda: dead_rollback(run, "poison", *PARTICIPANTS))
    run.stands("closed")
    run.leave("poison", "it stays where an operator sees it: no service can ever read it")


def _dead_letter_resent(run: DrillRun) -> None:
    order_id = run.placed()
    run.arm("stock", "stock.rollback_received=raise")
    run.change(order_id, "cancel")
    dead = run.wait("the rollback to be a dead letter", lambda: dead_rollback(run, order_id))
    run.fault(f"stock failed at it again and again: it is a dead letter, {dead.message_id}")
    run.same("pieces available", run.available(), STOCK - 2)
    run.disarm()
    run.supervisor.wait_ready()
    run.say("the cause is mended: stock is started without its fault")
    settle_by_hand(run, "resend", dead.message_id)
    run.settle()
    run.stands("closed")


def _send(run: DrillRun, topic: str, order_id: str) -> None:
    """Send a message as the order service does, naming one order."""
    tx_id = str(int(order_id) + 1)
    body = json.dumps({"tx_id": tx_id, "order_ids": [order_id]}).encode()
    message = Message(topic, body, keys=(order_id,), properties={"tx_id": tx_id})
    producer = run.producer
    if topic == TIMEOUT_TOPIC:
        producer.send_at(message, now_ms())
    else:
        producer.send(message)


DRILLS = (
    Drill(
        "rollback-twice",
        "a rollback is sent twice",
        "between order and stock",
        "stock comes back once",
        _twice,
    ),
    Drill(
        "rollback-100-times",
        "a rollback is sent 100 times",
        "between order and stock",
        "stock comes back once",
        _a_hundred_times,
    ),
    Drill(
        "timeout-100-times",
        "a timeout comes 100 times, before it is due",
        "between broker and order",
        "the order is closed once, and not before it is due",
        _timeouts,
    ),
    Drill(
        "rollbacks-out-of-order",
        "rollbacks come muddled and repeated, after stock was down",
        "between order and stock",
        "each cancelled order's stock comes back once, no other's",
        _out_of_order,
    ),
    Drill(
        "rollback-before-deduction",
        "a rollback comes before the deduction that it undoes",
        "at stock",
        "it leaves a tombstone, and the deduction is refused",
        _tombstone,
    ),
    Drill(
        "timeout-before-its-order",
        "a timeout comes before its order is written",
        "at order, while the local transaction runs",
        "the timeout is not swallowed: the order is closed, its stock comes back",
        _timeout_before_its_order,
    ),
    Drill(
        "poison-message",
        "a message that no service can read",
        "sent to stock",
        "others pass it; it ends as a dead letter that is counted and can be resent",
        _poison,
        profile=UNFORGIVING,
    ),
    Drill(
        "dead-letter-resent",
        "stock fails at a rollback until it is a dead letter",
        "at stock.rollback_received",
        "once the cause is mended, `orders messages resend` gives the stock back",
        _dead_letter_resent,
        profile=UNFORGIVING,
    ),
)
