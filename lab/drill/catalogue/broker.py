"""A broker that is gone at each step, restarted with messages in every state, or lost with all it had."""

from functools import partial

from common.registry import ROLLBACK_TOPIC
from halfmessage.mq.port import MessageView, State
from lab.drill.drill import Drill, Limit, ServerKind
from lab.drill.drill_run import Broken, DrillRun
from lab.drill.profiles import EVERY_STATE, IMPATIENT

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


def _gone_while_placing(run: DrillRun, point: str) -> None:
    run.arm("order", f"{point}=delay:0.5")
    with run.meanwhile(run.place) as result:
        run.reached("order", point)
        with run.outage("broker"):
            run.pause(_GONE_FOR)
        answer = result()
    if answer is None or answer.status not in {_CREATED, _UNAVAILABLE}:
        raise Broken("An order was neither accepted nor refused as unavailable.")
    run.settle()
    run.stands(*(["created"] if answer.status == _CREATED else []))


def _gone_while_closing(run: DrillRun, point: str) -> None:
    order_id = run.placed()
    run.arm("order", f"{point}=delay:0.5")
    with run.meanwhile(partial(run.change, order_id, "cancel")) as result:
        run.reached("order", point)
        with run.outage("broker"):
            run.pause(_GONE_FOR)
        answer = result()
    run.same("HTTP status of the answer: cancelling needs no more of the broker", answer and answer.status, _OK)
    run.settle()
    run.stands("closed")


def _refused_while_gone(run: DrillRun) -> None:
    order_id = run.placed()
    with run.outage("broker"):
        answer = run.place()
        run.same("HTTP status of the answer, nothing created", answer and answer.status, _UNAVAILABLE)
        paid = run.change(order_id, "pay")
        run.same("HTTP status of a payment: the money is taken, and not told yet", paid and paid.status, _UNAVAILABLE)
    run.settle()
    run.stands("paid")


def _every_state(run: DrillRun) -> None:
    waiting = [run.placed() for _ in range(4)]
    run.say("four timeouts wait for their time: delayed")
    _leave_parked(run)
    _leave_dead(run, waiting[0])
    run.arm("stock", "stock.rollback_received=delay:30")
    run.change(waiting[1], "cancel")
    run.reached("stock", "stock.rollback_received")
    run.say("a rollback is at stock: in flight")
    run.change(waiting[2], "cancel")
    run.say("another one waits behind it: ready")
    run.arm("order", "order.deducted=delay:30")
    with run.meanwhile(run.place) as result:
        run.reached("order", "order.deducted")
        run.say("an order is half placed: half")
        _kill_everything(run)
        result()
    run.settle(but=["is parked", "is dead"])
    _send_on(run)
    run.settle()
    run.stands("created", "closed", "closed", "closed")


def _leave_parked(run: DrillRun) -> None:
    run.supervisor.hold("order")
    pid = run.arm("order", "order.deducted=kill")
    run.place()
    run.died("order", pid, "order.deducted, and stays down")
    run.wait("its half message to be parked", lambda: _find(run, State.PARKED))
    run.say("the broker has given up on a half message: parked")
    run.bring_back("order")
    run.supervisor.wait_ready()


def _leave_dead(run: DrillRun, order_id: str) -> None:
    run.arm("stock", "stock.rollback_received=raise")
    run.change(order_id, "cancel")
    run.wait("its rollback to be a dead letter", lambda: _find(run, State.DEAD))
    run.say("stock has failed at a rollback too often: dead")


def _kill_everything(run: DrillRun) -> None:
    processes = list(run.sut.deployment.plan.processes)
    for process in processes:
        run.supervisor.hold(process)
    for process in processes:
        run.kill(process)
    for process in processes:
        run.supervisor.release(process)
    run.mended("all three are started again; what they knew is what is on disk")
    run.supervisor.wait_ready()


def _send_on(run: DrillRun) -> None:
    console = run.sut.broker.console()
    for view in _all(run, State.PARKED):
        console.resume(view.message_id)
    for view in _all(run, State.DEAD):
        console.resend(view.message_id)
    run.mended("what is parked is resumed, what is dead is resent")


def _find(run: DrillRun, state: State) -> MessageView | None:
    return next(iter(_all(run, state)), None)


def _all(run: DrillRun, state: State) -> list[MessageView]:
    return run.sut.broker.console().find(topic=ROLLBACK_TOPIC, state=state, limit=100)


def _lost(run: DrillRun) -> None:
    cancelled = run.placed()
    run.arm("order", "", pay_timeout=2.0)
    overdue = run.placed()
    run.say(f"order {overdue} is to time out in 2 s")
    run.take_down("stock")
    run.change(cancelled, "cancel")
    run.say("a rollback waits for stock, which is down")
    run.supervisor.release("stock")
    run.supervisor.wait_ready()
    run.take_down("order")
    orphan = run.sut.orphan("stock", run.goods_id)
    run.say(f"stock is taken for order {orphan}, whose half message is lost with the broker")
    for process in run.sut.deployment.plan.processes:
        if process != "order":
            run.take_down(process)
    for file in run.sut.deployment.directory.root.glob("broker.db*"):
        file.unlink()
    run.fault("the broker's file is deleted, with every message in it")
    run.sut.broker.close()
    for process in run.sut.deployment.plan.processes:
        run.supervisor.release(process)
    run.supervisor.wait_ready()
    run.sut.broker = run.sut.deployment.open_broker()
    run.mended("everything is started again, with an empty broker")
    run.settle()
    run.stands("closed", "closed")


_AT = "the broker is gone (embedded: its file is locked; real: kill -9, started again)"

DRILLS = (
    *(
        Drill(
            f"broker-gone-at-{point}",
            _AT,
            f"when order comes to {point}",
            "the order stands with its stock, or never was and its stock is back",
            partial(_gone_while_placing, point=point),
            point=point,
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
            point=point,
        )
        for point in _CLOSING
    ),
    Drill(
        "broker-gone",
        _AT,
        "before an order is placed",
        "503 and nothing created; what is paid meanwhile is told afterwards",
        _refused_while_gone,
    ),
    Drill(
        "everything-killed-with-messages-in-every-state",
        "order, stock and goods, and with them the embedded broker, are killed at one moment",
        "with messages half, delayed, ready, in flight, parked and dead",
        "the sweep and the messages on disk settle all of it; what is parked or dead is sent on",
        _every_state,
        servers=ServerKind.EMBEDDED,
        profile=EVERY_STATE,
        limit=Limit.SWEEP,
    ),
    Drill(
        "broker-lost",
        "the broker's file is deleted",
        "with a half message, a rollback and a timeout in it",
        "the sweep releases what was held, and closes what is overdue",
        _lost,
        servers=ServerKind.EMBEDDED,
        profile=IMPATIENT,
        limit=Limit.SWEEP,
    ),
)
