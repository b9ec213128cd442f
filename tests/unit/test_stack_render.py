"""The configuration files of the real stack, and the plan of ports behind them."""

import json
import re
from pathlib import Path

import pytest

from ops.errors import CommandFailed
from ops.stack import jars, plan, render, settings
from ops.stack.layout import Layout
from ops.stack.packages import Programs
from ops.stack.plan import Ports, StackPlan

PLAN = StackPlan(Ports.from_base(20000), password="secret-word")


def properties(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "stack")
    layout.make()
    layout.render(PLAN)
    return layout


def test_the_broker_flushes_before_it_answers_and_listens_here_only(layout: Layout) -> None:
    """broker.conf has SYNC_FLUSH, the timer wheel, our address and the ports of the plan."""
    conf = properties(layout.etc("broker.conf").read_text())
    wanted = {
        "flushDiskType": "SYNC_FLUSH",
        "timerWheelEnable": "true",
        "timerFlushIntervalMs": "30000",
        "bindAddress": "127.0.0.1",
        "brokerIP1": "127.0.0.1",
        "listenPort": "20005",
        "haListenPort": "20004",
        "namesrvAddr": "127.0.0.1:20000",
        "storePathRootDir": str(layout.root / "rocketmq" / "store"),
    }
    assert wanted.items() <= conf.items()


def test_the_proxy_gets_its_two_ports(layout: Layout) -> None:
    """rmq-proxy.json names the gRPC and the remoting port, and the broker's cluster."""
    conf = json.loads(layout.etc("rmq-proxy.json").read_text())
    assert (conf["grpcServerPort"], conf["remotingListenPort"]) == (20001, 20002)
    assert conf["rocketMQClusterName"] == settings.BROKER["brokerClusterName"]


def test_mariadb_commits_durably_in_utf8mb4_on_loopback(layout: Layout) -> None:
    """my.cnf has a flush at each commit, the collation, our address, and a socket of its own."""
    conf = dict(line.split(" = ", 1) for line in layout.etc("my.cnf").read_text().splitlines()[1:])
    wanted = {
        "innodb_flush_log_at_trx_commit": "1",
        "collation_server": "utf8mb4_bin",
        "bind_address": "127.0.0.1",
        "port": "20006",
        "socket": f'"{layout.socket}"',
    }
    assert wanted.items() <= conf.items()


def test_redis_appends_on_loopback(layout: Layout) -> None:
    """redis.conf has appendonly, our address and port, and a directory of its own."""
    lines = layout.etc("redis.conf").read_text().splitlines()
    assert {"appendonly yes", "bind 127.0.0.1", "port 20007", f'dir "{layout.root}/redis"'} <= set(lines)


def test_each_service_gets_a_database_of_the_same_user(layout: Layout) -> None:
    """init.sql makes a database for each service and one user, and is readable by its owner only."""
    sql = layout.etc("init.sql")
    assert re.findall(r"CREATE DATABASE IF NOT EXISTS `(\w+)`", sql.read_text()) == list(settings.DATABASES)
    assert "'orders'@'127.0.0.1' IDENTIFIED BY 'secret-word'" in sql.read_text()
    assert sql.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("defaults", "interval", "count"), [(True, "30000", "15"), (False, "500", "60")])
def test_check_back_times_are_rocketmqs_own_or_short(defaults: bool, interval: str, count: str) -> None:
    """`--defaults` has 6 s, 30 s, 15 times; without it development does not wait."""
    timing = StackPlan(PLAN.ports, defaults=defaults).timing
    place = render.BrokerPlace("n:1", "a", "b", "/s", 5, 4, 1, 2)
    conf = properties(render.broker_conf(place, timing))
    assert (conf["transactionCheckInterval"], conf["transactionCheckMax"]) == (interval, count)


def test_strange_paths_survive() -> None:
    """Spaces, quotes and letters beyond ASCII come through each format."""
    assert render.properties({"storePathRootDir": "/tmp/my däta"}) == "storePathRootDir=/tmp/my d\\u00e4ta\n"
    assert render.quoted('/tmp/a "b"\\c') == '"/tmp/a \\"b\\"\\\\c"'


def test_temporary_tables_are_where_no_other_server_deletes_them(tmp_path: Path) -> None:
    """A MariaDB that starts deletes what it finds: each has a directory of its own, from its first start on."""
    layout = Layout(tmp_path / "my stack")
    layout.make()
    layout.render(PLAN)
    install = tmp_path / "install"
    install.write_text('#!/bin/sh\nmkdir mariadb.new && echo "$TMPDIR" >mariadb.new/told\n')
    install.chmod(0o755)
    layout.make_mariadb(Programs("java", "mariadbd", str(install), "redis"))
    told = (layout.root / "mariadb" / "told").read_text().strip()
    assert told == str(layout.temporary)
    assert layout.temporary.is_dir()
    assert f'tmpdir = "{told}"' in layout.etc("my.cnf").read_text().splitlines()


def test_the_socket_goes_elsewhere_where_the_path_is_too_long(tmp_path: Path) -> None:
    """A deep data directory gets a short socket path of its own, always the same."""
    deep, other = Layout(tmp_path / ("x" * 120)), Layout(tmp_path / ("y" * 120))
    assert len(str(deep.socket)) < 100
    assert deep.socket == Layout(deep.root).socket != other.socket


def test_the_jars_are_kept_where_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG_CACHE_HOME counts if it is absolute."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert jars.cache_dir() == tmp_path / "orders-on-rocketmq"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert jars.cache_dir() == Path.home() / ".cache" / "orders-on-rocketmq"


def test_eight_ports_in_a_row_do_not_overlap() -> None:
    """A base gives every server ports of its own, the broker's hidden one included."""
    assert sorted(Ports.from_base(20000).all()) == list(range(20000, 20008))


def test_a_port_given_twice_is_refused() -> None:
    """Two servers on one port are told before anything starts."""
    with pytest.raises(CommandFailed, match="Port 20007 is given to two"):
        PLAN.changed({"mariadb": 20007}, defaults=None)


def test_a_plan_is_kept_with_its_password_for_its_owner_only(tmp_path: Path) -> None:
    """What was saved is loaded again; no other user may read it."""
    path = tmp_path / "stack.json"
    plan.save(path, PLAN)
    assert plan.load(path) == PLAN
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_broken_plan_is_told(tmp_path: Path) -> None:
    """A plan that can't be read names its file."""
    path = tmp_path / "stack.json"
    path.write_text('{"ports": 1}')
    with pytest.raises(CommandFailed, match=re.escape(str(path))):
        plan.load(path)


def test_every_topic_of_ours_has_a_kind() -> None:
    """Rollbacks are transactional, timeouts delayed, and the probe's messages normal."""
    kinds = {name: settings.TOPICS[name] for name in ("order_rollback", "order_timeout", "stack_probe")}
    assert list(kinds.values()) == ["TRANSACTION", "DELAY", "NORMAL"]


def test_java_reads_every_character_of_a_path() -> None:
    """Those beyond U+FFFF are two units in its files, a backslash is two."""
    assert render.properties({"path": "/a b#é😀\\"}) == "path=/a b#\\u00e9\\ud83d\\ude00\\\\\n"
