"""RocketMQ is upgraded under a deployment that runs on: the newer version settles what the older one stored."""

from functools import partial

from lab.drill.dead_letters import dead_rollback, settle_by_hand
from lab.drill.drill import Drill, ServerKind
from lab.drill.drill_run import DrillRun
from lab.drill.profiles import OLDEST_ROCKETMQ
from lab.drill.real import stack_of
from ops import versions

_UNAVAILABLE = 503
_DUE_MEANWHILE, _DUE_LATER = 5.0, 60.0  # seconds until an order times out; RocketMQ is away for 15 to 40
_REVIVED_WITHIN = 10.0  # seconds more: a broker that has just started is slow to bring what was in flight again
_LONG = "delay:120"  # longer than the process lives that is held up


def _upgraded(run: DrillRun, version: str) -> None:
    dead, paid, closing, given_back, behind = (run.placed() for _ in range(5))
    _leave_dead(run, dead)
    _leave_in_flight(run, given_back, behind)
    run.arm("order", "", pay_timeout=_DUE_LATER)
    later = run.placed()
    run.say(f"order {later} is to time out in {_DUE_LATER:g} s: its timeout is delayed")
    _leave_half(run, closing)
    stack = stack_of(run.sut.deployment)
    for server in ("broker", "namesrv"):
        stack.stop(server)
    run.fault(f"RocketMQ {stack.plan.rocketmq} is stopped; MariaDB, Redis and the services run on")
    run.kill("stock")
    run.supervisor.release("order")
    run.wait("a payment, which is not told yet", lambda: _is_taken(run, paid), within=60.0)
    stack.up(rocketmq=version)
    run.mended(f"RocketMQ {stack.plan.rocketmq} is started on what the older one stored")
    run.settle(limit=run.limit + _REVIVED_WITHIN, but=[dead])
    letter = run.wait("the dead letter", lambda: dead_rollback(run, dead))
    settle_by_hand(run, "resend", letter.message_id)
    run.settle()
    _times_out(run, later)
    run.change(run.accepted(), "cancel")
    run.settle(limit=run.limit + _DUE_LATER)  # since the dead letter was sent on
    run.stands("paid", *["closed"] * 7)


def _leave_dead(run: DrillRun, order_id: str) -> None:
    run.arm("stock", "stock.rollback_received=raise")
    run.change(order_id, "cancel")
    run.wait("its rollback to be a dead letter", lambda: dead_rollback(run, order_id), within=60.0)
    run.say("stock has failed at a rollback too often: dead")


def _leave_in_flight(run: DrillRun, order_id: str, behind: str) -> None:
    run.arm("stock", f"stock.rollback_received={_LONG}")
    run.change(order_id, "cancel")
    run.reached("stock", "stock.rollback_received")
    run.change(behind, "cancel")
    run.say("a rollback is at stock: in flight; another one waits behind it: ready")


def _leave_half(run: DrillRun, closing: str) -> None:
    """Have order killed, and stay down, over a half message of either kind and with a timeout that is soon due."""
    run.supervisor.hold("order")
    pid = run.arm("order", f"close.committed={_LONG};order.deducted=kill@2", pay_timeout=_DUE_MEANWHILE)
    run.say(f"order {run.placed()} is to time out in {_DUE_MEANWHILE:g} s, while RocketMQ is away")
    with run.meanwhile(partial(run.change, closing, "cancel")) as cancelled:
        run.reached("order", "close.committed")
        run.place()
        run.died("order", pid, "order.deducted and close.committed, and stays down")
        cancelled()
    run.wait("two half messages, and no more", lambda: run.console.stats().half == 2 or None)  # noqa: PLR2004
    run.say("neither half message is resolved: half")


def _is_taken(run: DrillRun, order_id: str) -> bool | None:
    answer = run.sut.call(run.user, f"/orders/{order_id}/pay")
    return True if answer is not None and answer.status == _UNAVAILABLE else None


def _times_out(run: DrillRun, order_id: str) -> None:
    def closed() -> dict[str, str] | None:
        (order,) = (one for one in run.sut.orders(run.user) if one["order_id"] == order_id)
        return order if order["status"] == "closed" else None

    order = run.wait(f"order {order_id} to time out", closed, within=_DUE_LATER + 30.0)
    due, at = order["expires_at"], order["closed_at"]
    run.claim(f"order {order_id} was closed at {at}, due at {due}", at >= due)


DRILLS = tuple(
    Drill(
        f"upgrade-to-{version}",
        f"RocketMQ {versions.KNOWN[0]} is stopped, and {version} is started on its data",
        "with messages half, delayed, ready, in flight and dead; services, MariaDB and Redis run on",
        "what is paid meanwhile is told afterwards; each message is settled by the newer RocketMQ, and in time",
        partial(_upgraded, version=version),
        servers=ServerKind.REAL,
        profile=OLDEST_ROCKETMQ,
    )
    for version in versions.KNOWN[1:]
)
