"""The real servers, in a directory and on ports of their own. Runs where ORDERS_REAL is set."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest
import redis
from sqlalchemy import make_url

from halfmessage.mq.rocketmq_console import remoting
from halfmessage.mq.rocketmq_console.defaults import Kind
from ops.errors import CommandFailed, NoDeployment
from ops.stack import Stack
from ops.stack.plan import is_free
from ops.stack.probes import PROBES
from ops.stack.settings import SERVERS, TOPICS
from tests.support import eventually

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not os.environ.get("ORDERS_REAL"), reason="set ORDERS_REAL to run the real servers"),
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("real") / "a stack")
    try:
        stack.up(port_base=0)
        yield stack
    finally:
        stack.down()


def server_pids(stack: Stack) -> dict[str, int | None]:
    return {server.name: server.pid for server in stack.status().servers}


def test_every_server_is_ready_and_a_second_up_changes_nothing(stack: Stack) -> None:
    """`up` twice leaves the same processes."""
    before = server_pids(stack)
    stack.up()
    status = stack.status()
    assert status.ready
    assert {server.name: server.pid for server in status.servers} == before


def test_a_copy_of_a_running_stack_is_another_one(stack: Stack, tmp_path: Path) -> None:
    """It does not take the servers for its own, is told that its ports are the original's, and stops nothing."""
    before = server_pids(stack)
    subprocess.run(["cp", "-a", str(stack.layout.root), str(tmp_path / "copy")], check=True)
    copy = Stack(tmp_path / "copy")
    assert not copy.runs()
    with pytest.raises(CommandFailed, match=r"copy of.*--port-base 0"):
        copy.up()
    copy.down()
    assert stack.status().ready
    assert server_pids(stack) == before


def test_topics_have_their_kinds_from_the_start(stack: Stack) -> None:
    """Each topic is known to the name server, and can be made again."""
    for topic, kind in TOPICS.items():
        assert remoting.route(stack.namesrv_address(), topic)["queueDatas"]
        remoting.create_topic(stack.broker_address(), topic, kind)


def test_mariadb_is_as_durable_and_exact_as_asked(stack: Stack) -> None:
    """Our user sees a flush at each commit, a binary collation and UTC, in a database of its own."""
    url = make_url(stack.urls()["STOCK_DATABASE_URL"])
    connection = pymysql.connect(
        host=url.host, port=url.port or 0, user=url.username, password=str(url.password), database=url.database
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT @@innodb_flush_log_at_trx_commit, @@collation_database, @@time_zone, @@bind_address, @@log_bin"
        )
        assert cursor.fetchone() == (1, "utf8mb4_bin", "+00:00", "127.0.0.1", 0)


@pytest.mark.parametrize("name", SERVERS)
def test_a_killed_server_counts_as_dead_and_starts_again(stack: Stack, name: str) -> None:
    """After kill -9 the status says dead, the others run on, and a start brings it back with its data."""
    before = server_pids(stack)
    assert stack.kill(name) == before[name]
    states = {server.name: server.state for server in stack.status().servers}
    assert states[name] == "dead"
    stack.start(name)
    after = server_pids(stack)
    assert after[name] != before[name]
    assert {key: pid for key, pid in after.items() if key != name} == {k: p for k, p in before.items() if k != name}
    eventually(lambda: stack.status().ready, within=30)


def test_redis_keeps_what_it_was_told_over_a_restart(stack: Stack) -> None:
    """Its file is appended to, and read at the start."""
    with redis.Redis.from_url(stack.urls()["ORDERS_REDIS_URL"]) as client:
        client.set("kept", "1")
    stack.restart("redis")
    with redis.Redis.from_url(stack.urls()["ORDERS_REDIS_URL"]) as client:
        assert client.get("kept") == b"1"


def test_a_new_topic_takes_a_message_and_the_admin_tool_shows_it(stack: Stack) -> None:
    """What was stored is printed, and found by its id; a topic that isn't there has nothing."""
    admin, broker = stack.admin(), stack.broker_address()
    remoting.create_topic(broker, "test_admin", Kind.NORMAL)
    remoting.send(broker, "test_admin", b"\xff body")
    eventually(lambda: admin.messages("test_admin"), within=30)
    (message,) = admin.messages("test_admin")
    assert message.body == b"\xff body"
    found = admin.message("test_admin", message.message_id)
    assert found is not None
    assert found.body == message.body
    assert admin.message_ids("test_admin", "no-such-key") == admin.parked() == admin.dead_letters("nobody") == []


def test_two_stacks_do_not_know_each_other(stack: Stack, tmp_path: Path) -> None:
    """Another one comes and goes; this one runs on, its data untouched."""
    before = server_pids(stack)
    other = Stack(tmp_path / "other")
    other.up(port_base=0)
    ports = other.plan.ports.all()
    assert not set(ports) & set(stack.plan.ports.all())
    assert other.urls()["STOCK_DATABASE_URL"] != stack.urls()["STOCK_DATABASE_URL"]
    other.reset()
    assert not other.layout.root.exists()
    with pytest.raises(NoDeployment):
        other.status()
    assert all(map(is_free, ports))
    assert server_pids(stack) == before
    assert all(probe(stack.plan) is None for probe in PROBES.values())


def test_down_leaves_nothing_and_up_finds_the_data_again(stack: Stack) -> None:
    """After `down` no process of ours is left; `up` starts all of them on the same ports."""
    pids = [pid for pid in server_pids(stack).values() if pid]
    stack.down()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, signal.SIG_DFL)
    assert {server.state for server in stack.status().servers} == {"stopped"}
    ports = stack.plan.ports
    stack.up()
    assert stack.status().ready
    assert stack.plan.ports == ports
