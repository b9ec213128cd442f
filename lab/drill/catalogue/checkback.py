"""What check-back settles: answers and resolutions that get lost, and coordinators that never come back."""

from functools import partial

from halfmessage.mq.port import State
from lab.drill import pending
from lab.drill.dead_letters import settle_by_hand
from lab.drill.drill import SECONDS_MORE, Drill, Limit, ServerKind
from lab.drill.drill_run import DrillRun
from lab.drill.profiles import DEFAULTS, IMPATIENT, PAIR

_PARKED_WITHIN = 120.0  # seconds; a RocketMQ of `orders stack` asks 60 times
_LIVES = 7
_UNKNOWN = 503


def _resolve_lost(run: DrillRun) -> None:
    run.arm("order", "order.before_resolve=raise")
    answer = run.place()
    run.fault("the resolution of the half message never reached the broker")
    run.same("HTTP status of the answer", answer and answer.status, 201)
    run.settle()
    run.stands("created")


def _close_resolve_lost(run: DrillRun) -> None:
    order_id = run.placed()
    run.arm("order", "close.before_resolve=raise")
    answer = run.change(order_id, "cancel")
    run.fault("the commit of the rollback never reached the broker")
    run.same("HTTP status of the answer", answer and answer.status, 200)
    run.settle()
    run.stands("closed")


def _commit_answer_lost(run: DrillRun) -> None:
    run.arm("order", "order.committed=raise")
    answer = run.place()
    run.fault("the connection to the database was lost in COMMIT, after the commit")
    run.same("HTTP status of the answer", answer and answer.status, _UNKNOWN)
    run.same("kind of the answer", answer and answer.body["type"], "/problems/outcome-unknown")
    run.settle()
    run.stands("created")


def _another_answers(run: DrillRun) -> None:
    run.supervisor.hold("order-2")
    pid = run.arm("order-2", "order.deducted=kill")
    run.place(at="order-2")
    run.died("order-2", pid, "order.deducted, and stays dead")
    run.settle()
    run.claim("order-2 is still dead: order answered for it", run.supervisor.pid("order-2") is None)
    run.stands()


def _parked(run: DrillRun) -> None:
    run.supervisor.hold("order")
    pid = run.arm("order", "order.deducted=kill")
    run.place()
    run.died("order", pid, "order.deducted, and stays down")
    run.say(run.wait("the broker to give up on it", lambda: _parked_line(run), within=_PARKED_WITHIN))
    run.same("pieces available", run.available(), 98)
    run.bring_back("order")
    run.settle(but=["is parked"])
    run.stands()
    settle_by_hand(run, "resume", run.console.find(state=State.PARKED, limit=1)[0].message_id)
    run.settle(limit=(run.backing.check_interval(IMPATIENT) + SECONDS_MORE) * run.stretch)
    run.claim("the half message is resolved, and nothing changed", _parked_line(run) is None)
    run.stands()


def _parked_line(run: DrillRun) -> str | None:
    lines = pending.unsettled(run.sut.deployment, run.sut.broker)
    return next((line for line in lines if "is parked" in line), None)


def _at_default_times(run: DrillRun) -> None:
    pid = run.arm("order", "order.deducted=kill")
    run.place()
    run.died("order", pid, "order.deducted")
    run.back("order", pid)
    run.settle()
    run.stands()


def _again_and_again(run: DrillRun) -> None:
    pid = run.arm("order", "order.deducted=kill")
    run.place()
    run.died("order", pid, "order.deducted")
    for _ in range(_LIVES):
        pid = run.wait("order to be started again", partial(_other_pid, run, pid))
        run.kill("order")
    run.back("order", pid)
    run.settle()
    run.stands()


def _other_pid(run: DrillRun, pid: int) -> int | None:
    now = run.supervisor.pid("order")
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
        "order is killed (kill -9) eight times, as soon as it is started, with the default settings",
        "the first time at order.deducted: stock taken, no order written",
        "settled within one check interval of 5 s, and 5 s more, after the last time",
        _again_and_again,
        servers=ServerKind.EMBEDDED,
        profile=DEFAULTS,
    ),
    Drill(
        "default-times",
        "order is killed (kill -9), with the default settings",
        "at order.deducted: stock taken, no order written",
        "settled within one check interval of 5 s, and 5 s more",
        _at_default_times,
        servers=ServerKind.EMBEDDED,
        profile=DEFAULTS,
    ),
)
