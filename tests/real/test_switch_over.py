"""A switch-over: the primary becomes read-only, and a forwarder before it leads to another one. Two real servers."""

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pymysql
import pytest
from sqlalchemy import Connection, MetaData, make_url, text
from sqlalchemy.engine import URL

from common.db import Database
from common.heartbeat import Heartbeat, heartbeat_table
from halfmessage.errors import DatabaseUnavailable
from lab.drill.proxy import Proxy
from ops.stack import packages, render
from ops.stack.layout import Layout
from tests.databases import Server
from tests.real.conftest import OpenDatabase
from tests.support import eventually

METADATA = MetaData()
heartbeat_table(METADATA)
_KEPT = 4  # connections


class Primary:
    """A MariaDB server of this test's own, with the same account and database as the one of the stack."""

    def __init__(self, directory: Path, like: URL) -> None:
        self._layout = Layout(directory)
        self._socket = directory / "mariadb.sock"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.url = like.set(port=free.getsockname()[1]).render_as_string(hide_password=False)
        programs = packages.programs()
        self._layout.make_mariadb(programs)
        (directory / "init.sql").write_text(render.init_sql(like.password or "", "127.0.0.1"))
        (directory / "my.cnf").write_text(render.my_cnf(self._places(directory)))
        command = [programs.mariadbd, f"--defaults-file={directory}/my.cnf"]
        with (directory / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stderr=log, stdout=log)
        eventually(self._answers, within=30)
        self.as_root(f"CREATE DATABASE {like.database}")

    def _places(self, directory: Path) -> dict[str, str | int]:
        places: dict[str, str | int] = {
            "datadir": render.quoted(str(directory / "mariadb")),
            "socket": render.quoted(str(self._socket)),
            "tmpdir": render.quoted(str(self._layout.temporary)),
            "init_file": render.quoted(str(directory / "init.sql")),
            "bind_address": "127.0.0.1",
            "port": make_url(self.url).port or 0,
            "innodb_buffer_pool_size": "16M",
        }
        return places | ({"user": "root"} if os.geteuid() == 0 else {})

    def _answers(self) -> bool:
        assert self._process.poll() is None, "it did not start: see its log"
        return self._socket.exists()  # made when it is ready for connections

    def as_root(self, statement: str) -> None:
        """Run one statement."""
        with (
            pymysql.connect(unix_socket=str(self._socket), user="root", autocommit=True) as root,
            root.cursor() as cursor,
        ):
            cursor.execute(statement)

    def close(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait(30)


@pytest.fixture(scope="module")
def new(server: Server) -> str:
    """Return a database of the stack's server: where the forwarder leads in the end."""
    return server.create()


@pytest.fixture(scope="module")
def old(new: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Primary]:
    """Return the primary that is switched away from."""
    primary = Primary(tmp_path_factory.mktemp("primary"), make_url(new))
    yield primary
    primary.close()


@pytest.fixture
def forwarder(old: Primary, new: str, proxy: Callable[[str], Proxy], open_database: OpenDatabase) -> Iterator[Proxy]:
    """Forward to the old one; both have the tables, the new one a row more."""
    for url, rows in ((old.url, 0), (new, 1)):
        database = open_database(url)
        METADATA.drop_all(database.engine)
        METADATA.create_all(database.engine)
        for _ in range(rows):
            database.transact(lambda connection: connection.execute(text("INSERT INTO heartbeat VALUES (7, 0)")))
    yield proxy(old.url)
    old.as_root("SET GLOBAL read_only = 0")


@pytest.fixture
def ours(forwarder: Proxy, open_database: OpenDatabase) -> Database:
    """Open the database through the forwarder, with connections kept to the old server."""
    database = open_database(forwarder.url, pool_size=_KEPT)
    with ExitStack() as stack:
        for _ in range(_KEPT):
            stack.enter_context(database.read()).execute(text("SELECT 1"))
    return database


def test_no_transaction_fails_of_a_switch_over(ours: Database, old: Primary, new: str, forwarder: Proxy) -> None:
    """Kept connections to a server that is read-only now are replaced, and what was tried there is tried again."""
    old.as_root("SET GLOBAL read_only = 1")
    forwarder.lead_to(new)
    for _ in range(_KEPT + 1):
        Heartbeat(ours).beat()
    with ours.read() as connection:
        assert connection.scalar(text("SELECT beats FROM heartbeat WHERE id = 1")) == _KEPT + 1


def test_reads_follow_a_switch_over(ours: Database, old: Primary, new: str, forwarder: Proxy) -> None:
    """Once one write, or the question of a readiness probe, was refused, no kept connection reads the old data."""
    old.as_root("SET GLOBAL read_only = 1")
    forwarder.lead_to(new)
    Heartbeat(ours).ask()
    with ExitStack() as stack:
        connections = [stack.enter_context(ours.read()) for _ in range(_KEPT)]
        assert [c.scalar(text("SELECT COUNT(*) FROM heartbeat")) for c in connections] == [1] * _KEPT


def test_read_only_in_the_middle_of_a_transaction(ours: Database, old: Primary, new: str, forwarder: Proxy) -> None:
    """The server refuses the COMMIT and has rolled back: the transaction is made on the new one, and there alone."""
    tries: list[int] = []

    def work(connection: Connection) -> None:
        tries.append(1)
        connection.execute(text("INSERT INTO heartbeat VALUES (1, 5)"))
        if len(tries) == 1:
            old.as_root("SET GLOBAL read_only = 1")
            forwarder.lead_to(new)

    ours.transact(work)
    assert len(tries) == 2
    with ours.read() as connection:
        assert connection.scalar(text("SELECT beats FROM heartbeat WHERE id = 1")) == 5
    direct = Database(old.url)
    with direct.read() as connection:
        assert connection.scalar(text("SELECT COUNT(*) FROM heartbeat")) == 0
    direct.close()


def test_read_only_for_a_while(ours: Database, old: Primary) -> None:
    """No other server: both probes say so though reads and empty transactions go on; then everything works again."""
    heartbeat = Heartbeat(ours)
    old.as_root("SET GLOBAL read_only = 1")
    ours.ping()
    ours.transact(lambda _: None)
    for probe in (heartbeat.ask, heartbeat.beat):
        with pytest.raises(DatabaseUnavailable):
            probe()
    old.as_root("SET GLOBAL read_only = 0")
    heartbeat.ask()
    heartbeat.beat()


@pytest.mark.parametrize("right", ["INSERT", "UPDATE", "DELETE"])
def test_a_right_that_is_lost_for_a_while(
    ours: Database, old: Primary, right: str, open_database: OpenDatabase
) -> None:
    """A connection has the rights of when it was opened: those of the meantime are replaced once one is refused.

    Whichever right it is, both probes say so: a service does all three to its rows.
    """
    ours_at = f"`test\\_%`.* {{}} {make_url(old.url).username}@'127.0.0.1'"
    old.as_root(f"REVOKE {right} ON {ours_at.format('FROM')}")
    late = open_database(old.url, pool_size=_KEPT)
    with ExitStack() as stack:
        for _ in range(_KEPT):
            stack.enter_context(late.read()).execute(text("SELECT 1"))
    for probe in (Heartbeat(late).ask, Heartbeat(late).beat):
        with pytest.raises(DatabaseUnavailable):
            probe()
    old.as_root(f"GRANT {right} ON {ours_at.format('TO')}")
    for _ in range(_KEPT):
        Heartbeat(late).ask()
        Heartbeat(late).beat()
    Heartbeat(ours).beat()
