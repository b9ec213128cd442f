"""Every command on every wrong state of a data directory: one line that says what to do, and nothing is changed."""

import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner, Result

from common import migrations, schema_version
from common.db import Database
from common.errors import SchemaMismatch
from common.registry import ALL_NAMES
from halfmessage.errors import DatabaseUnavailable
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import BrokerOptions
from ops import runstate
from ops.cli import main
from ops.deployment import Deployment, Plan, free_port_base
from ops.places import DataDir

COMMANDS = (
    ("token", "alice"),
    ("messages",),
    ("messages", "resend", "1"),
    ("reconcile",),
    ("reconcile", "--repair"),
    ("flash", "list"),
    ("migrate",),
    ("down",),
    ("status",),
)
BREAK = "UPDATE alembic_version SET version_num = 'order9999'"


def _sql(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def _garbage(path: Path) -> None:
    for sibling in path.parent.glob(f"{path.name}-*"):
        sibling.unlink()
    path.write_bytes(b"no database at all, but long enough to be looked at as one. " * 100)


def _foreign(path: Path) -> None:
    path.unlink()
    _sql(path, "CREATE TABLE diary (day TEXT)")


class State(NamedTuple):
    """What is wrong: how it came, and what commands that look at it say."""

    make: Callable[[Path], object]
    told: str
    by: tuple[str, ...]


STATES = {
    "newer order database": State(
        lambda root: _sql(root / "order.db", BREAK), "order9999.*newer", ("reconcile", "migrate")
    ),
    "newer stock database": State(
        lambda root: _sql(root / "stock.db", BREAK.replace("order9", "stock9")), "stock9999", ("reconcile", "migrate")
    ),
    "somebody's revision": State(
        lambda root: _sql(root / "order.db", BREAK.replace("order9999", "ae1027a6acf")),
        "ae1027a6acf",
        ("reconcile", "migrate"),
    ),
    "older stock database": State(
        lambda root: _sql(root / "stock.db", BREAK.replace("order9999", "stock0001")), "orders migrate", ("reconcile",)
    ),
    "foreign order database": State(lambda root: _foreign(root / "order.db"), "'diary'", ("reconcile", "migrate")),
    "damaged order database": State(lambda root: _garbage(root / "order.db"), "", ("reconcile", "migrate")),
    "damaged flash database": State(lambda root: _garbage(root / "flash.db"), "", ("reconcile", "flash", "migrate")),
    "newer broker": State(
        lambda root: _sql(root / "broker.db", "PRAGMA user_version=99"), "version 99", ("messages", "reconcile")
    ),
    "foreign broker": State(lambda root: _foreign(root / "broker.db"), "another program", ("messages", "reconcile")),
    "damaged broker": State(lambda root: _garbage(root / "broker.db"), "damaged", ("messages", "reconcile")),
    "damaged state": State(
        lambda root: (root / "run" / "state.json").write_text("{"),
        "can't be read",
        ("token", "messages", "reconcile", "flash"),
    ),
    "empty secret": State(lambda root: (root / "secret").write_text(""), "secret", ("token",)),
    "secret of other bytes": State(lambda root: (root / "secret").write_bytes(b"\xff" * 64), "secret", ("token",)),
    "a directory for a database": State(
        lambda root: ((root / "order.db").unlink(), (root / "order.db").mkdir()), "", ("reconcile", "migrate")
    ),
    "no run directory": State(
        lambda root: (root / "run").rename(root.with_name("away")), "no deployment", ("messages", "reconcile", "flash")
    ),
}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data directory of a deployment that was started once, and stopped."""
    place = DataDir(tmp_path_factory.mktemp("stopped") / "var")
    place.make()
    Deployment(place.root).migrate()
    open_broker(place.broker_url, BrokerOptions()).close()
    runstate.save(place.state_file, runstate.RunState(None, Plan(free_port_base()).as_settings()))
    return place.root


@pytest.fixture
def root(stopped: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    return Path(shutil.copytree(stopped, tmp_path / "var"))


def invoke(*words: str, root: Path) -> Result:
    return CliRunner().invoke(
        main, [*words, "--data-dir", str(root)] if words[0] != "messages" else _messages(words, root)
    )


def _messages(words: tuple[str, ...], root: Path) -> list[str]:
    return ["messages", "--data-dir", str(root), *words[1:]]


def assert_told(result: Result) -> None:
    """No traceback, and one line of error at most."""
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    if result.exit_code == 1 and "Error: " in result.stderr:
        assert len(result.stderr.splitlines()) == 1, result.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("name", STATES)
def test_a_wrong_state_is_one_line(name: str, command: tuple[str, ...], root: Path) -> None:
    """Who looks at it says what is wrong and fails; who need not look at it works."""
    state = STATES[name]
    state.make(root)
    result = invoke(*command, root=root)
    assert_told(result)
    if command[0] in state.by:
        assert result.exit_code != 0
        if "--repair" not in command:
            assert re.search(state.told, result.stderr), result.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("place", ["missing", "empty", "a file", "below a file", "/proc/nothing/here"])
def test_a_place_that_is_no_data_directory_is_one_line(place: str, command: tuple[str, ...], tmp_path: Path) -> None:
    """Nothing there, nothing in it, a file where it should be, a place where nothing can be made."""
    root = tmp_path / place
    if place == "empty":
        root.mkdir()
    elif "file" in place:
        (tmp_path / "a file").touch()
        root = tmp_path / "a file" / "x" if place == "below a file" else tmp_path / "a file"
    assert_told(invoke(*command, root=root))


@pytest.mark.parametrize(
    ("service", "change"),
    [
        ("order", "UPDATE alembic_version SET version_num = 'order9999'"),
        ("stock", "UPDATE alembic_version SET version_num = 'goods0001'"),
        ("goods", "INSERT INTO alembic_version VALUES ('goods9999')"),
        ("goods", "DELETE FROM alembic_version"),
    ],
)
def test_nothing_is_changed_in_a_database_that_is_not_ours(service: str, change: str, root: Path) -> None:
    """A migration that can't be is not begun."""
    path = root / f"{service}.db"
    _sql(path, change)
    with closing(sqlite3.connect(path)) as connection:
        before = list(connection.iterdump())
    with pytest.raises(SchemaMismatch):
        migrations.upgrade(service, DataDir(root).database_url(service))
    with closing(sqlite3.connect(path)) as connection:
        assert list(connection.iterdump()) == before


def test_a_service_starts_on_its_own_schema_alone(root: Path, tmp_path: Path) -> None:
    """Neither on an older one, nor on one that is empty, nor on a newer one."""
    place, empty = DataDir(root), DataDir(tmp_path / "empty")
    empty.root.mkdir()
    database = Database(place.database_url("stock"))
    schema_version.require("stock", database)
    for version, told in (("stock0001", "needs stock0.*: run orders migrate"), ("stock9999", "newer release")):
        _sql(root / "stock.db", BREAK.replace("order9999", version))
        with pytest.raises(SchemaMismatch, match=told):
            schema_version.require("stock", database)
    database.close()
    fresh = Database(empty.database_url("stock"))
    with pytest.raises(SchemaMismatch, match="no tables yet"):
        schema_version.require("stock", fresh)
    fresh.close()
    with pytest.raises(DatabaseUnavailable):
        schema_version.require("stock", Database(DataDir(tmp_path / "none").database_url("stock")))


@pytest.mark.parametrize("name", ["newer order database", "newer broker", "damaged order database"])
def test_up_refuses_before_anything_is_started(name: str, root: Path) -> None:
    """One line, exit code 1, and no process is left."""
    STATES[name].make(root)
    command = [sys.executable, "-m", "ops", "up", "--data-dir", str(root), "--port-base", str(free_port_base())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert re.search(STATES[name].told, done.stderr)
    assert DataDir(root).lock.holder() is None


@pytest.mark.parametrize("service", ALL_NAMES)
def test_a_service_says_in_one_line_why_it_does_not_start(root: Path, service: str) -> None:
    """In its log, with exit code 1, whichever it is; and it changes nothing: a newer release starts as before."""
    path = root / f"{service}.db"
    migrations.upgrade(service, DataDir(root).database_url(service))  # the one that has none yet
    _sql(path, "UPDATE alembic_version SET version_num = substr(version_num, 1, length(version_num) - 4) || '9999'")
    with closing(sqlite3.connect(path)) as connection:
        before = list(connection.iterdump())
    environment = {
        "ORDERS_PORT": "0",
        "ORDERS_JWT_SECRET": "x" * 32,
        "ORDERS_DATABASE_URL": DataDir(root).database_url(service),
        "ORDERS_BROKER_URL": f"embedded:///{root}/none.db",
        "PATH": "",
    }
    command = [sys.executable, "-m", service]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"The {service} database has schema version {service}9999" in line
    assert f"none later than {schema_version.known(service)[-1]}: a newer release made it" in line
    with closing(sqlite3.connect(path)) as connection:
        assert list(connection.iterdump()) == before
