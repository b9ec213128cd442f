"""Real servers that answer and take nothing: a read-only database, a broker without write permission, a lost topic."""

from collections.abc import Iterator
from contextlib import contextmanager

import pymysql

from common.registry import ROLLBACK_TOPIC, TIMEOUT_TOPIC
from halfmessage.mq.factory import split_prefix
from halfmessage.mq.prefixed import prefixed
from halfmessage.mq.rocketmq_console import remoting
from halfmessage.mq.rocketmq_console.defaults import CLUSTER
from lab.drill.drill import Drill, ServerKind
from lab.drill.drill_run import DrillRun
from lab.drill.profiles import LONG_OUTAGE
from lab.drill.real import stack_of
from ops.client import probe
from ops.stack import Stack
from ops.stack.settings import TOPICS

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


def _read_only(run: DrillRun) -> None:
    unpaid, cancelled = run.placed(), [run.placed() for _ in range(5)]
    run.take_down("stock")
    for order_id in cancelled:
        run.change(order_id, "cancel")
    with _read_only_database(stack_of(run.sut.deployment)):
        run.fault("MariaDB is read-only (SET GLOBAL read_only = 1)")
        run.supervisor.release("stock")
        run.say("stock is started; five rollbacks wait for it")
        _is_not_ready(run)
        _refuses(run)
        shown = run.sut.orders(run.user)
        run.same("orders shown meanwhile", len(shown), 1 + len(cancelled))
        run.pause(_FOR)
    run.mended("MariaDB takes writes again")
    run.change(_comes_back(run), "cancel")
    run.settle()
    run.stands("closed", "closed", *["closed"] * len(cancelled))
    run.say(f"order {unpaid} fell due meanwhile")


def _write_permission(run: DrillRun) -> None:
    stack = stack_of(run.sut.deployment)
    (broker,) = remoting.masters(stack.namesrv_address())
    run.placed()
    remoting.set_writable(stack.namesrv_address(), broker, writable=False)
    try:
        run.fault("write permission is taken from the broker (mqadmin wipeWritePerm)")
        _is_not_ready(run)
        run.pause(_CLOSED_FOR)
        _refuses(run)
    finally:
        remoting.set_writable(stack.namesrv_address(), broker, writable=True)
    run.mended("write permission is given back (mqadmin addWritePerm)")
    _comes_back(run)
    run.settle()
    run.stands("created", "created")


def _topics_anew(run: DrillRun) -> None:
    stack = stack_of(run.sut.deployment)
    broker, namesrv = stack.broker_address(), stack.namesrv_address()
    paid = run.change(run.placed(), "pay")
    run.same("HTTP status of a payment", paid and paid.status, _OK)
    run.settle()
    prefix = split_prefix(run.sut.deployment.settings("order").broker_url)[1]
    names = {prefixed(prefix, topic): topic for topic in (ROLLBACK_TOPIC, TIMEOUT_TOPIC)}
    for name in names:
        remoting.delete_topic(broker, namesrv, name, CLUSTER)
    run.fault(f"{' and '.join(names)} are deleted")
    _is_not_ready(run)
    _refuses(run)
    for name, topic in names.items():
        remoting.create_topic(broker, name, TOPICS[topic])
    run.mended("they are made anew")
    again = _comes_back(run)
    cancelled = run.change(again, "cancel")
    run.same("HTTP status of its cancellation", cancelled and cancelled.status, _OK)
    run.settle()
    run.stands("closed", "paid")


def _is_not_ready(run: DrillRun) -> None:
    url = run.sut.deployment.plan.urls["order"]
    why = run.wait("order to say that it is not ready", lambda: probe(url), within=_SAID_WITHIN)
    run.say(f"/readyz of order says: {why}")


def _refuses(run: DrillRun) -> None:
    answer = run.place()
    run.same("HTTP status of the answer, nothing created", answer and answer.status, _UNAVAILABLE)


def _comes_back(run: DrillRun) -> str:
    """Wait until an order is accepted and all say that they are ready; return the order's id."""
    order_id = run.accepted()
    run.say(f"an order was accepted {run.since_last_fault:.1f} s later")
    run.supervisor.wait_ready(within=run.limit)
    return order_id


DRILLS = (
    Drill(
        "database-read-only",
        "MariaDB is read-only (`read_only = 1`), and takes writes again",
        "for half a minute, with five rollbacks for stock",
        "503 and /readyz is red; no delivery is burnt: afterwards orders and rollbacks go on at once",
        _read_only,
        servers=ServerKind.REAL,
        profile=LONG_OUTAGE,
    ),
    Drill(
        "broker-without-write-permission",
        "write permission is taken from the broker, and given back",
        "while orders are placed",
        "503 and /readyz is red; afterwards the route is asked for anew and orders are accepted",
        _write_permission,
        servers=ServerKind.REAL,
    ),
    Drill(
        "topics-made-anew",
        "the topics of rollbacks and timeouts are deleted, and made anew",
        "with nothing on its way",
        "503 and /readyz is red; afterwards orders are accepted and rollbacks arrive",
        _topics_anew,
        servers=ServerKind.REAL,
    ),
)
