"""Messages that come twice, a hundred times, out of order, too early, or that nobody can read."""

import json
import random

from common.clock import now_ms
from common.events import ROLLBACK_TOPIC, TIMEOUT_TOPIC
from common.mq.port import Message
from common.registry import PARTICIPANTS
from lab.drill.drill import Drill
from lab.drill.letters import dead_rollback, settle_by_hand
from lab.drill.profiles import UNFORGIVING
from lab.drill.scene import Scene
from lab.drill.site import STOCK

_OFTEN = 100


def _repeated(scene: Scene, times: int) -> None:
    order_id = scene.placed()
    scene.change(order_id, "cancel")
    for _ in range(times - 1):
        _send(scene, ROLLBACK_TOPIC, order_id)
    scene.fault(f"the rollback is sent {times - 1} more times" if times > 2 else "the rollback is sent once more")  # noqa: PLR2004
    scene.settle()
    scene.stands("closed")


def _twice(scene: Scene) -> None:
    _repeated(scene, 2)


def _a_hundred_times(scene: Scene) -> None:
    _repeated(scene, _OFTEN)


def _timeouts(scene: Scene) -> None:
    scene.arm("order", "", pay_timeout=1.0)
    order_id = scene.placed()
    for _ in range(_OFTEN):
        _send(scene, TIMEOUT_TOPIC, order_id)
    scene.fault(f"{_OFTEN} timeouts of the order come at once, before it is due")
    scene.wait("the order to be closed", lambda: scene.statuses() == ["closed"])
    order = scene.site.orders(scene.user)[0]
    scene.claim(
        f"closed at {order['closed_at']}, due at {order['expires_at']}", order["closed_at"] >= order["expires_at"]
    )
    scene.settle()
    scene.stands("closed")


def _out_of_order(scene: Scene) -> None:
    order_ids = [scene.placed() for _ in range(10)]
    scene.take_down("stock")
    for order_id in order_ids[:5]:
        scene.change(order_id, "cancel")
    again = [order_id for order_id in order_ids[:5] for _ in range(10)]
    random.Random(5).shuffle(again)  # always the same muddle
    for order_id in again:
        _send(scene, ROLLBACK_TOPIC, order_id)
    scene.say(f"{len(again)} more rollbacks of the five cancelled orders are sent, muddled")
    scene.bring_back("stock")
    scene.settle()
    scene.stands(*["created"] * 5, *["closed"] * 5)


def _tombstone(scene: Scene) -> None:
    order_id = scene.order_id = scene.unused_id()
    _send(scene, ROLLBACK_TOPIC, order_id)
    scene.fault(f"the rollback of order {order_id} comes before its deduction")
    scene.settle()
    line = {"order_id": order_id, "items": [{"goods_id": scene.goods_id, "quantity": 2}]}
    answer = scene.site.service.post("stock", "/reservations", {"tx_id": order_id, "orders": [line]})
    scene.same("verdict on the deduction that comes late", answer["orders"][0]["verdict"], "released")
    scene.stands()


def _timeout_before_its_order(scene: Scene) -> None:
    scene.arm("order", "order.before_commit=delay:0.8", pay_timeout=0.2)
    answer = scene.place()
    scene.fault("the timeout came while the order was not written yet")
    scene.same("HTTP status of the answer", answer and answer.status, 201)
    scene.settle()
    scene.stands("closed")


def _poison(scene: Scene) -> None:
    message_id = scene.producer.send(Message(ROLLBACK_TOPIC, b"\xffno JSON", keys=("poison",)))
    scene.fault(f"message {message_id}, which nobody can read, is sent to stock")
    order_id = scene.placed()
    scene.change(order_id, "cancel")
    scene.settle(but=["poison"])
    scene.claim("a good rollback behind it was handled", scene.available() == STOCK)
    dead = scene.wait("the message to be a dead letter", lambda: dead_rollback(scene, "poison", *PARTICIPANTS))
    scene.same("dead letters that an operator's console counts", scene.console.stats().dead, 1)
    if scene.site.deployment.plan.servers is None:  # services have no console on RocketMQ, so no gauges of it either
        for group in dead.groups:
            scene.same(f"deliveries to {group.group} before it was given up", group.attempts, 4)
        scene.claim("so does GET /metrics", "orders_dead_letters 1.0" in scene.metrics("order"))
    settle_by_hand(scene, "resend", dead.message_id)
    scene.wait("it to be a dead letter again", lambda: dead_rollback(scene, "poison", *PARTICIPANTS))
    scene.stands("closed")
    scene.leave("poison", "it stays where an operator sees it: nobody can ever read it")


def _dead_letter_resent(scene: Scene) -> None:
    order_id = scene.placed()
    scene.arm("stock", "stock.rollback_received=raise")
    scene.change(order_id, "cancel")
    dead = scene.wait("the rollback to be a dead letter", lambda: dead_rollback(scene, order_id))
    scene.fault(f"stock failed at it again and again: it is a dead letter, {dead.message_id}")
    scene.same("pieces available", scene.available(), STOCK - 2)
    scene.disarm()
    scene.supervisor.wait_ready()
    scene.say("the cause is mended: stock is started without its fault")
    settle_by_hand(scene, "resend", dead.message_id)
    scene.settle()
    scene.stands("closed")


def _send(scene: Scene, topic: str, order_id: str) -> None:
    """Send a message as the order service does, naming one order."""
    tx_id = str(int(order_id) + 1)
    body = json.dumps({"tx_id": tx_id, "order_ids": [order_id]}).encode()
    message = Message(topic, body, keys=(order_id,), properties={"tx_id": tx_id})
    producer = scene.producer
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
        "a message that nobody can read",
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
