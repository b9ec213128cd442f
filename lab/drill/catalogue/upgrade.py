"""RocketMQ is upgraded under a deployment that runs on: the newer version settles what the older one stored."""

from functools import partial

from lab.drill.drill import Drill, Ground
from lab.drill.letters import dead_rollback, settle_by_hand
from lab.drill.profiles import OLDEST_ROCKETMQ
from lab.drill.real import stack_of
from lab.drill.scene import Scene
from ops import versions

_OK = 200
_DUE_MEANWHILE, _DUE_LATER = 5.0, 60.0  # seconds until an order times out; RocketMQ is away for 15 to 40
_REVIVED_WITHIN = 10.0  # seconds more: a broker that has just started is slow to bring what was in flight again
_LONG = "delay:120"  # longer than the process lives that is held up


def _upgraded(scene: Scene, version: str) -> None:
    dead, paid, closing, given_back, behind = (scene.placed() for _ in range(5))
    _leave_dead(scene, dead)
    _leave_in_flight(scene, given_back, behind)
    scene.arm("order", "", pay_timeout=_DUE_LATER)
    later = scene.placed()
    scene.say(f"order {later} is to time out in {_DUE_LATER:g} s: its timeout is delayed")
    _leave_half(scene, closing)
    stack = stack_of(scene.site.deployment)
    for server in ("broker", "namesrv"):
        stack.stop(server)
    scene.fault(f"RocketMQ {stack.plan.rocketmq} is stopped; MariaDB, Redis and the services run on")
    scene.kill("stock")
    scene.supervisor.release("order")
    scene.wait("a payment, which needs no message", lambda: _is_paid(scene, paid), within=60.0)
    stack.up(rocketmq=version)
    scene.mended(f"RocketMQ {stack.plan.rocketmq} is started on what the older one stored")
    scene.settle(limit=scene.limit + _REVIVED_WITHIN, but=[dead])
    letter = scene.wait("the dead letter", lambda: dead_rollback(scene, dead))
    settle_by_hand(scene, "resend", letter.message_id)
    scene.settle()
    _times_out(scene, later)
    scene.change(scene.accepted(), "cancel")
    scene.settle(limit=scene.limit + _DUE_LATER)  # since the dead letter was sent on
    scene.stands("paid", *["closed"] * 7)


def _leave_dead(scene: Scene, order_id: str) -> None:
    scene.arm("stock", "stock.rollback_received=raise")
    scene.change(order_id, "cancel")
    scene.wait("its rollback to be a dead letter", lambda: dead_rollback(scene, order_id), within=60.0)
    scene.say("stock has failed at a rollback too often: dead")


def _leave_in_flight(scene: Scene, order_id: str, behind: str) -> None:
    scene.arm("stock", f"stock.rollback_received={_LONG}")
    scene.change(order_id, "cancel")
    scene.reached("stock", "stock.rollback_received")
    scene.change(behind, "cancel")
    scene.say("a rollback is at stock: in flight; another one waits behind it: ready")


def _leave_half(scene: Scene, closing: str) -> None:
    """Have order killed, and stay down, over a half message of either kind and with a timeout that is soon due."""
    scene.supervisor.hold("order")
    pid = scene.arm("order", f"close.committed={_LONG};order.deducted=kill@2", pay_timeout=_DUE_MEANWHILE)
    scene.say(f"order {scene.placed()} is to time out in {_DUE_MEANWHILE:g} s, while RocketMQ is away")
    with scene.meanwhile(partial(scene.change, closing, "cancel")) as cancelled:
        scene.reached("order", "close.committed")
        scene.place()
        scene.died("order", pid, "order.deducted and close.committed, and stays down")
        cancelled()
    scene.wait("two half messages, and no more", lambda: scene.console.stats().half == 2 or None)  # noqa: PLR2004
    scene.say("neither half message is resolved: half")


def _is_paid(scene: Scene, order_id: str) -> bool | None:
    answer = scene.site.call(scene.user, f"/orders/{order_id}/pay")
    return True if answer is not None and answer.status == _OK else None


def _times_out(scene: Scene, order_id: str) -> None:
    def closed() -> dict[str, str] | None:
        (order,) = (one for one in scene.site.orders(scene.user) if one["order_id"] == order_id)
        return order if order["status"] == "closed" else None

    order = scene.wait(f"order {order_id} to time out", closed, within=_DUE_LATER + 30.0)
    due, at = order["expires_at"], order["closed_at"]
    scene.claim(f"order {order_id} was closed at {at}, due at {due}", at >= due)


DRILLS = tuple(
    Drill(
        f"upgrade-to-{version}",
        f"RocketMQ {versions.KNOWN[0]} is stopped, and {version} is started on its data",
        "with messages half, delayed, ready, in flight and dead; services, MariaDB and Redis run on",
        "payments go on meanwhile; each message is settled by the newer RocketMQ, and in time",
        partial(_upgraded, version=version),
        ground=Ground.REAL,
        profile=OLDEST_ROCKETMQ,
    )
    for version in versions.KNOWN[1:]
)
