"""A broker that is gone at each step, restarted with messages in every state, or lost with all it had."""

from functools import partial

from common.events import ROLLBACK_TOPIC
from common.mq.port import MessageView, State
from lab.drill.drill import Drill, Ground, Limit
from lab.drill.profiles import EVERY_STATE, IMPATIENT
from lab.drill.scene import Broken, Scene

_GONE_FOR = 4.0  # seconds: longer than a send waits
_PLACING = (
    "order.half_sent",
    "order.timeout_scheduled",
    "order.deducted",
    "order.before_commit",
    "order.committed",
    "order.before_resolve",
)
_CLOSING = ("close.half_sent", "close.before_commit", "close.committed", "close.before_resolve")
_CREATED, _UNAVAILABLE, _OK = 201, 503, 200


def _gone_while_placing(scene: Scene, point: str) -> None:
    scene.arm("order", f"{point}=delay:0.5")
    with scene.meanwhile(scene.place) as result:
        scene.reached("order", point)
        with scene.outage("broker"):
            scene.pause(_GONE_FOR)
        answer = result()
    if answer is None or answer.status not in {_CREATED, _UNAVAILABLE}:
        raise Broken("An order was neither accepted nor refused as unavailable.")
    scene.settle()
    scene.stands(*(["created"] if answer.status == _CREATED else []))


def _gone_while_closing(scene: Scene, point: str) -> None:
    order_id = scene.placed()
    scene.arm("order", f"{point}=delay:0.5")
    with scene.meanwhile(partial(scene.change, order_id, "cancel")) as result:
        scene.reached("order", point)
        with scene.outage("broker"):
            scene.pause(_GONE_FOR)
        answer = result()
    scene.same("HTTP status of the answer: cancelling needs no more of the broker", answer and answer.status, _OK)
    scene.settle()
    scene.stands("closed")


def _refused_while_gone(scene: Scene) -> None:
    order_id = scene.placed()
    with scene.outage("broker"):
        answer = scene.place()
        scene.same("HTTP status of the answer, nothing created", answer and answer.status, _UNAVAILABLE)
        paid = scene.change(order_id, "pay")
        scene.same("HTTP status of a payment, which needs no message", paid and paid.status, _OK)
    scene.settle()
    scene.stands("paid")


def _every_state(scene: Scene) -> None:
    waiting = [scene.placed() for _ in range(4)]
    scene.say("four timeouts wait for their time: delayed")
    _leave_parked(scene)
    _leave_dead(scene, waiting[0])
    scene.arm("stock", "stock.rollback_received=delay:30")
    scene.change(waiting[1], "cancel")
    scene.reached("stock", "stock.rollback_received")
    scene.say("a rollback is at stock: in flight")
    scene.change(waiting[2], "cancel")
    scene.say("another one waits behind it: ready")
    scene.arm("order", "order.deducted=delay:30")
    with scene.meanwhile(scene.place) as result:
        scene.reached("order", "order.deducted")
        scene.say("an order is half placed: half")
        _kill_everything(scene)
        result()
    scene.settle(but=["is parked", "is dead"])
    _send_on(scene)
    scene.settle()
    scene.stands("created", "closed", "closed", "closed")


def _leave_parked(scene: Scene) -> None:
    scene.supervisor.hold("order")
    pid = scene.arm("order", "order.deducted=kill")
    scene.place()
    scene.died("order", pid, "order.deducted, and stays down")
    scene.wait("its half message to be parked", lambda: _find(scene, State.PARKED))
    scene.say("the broker has given up on a half message: parked")
    scene.bring_back("order")
    scene.supervisor.wait_ready()


def _leave_dead(scene: Scene, order_id: str) -> None:
    scene.arm("stock", "stock.rollback_received=raise")
    scene.change(order_id, "cancel")
    scene.wait("its rollback to be a dead letter", lambda: _find(scene, State.DEAD))
    scene.say("stock has failed at a rollback too often: dead")


def _kill_everything(scene: Scene) -> None:
    processes = list(scene.site.deployment.plan.processes)
    for process in processes:
        scene.supervisor.hold(process)
    for process in processes:
        scene.kill(process)
    for process in processes:
        scene.supervisor.release(process)
    scene.mended("all three are started again; what they knew is what is on disk")
    scene.supervisor.wait_ready()


def _send_on(scene: Scene) -> None:
    console = scene.site.broker.console()
    for view in _all(scene, State.PARKED):
        console.resume(view.message_id)
    for view in _all(scene, State.DEAD):
        console.resend(view.message_id)
    scene.mended("what is parked is resumed, what is dead is resent")


def _find(scene: Scene, state: State) -> MessageView | None:
    return next(iter(_all(scene, state)), None)


def _all(scene: Scene, state: State) -> list[MessageView]:
    return scene.site.broker.console().find(topic=ROLLBACK_TOPIC, state=state, limit=100)


def _lost(scene: Scene) -> None:
    cancelled = scene.placed()
    scene.arm("order", "", pay_timeout=2.0)
    overdue = scene.placed()
    scene.say(f"order {overdue} is to time out in 2 s")
    scene.take_down("stock")
    scene.change(cancelled, "cancel")
    scene.say("a rollback waits for stock, which is down")
    scene.supervisor.release("stock")
    scene.supervisor.wait_ready()
    scene.take_down("order")
    orphan = scene.site.orphan("stock", scene.goods_id)
    scene.say(f"stock is taken for order {orphan}, whose half message is lost with the broker")
    for process in ("stock", "goods"):
        scene.take_down(process)
    for file in scene.site.deployment.place.root.glob("broker.db*"):
        file.unlink()
    scene.fault("the broker's file is deleted, with every message in it")
    scene.site.broker.close()
    for process in scene.site.deployment.plan.processes:
        scene.supervisor.release(process)
    scene.supervisor.wait_ready()
    scene.site.broker = scene.site.deployment.open_broker()
    scene.mended("everything is started again, with an empty broker")
    scene.settle()
    scene.stands("closed", "closed")


_AT = "the broker is gone (embedded: its file is locked; real: kill -9, started again)"

DRILLS = (
    *(
        Drill(
            f"broker-gone-at-{point}",
            _AT,
            f"when order comes to {point}",
            "the order stands with its stock, or never was and its stock is back",
            partial(_gone_while_placing, point=point),
        )
        for point in _PLACING
    ),
    *(
        Drill(
            f"broker-gone-at-{point}",
            _AT,
            f"when order comes to {point}",
            "the order is closed and its stock comes back",
            partial(_gone_while_closing, point=point),
        )
        for point in _CLOSING
    ),
    Drill(
        "broker-gone",
        _AT,
        "before an order is placed",
        "503 and nothing created, payments go on",
        _refused_while_gone,
    ),
    Drill(
        "everything-killed-with-messages-in-every-state",
        "order, stock and goods, and with them the embedded broker, are killed at one moment",
        "with messages half, delayed, ready, in flight, parked and dead",
        "the sweep and the messages on disk settle all of it; what is parked or dead is sent on",
        _every_state,
        ground=Ground.EMBEDDED,
        profile=EVERY_STATE,
        limit=Limit.SWEEP,
    ),
    Drill(
        "broker-lost",
        "the broker's file is deleted",
        "with a half message, a rollback and a timeout in it",
        "the sweep releases what was held, and closes what is overdue",
        _lost,
        ground=Ground.EMBEDDED,
        profile=IMPATIENT,
        limit=Limit.SWEEP,
    ),
)
