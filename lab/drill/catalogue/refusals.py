"""Real servers that answer and take nothing: a read-only database, a broker without write permission, a lost topic."""

from collections.abc import Iterator
from contextlib import contextmanager

import pymysql

from common.events import ROLLBACK_TOPIC, TIMEOUT_TOPIC
from common.mq.factory import split_prefix
from common.mq.prefixed import prefixed
from lab.drill.drill import Drill, Ground
from lab.drill.profiles import LONG_OUTAGE
from lab.drill.real import stack_of
from lab.drill.scene import Scene
from ops.client import probe
from ops.stack import Stack, remoting
from ops.stack.settings import CLUSTER, TOPICS

_FOR = 30.0  # seconds; deliveries that are burnt meanwhile have the next retry come half a minute later
_CLOSED_FOR = 35.0  # seconds: RocketMQ's client asks for routes every 30; the broker takes what it sends until then
_SAID_WITHIN = 5.0  # seconds: an answer of /readyz may be a second old, a route in the proxy some more
_OK, _UNAVAILABLE = 200, 503


@contextmanager
def _read_only_database(stack: Stack) -> Iterator[None]:
    """Have MariaDB refuse what writes, and take it again in the end."""
    socket = str(stack.layout.socket)
    with pymysql.connect(unix_socket=socket, user="root", autocommit=True) as root, root.cursor() as cursor:
        cursor.execute("SET GLOBAL read_only = 1")
        try:
            yield
        finally:
            cursor.execute("SET GLOBAL read_only = 0")


def _read_only(scene: Scene) -> None:
    unpaid, cancelled = scene.placed(), [scene.placed() for _ in range(5)]
    scene.take_down("stock")
    for order_id in cancelled:
        scene.change(order_id, "cancel")
    with _read_only_database(stack_of(scene.site.deployment)):
        scene.fault("MariaDB is read-only (SET GLOBAL read_only = 1)")
        scene.supervisor.release("stock")
        scene.say("stock is started; five rollbacks wait for it")
        _is_not_ready(scene)
        _refuses(scene)
        shown = scene.site.orders(scene.user)
        scene.same("orders shown meanwhile", len(shown), 1 + len(cancelled))
        scene.pause(_FOR)
    scene.mended("MariaDB takes writes again")
    scene.change(_comes_back(scene), "cancel")
    scene.settle()
    scene.stands("closed", "closed", *["closed"] * len(cancelled))
    scene.say(f"order {unpaid} fell due meanwhile")


def _write_permission(scene: Scene) -> None:
    stack = stack_of(scene.site.deployment)
    (broker,) = remoting.masters(stack.namesrv_address())
    scene.placed()
    remoting.set_writable(stack.namesrv_address(), broker, writable=False)
    try:
        scene.fault("write permission is taken from the broker (mqadmin wipeWritePerm)")
        _is_not_ready(scene)
        scene.pause(_CLOSED_FOR)
        _refuses(scene)
    finally:
        remoting.set_writable(stack.namesrv_address(), broker, writable=True)
    scene.mended("write permission is given back (mqadmin addWritePerm)")
    _comes_back(scene)
    scene.settle()
    scene.stands("created", "created")


def _topics_anew(scene: Scene) -> None:
    stack = stack_of(scene.site.deployment)
    broker, namesrv = stack.broker_address(), stack.namesrv_address()
    paid = scene.change(scene.placed(), "pay")
    scene.same("HTTP status of a payment", paid and paid.status, _OK)
    scene.settle()
    prefix = split_prefix(scene.site.deployment.settings("order").broker_url)[1]
    names = {prefixed(prefix, topic): topic for topic in (ROLLBACK_TOPIC, TIMEOUT_TOPIC)}
    for name in names:
        remoting.delete_topic(broker, namesrv, name, CLUSTER)
    scene.fault(f"{' and '.join(names)} are deleted")
    _is_not_ready(scene)
    _refuses(scene)
    for name, topic in names.items():
        remoting.create_topic(broker, name, TOPICS[topic])
    scene.mended("they are made anew")
    again = _comes_back(scene)
    cancelled = scene.change(again, "cancel")
    scene.same("HTTP status of its cancellation", cancelled and cancelled.status, _OK)
    scene.settle()
    scene.stands("closed", "paid")


def _is_not_ready(scene: Scene) -> None:
    url = scene.site.deployment.plan.urls["order"]
    why = scene.wait("order to say that it is not ready", lambda: probe(url), within=_SAID_WITHIN)
    scene.say(f"/readyz of order says: {why}")


def _refuses(scene: Scene) -> None:
    answer = scene.place()
    scene.same("HTTP status of the answer, nothing created", answer and answer.status, _UNAVAILABLE)


def _comes_back(scene: Scene) -> str:
    """Wait until an order is accepted and all say that they are ready; return the order's id."""
    order_id = scene.accepted()
    scene.say(f"an order was accepted {scene.since_last_fault:.1f} s later")
    scene.supervisor.wait_ready(within=scene.limit)
    return order_id


DRILLS = (
    Drill(
        "database-read-only",
        "MariaDB is read-only (`read_only = 1`), and takes writes again",
        "for half a minute, with five rollbacks for stock",
        "503 and /readyz is red; no delivery is burnt: afterwards orders and rollbacks go on at once",
        _read_only,
        ground=Ground.REAL,
        profile=LONG_OUTAGE,
    ),
    Drill(
        "broker-without-write-permission",
        "write permission is taken from the broker, and given back",
        "while orders are placed",
        "503 and /readyz is red; afterwards the route is asked for anew and orders are accepted",
        _write_permission,
        ground=Ground.REAL,
    ),
    Drill(
        "topics-made-anew",
        "the topics of rollbacks and timeouts are deleted, and made anew",
        "with nothing on its way",
        "503 and /readyz is red; afterwards orders are accepted and rollbacks arrive",
        _topics_anew,
        ground=Ground.REAL,
    ),
)
