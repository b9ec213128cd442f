"""Whether a server does its work: each probe has it do some, and returns None or why not."""

import socket
from collections.abc import Callable

import pymysql
import redis

from halfmessage.errors import BrokerError
from halfmessage.mq.rocketmq_console import remoting
from halfmessage.mq.rocketmq_console.remoting import Address, Refused
from ops.stack import etcd
from ops.stack.plan import HOST, StackPlan
from ops.stack.settings import DATABASE_USER, DATABASES

_WITHIN = 2.0  # seconds for one probe
_PROBE_TOPIC = "stack_probe"
# RFC 9113: the client's preface, then an empty SETTINGS frame; the server's first frame is SETTINGS (type 4) as well
_HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_HTTP2_HEAD = 9  # bytes of a frame before its payload
_HTTP2_SETTINGS = 4


def namesrv(plan: StackPlan) -> str | None:
    """Ask it for a route it can't know before a broker told it: an answer of any kind is one of its own."""
    try:
        remoting.route(Address(HOST, plan.ports.namesrv), "TBW102")
    except Refused:
        return None
    except BrokerError as error:
        return error.detail
    return None


def broker(plan: StackPlan) -> str | None:
    """Have the name server and the proxy tell a route, the broker store a message, and the proxy's gRPC answer."""
    try:
        remoting.route(Address(HOST, plan.ports.namesrv), _PROBE_TOPIC)
        remoting.route(Address(HOST, plan.ports.remoting), _PROBE_TOPIC)
        remoting.send(Address(HOST, plan.ports.broker), _PROBE_TOPIC, b"probe")
    except BrokerError as error:
        return error.detail
    return http2(plan.ports.proxy)


def http2(port: int) -> str | None:
    """Say hello in HTTP/2, which gRPC is."""
    try:
        with socket.create_connection((HOST, port), timeout=_WITHIN) as connection:
            connection.sendall(_HTTP2_HELLO)
            head = connection.recv(_HTTP2_HEAD, socket.MSG_WAITALL)
    except OSError as error:
        return f"{HOST}:{port} does not answer: {error}."
    is_settings = len(head) == _HTTP2_HEAD and head[3] == _HTTP2_SETTINGS
    return None if is_settings else f"{HOST}:{port} is no gRPC."


def mariadb(plan: StackPlan) -> str | None:
    """SELECT 1 in every database, as our user."""
    try:
        for name in DATABASES:
            connection = pymysql.connect(
                host=HOST, port=plan.ports.mariadb, user=DATABASE_USER, password=plan.password, database=name,
                connect_timeout=_WITHIN, read_timeout=_WITHIN,
            )  # fmt: skip
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT 1")
    except (pymysql.Error, OSError) as error:
        return str(error.args[-1])
    return None


def cache(plan: StackPlan) -> str | None:
    """PING."""
    client = redis.Redis(host=HOST, port=plan.ports.redis, socket_timeout=_WITHIN, socket_connect_timeout=_WITHIN)
    try:
        client.ping()
    except redis.RedisError as error:
        return str(error)
    finally:
        client.close()
    return None


PROBES: dict[str, Callable[[StackPlan], str | None]] = {
    "namesrv": namesrv,
    "broker": broker,
    "mariadb": mariadb,
    "redis": cache,
    "etcd": lambda plan: etcd.why_not(HOST, plan.etcd),
}
