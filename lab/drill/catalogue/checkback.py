"""What check-back settles: answers and resolutions that get lost, and coordinators that never come back."""

from functools import partial

from common.mq.port import State
from lab.drill import ledger
from lab.drill.drill import SECONDS_MORE, Drill, Ground, Limit
from lab.drill.letters import settle_by_hand
from lab.drill.profiles import DEFAULTS, IMPATIENT, PAIR
from lab.drill.scene import Scene

_PARKED_WITHIN = 120.0  # seconds; a RocketMQ of `orders stack` asks 60 times
_LIVES = 7
_UNKNOWN = 503


def _resolve_lost(scene: Scene) -> None:
    scene.arm("order", "order.before_resolve=raise")
    answer = scene.place()
    scene.fault("the resolution of the half message never reached the broker")
    scene.same("HTTP status of the answer", answer and answer.status, 201)
    scene.settle()
    scene.stands("created")


def _close_resolve_lost(scene: Scene) -> None:
    order_id = scene.placed()
    scene.arm("order", "close.before_resolve=raise")
    answer = scene.change(order_id, "cancel")
    scene.fault("the commit of the rollback never reached the broker")
    scene.same("HTTP status of the answer", answer and answer.status, 200)
    scene.settle()
    scene.stands("closed")


def _commit_answer_lost(scene: Scene) -> None:
    scene.arm("order", "order.committed=raise")
    answer = scene.place()
    scene.fault("the connection to the database was lost in COMMIT, after the commit")
    scene.same("HTTP status of the answer", answer and answer.status, _UNKNOWN)
    scene.same("kind of the answer", answer and answer.body["type"], "/problems/outcome-unknown")
    scene.settle()
    scene.stands("created")


def _another_answers(scene: Scene) -> None:
    scene.supervisor.hold("order-2")
    pid = scene.arm("order-2", "order.deducted=kill")
    scene.place(at="order-2")
    scene.died("order-2", pid, "order.deducted, and stays dead")
    scene.settle()
    scene.claim("order-2 is still dead: order answered for it", scene.supervisor.pid("order-2") is None)
    scene.stands()


def _parked(scene: Scene) -> None:
    scene.supervisor.hold("order")
    pid = scene.arm("order", "order.deducted=kill")
    scene.place()
    scene.died("order", pid, "order.deducted, and stays down")
    scene.say(scene.wait("the broker to give up on it", lambda: _parked_line(scene), within=_PARKED_WITHIN))
    scene.same("pieces available", scene.available(), 98)
    scene.bring_back("order")
    scene.settle(but=["is parked"])
    scene.stands()
    settle_by_hand(scene, "resume", scene.console.find(state=State.PARKED, limit=1)[0].message_id)
    scene.settle(limit=scene.backing.check_interval(IMPATIENT) + SECONDS_MORE)
    scene.claim("the half message is resolved, and nothing changed", _parked_line(scene) is None)
    scene.stands()


def _parked_line(scene: Scene) -> str | None:
    lines = ledger.unsettled(scene.site.deployment, scene.site.broker)
    return next((line for line in lines if "is parked" in line), None)


def _at_default_times(scene: Scene) -> None:
    pid = scene.arm("order", "order.deducted=kill")
    scene.place()
    scene.died("order", pid, "order.deducted")
    scene.back("order", pid)
    scene.settle()
    scene.stands()


def _again_and_again(scene: Scene) -> None:
    pid = scene.arm("order", "order.deducted=kill")
    scene.place()
    scene.died("order", pid, "order.deducted")
    for _ in range(_LIVES):
        pid = scene.wait("order to be started again", partial(_other_pid, scene, pid))
        scene.kill("order")
    scene.back("order", pid)
    scene.settle()
    scene.stands()


def _other_pid(scene: Scene, pid: int) -> int | None:
    now = scene.supervisor.pid("order")
    return None if now == pid else now


DRILLS = (
    Drill(
        "resolve-lost",
        "the resolution of a half message is lost",
        "order placed and committed, the broker not told",
        "the client has its 201; check-back finds the record and drops the message",
        _resolve_lost,
    ),
    Drill(
        "close-resolve-lost",
        "the commit of a rollback is lost",
        "order cancelled and committed, the broker not told",
        "check-back finds the record and has the rollback delivered",
        _close_resolve_lost,
    ),
    Drill(
        "commit-answer-lost",
        "the database's answer to COMMIT is lost",
        "order written and committed, order does not know",
        "the client hears outcome-unknown; check-back settles it: the order stands",
        _commit_answer_lost,
    ),
    Drill(
        "check-back-by-another-instance",
        "one of two order processes is killed and stays dead",
        "at order.deducted: stock taken, no order written",
        "the other one answers its check-back; stock comes back",
        _another_answers,
        profile=PAIR,
    ),
    Drill(
        "parked-half-message",
        "order stays down for longer than the broker asks",
        "at order.deducted; the half message is parked",
        "the sweep gives the stock back; `orders messages resume` settles the message and changes nothing",
        _parked,
        profile=IMPATIENT,
        limit=Limit.SWEEP,
    ),
    Drill(
        "killed-again-and-again",
        "order is killed (kill -9) eight times, as soon as it is started, with the settings that everybody gets",
        "the first time at order.deducted: stock taken, no order written",
        "settled within one check interval of 5 s, and 5 s more, after the last time",
        _again_and_again,
        ground=Ground.EMBEDDED,
        profile=DEFAULTS,
    ),
    Drill(
        "default-times",
        "order is killed (kill -9), with the settings that everybody gets",
        "at order.deducted: stock taken, no order written",
        "settled within one check interval of 5 s, and 5 s more",
        _at_default_times,
        ground=Ground.EMBEDDED,
        profile=DEFAULTS,
    ),
)
