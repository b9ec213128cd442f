"""MySQL or MariaDB: the schema that migrations lead to, lost connections, locks, and a server that goes away."""

import select
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib import import_module
from importlib.resources import files
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import IntegrityError

from common import migrations, registry, schema_version
from common.db import Database
from common.errors import SchemaMismatch
from halfmessage.errors import BelowZero, CommitOutcomeUnknown, DatabaseUnavailable, DuplicateRow
from lab.drill.proxy import Proxy
from tests.databases import Server
from tests.real.conftest import Migrated, OpenDatabase
from tests.real.deadlocks import meet
from tests.support import eventually

Work = Callable[[Connection], Any]
Stand = Callable[[str], Proxy]
_INCREMENT = "UPDATE things SET n = n + 1 WHERE id = :id"
services = pytest.mark.parametrize("service", registry.ALL_NAMES)


@pytest.fixture(scope="module")
def things(server: Server) -> str:
    """Make a database with one table."""
    url = server.create()
    database = Database(url)
    database.transact(_run("CREATE TABLE things (id BIGINT PRIMARY KEY, n BIGINT NOT NULL CHECK (n >= 0))"))
    database.close()
    return url


@pytest.fixture
def database(things: str, open_database: OpenDatabase) -> Database:
    """Open it, empty."""
    database = open_database(things)
    database.transact(_run("DELETE FROM things"))
    return database


def _run(statement: str, **values: int) -> Work:
    return lambda connection: connection.execute(text(statement), values)


def _insert(thing: int, n: int = 0) -> Work:
    return _run("INSERT INTO things VALUES (:thing, :n)", thing=thing, n=n)


def _ids(database: Database) -> list[int]:
    with database.read() as connection:
        return list(connection.scalars(text("SELECT id FROM things ORDER BY id")))


def _is_commit(packet: bytes) -> bool:
    return packet.endswith(b"\x03COMMIT")


@services
def test_migrations_lead_to_the_schema_written_down(service: str, migrated: Migrated) -> None:
    """What a reader sees in schema.mysql.sql is what a user gets, whatever the database's own collation."""
    found = migrations.schema_sql(migrated(service))
    assert found == files("sql").joinpath(service, "schema.mysql.sql").read_text()


@services
def test_the_schema_written_down_can_be_run(service: str, server: Server, open_database: OpenDatabase) -> None:
    """Run as it is, but for the order of tables, it makes the same schema."""
    url = server.create()
    written = files("sql").joinpath(service, "schema.mysql.sql").read_text()

    def run_all(connection: Connection) -> None:
        connection.exec_driver_sql("SET foreign_key_checks = 0")  # tables are in alphabetical order
        for statement in filter(str.strip, written.split(";\n")):
            connection.exec_driver_sql(statement)

    open_database(url).transact(run_all)
    assert migrations.schema_sql(url) == written


@services
def test_the_code_s_tables_agree_with_the_migrations(
    service: str, migrated: Migrated, open_database: OpenDatabase
) -> None:
    """Alembic finds nothing to generate."""
    metadata = import_module(f"{service}.model").metadata
    with open_database(migrated(service)).read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_instances_may_migrate_at_once(server: Server, open_database: OpenDatabase) -> None:
    """DDL commits by itself there: one instance does it, the others wait and find it done."""
    url = server.create()
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(migrations.upgrade, "goods", url) for _ in range(4)]:
            done.result()
    with open_database(url).read() as connection:
        assert schema_version.current(connection) == schema_version.known("goods")[-1]


@pytest.fixture
def earlier(migrated: Migrated, open_database: OpenDatabase) -> Database:
    """Return flash's database as it was before the last migration, which adds a column to `sales`."""
    database = open_database(migrated("flash"))
    database.transact(_run("ALTER TABLE sales DROP COLUMN queue_rate"))
    database.transact(_run("UPDATE alembic_version SET version_num = 'flash0002'"))
    return database


def test_a_migration_holds_up_no_others_behind_a_table_in_use(
    earlier: Database, open_database: OpenDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An open transaction has read the table: requests go on, and the migration ends once that transaction has."""
    monkeypatch.setattr(migrations, "_TABLE_WAIT", 1)
    waiting = text("SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE '%metadata lock%'")
    read = text("SELECT COUNT(*) FROM sales")
    url = earlier.engine.url.render_as_string(hide_password=False)
    request = open_database(url, statement_timeout=3.0)
    with earlier.engine.connect() as holder, ThreadPoolExecutor(1) as pool:
        holder.execute(read)
        done = pool.submit(migrations.upgrade, "flash", url)
        with earlier.engine.connect() as watcher:
            for _ in range(2):  # it waits, and tries again
                eventually(lambda: watcher.scalar(waiting) == 1)
                with request.read() as connection:
                    connection.execute(read)
                eventually(lambda: watcher.scalar(waiting) == 0)
        assert not done.done()
        holder.rollback()
        done.result()
    with request.read() as connection:
        assert schema_version.current(connection) == schema_version.known("flash")[-1]


def test_a_migration_gives_up_a_table_in_use_and_can_be_run_again(
    earlier: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has changed nothing then, and says what it met."""
    monkeypatch.setattr(migrations, "_TABLE_WAIT", 1)
    monkeypatch.setattr(migrations, "_TABLE_TRIES", 1)
    url = earlier.engine.url.render_as_string(hide_password=False)
    with earlier.engine.connect() as holder:
        holder.execute(text("SELECT COUNT(*) FROM sales"))
        with pytest.raises(DatabaseUnavailable, match="Lock wait timeout"):
            migrations.upgrade("flash", url)
    migrations.upgrade("flash", url)


def test_a_migration_that_was_cut_off_is_named(earlier: Database) -> None:
    """Changes of tables can't be taken back there: the file of the migration is named, and what to do."""
    earlier.transact(_run("ALTER TABLE sales ADD COLUMN queue_rate INTEGER"))
    with pytest.raises(SchemaMismatch, match=r"flash0003 of the flash database .*Duplicate column.*sql/flash/versions"):
        migrations.upgrade("flash", earlier.engine.url.render_as_string(hide_password=False))


def test_session_settings(database: Database) -> None:
    """READ COMMITTED, a short wait for locks, strict types; and rows found, not rows changed, are counted."""
    with database.read() as connection:
        wait, mode = connection.execute(text("SELECT @@innodb_lock_wait_timeout, @@sql_mode")).one()
        assert connection.get_isolation_level() == "READ COMMITTED"
    assert wait <= 5
    assert "STRICT_ALL_TABLES" in mode
    database.transact(_insert(1))
    assert database.transact(_run("UPDATE things SET n = 0 WHERE id = 1")).rowcount == 1


def test_errors_of_rows(database: Database) -> None:
    """A key that exists and a failed CHECK are told apart, and leave nothing behind."""
    database.transact(_insert(1))
    with pytest.raises(DuplicateRow):
        database.transact(_insert(1))
    with pytest.raises(BelowZero):
        database.transact(_insert(2, -1))
    assert _ids(database) == [1]


@pytest.mark.parametrize("nested", [False, True])
def test_deadlock_is_repeated(database: Database, nested: bool) -> None:
    """Two transactions that lock two rows in opposite orders both get through, in a savepoint too."""
    for thing in (1, 2):
        database.transact(_insert(thing))
    tries = meet(database.transact, lambda thing: _run(_INCREMENT, id=thing), nested=nested)
    with database.read() as connection:
        assert connection.scalars(text("SELECT n FROM things")).all() == [2, 2]
    assert tries == 3


def test_lock_wait_is_repeated(database: Database) -> None:
    """A row that stays locked for longer than a statement waits is waited for again."""
    database.transact(_insert(1))
    starts: list[float] = []
    with database.engine.connect() as holder, ThreadPoolExecutor(1) as pool:
        holder.execute(text("UPDATE things SET n = 5 WHERE id = 1"))

        def work(connection: Connection) -> None:
            starts.append(time.monotonic())
            _run(_INCREMENT, id=1)(connection)

        done = pool.submit(database.transact, work)
        eventually(lambda: len(starts) == 2)
        holder.commit()
        done.result()
    with database.read() as connection:
        assert connection.scalar(text("SELECT n FROM things")) == 6


def test_connection_killed_before_commit(database: Database) -> None:
    """A session that dies after its last statement has committed nothing: the work runs again."""
    killed: list[int] = []

    def work(connection: Connection) -> None:
        _insert(1)(connection)
        if not killed:
            killed.append(connection.scalar(text("SELECT CONNECTION_ID()")))
            with database.engine.connect() as other:
                other.execute(text(f"KILL {killed[0]}"))
            mysql_socket = connection.connection.dbapi_connection._sock  # type: ignore[union-attr]
            eventually(lambda: _readable(mysql_socket))

    database.transact(work)
    assert _ids(database) == [1]


def _readable(socket: Any) -> bool:
    return bool(select.select([socket], [], [], 0)[0])


def test_cut_between_statements(things: str, database: Database, open_database: OpenDatabase, proxy: Stand) -> None:
    """A connection cut in the middle of a transaction, before COMMIT: the work runs again, from the start."""
    between = proxy(things)
    ours = open_database(between.url)
    tries: list[int] = []

    def work(connection: Connection) -> None:
        tries.append(1)
        _insert(1)(connection)
        if len(tries) == 1:
            between.cut()
        _insert(2)(connection)

    ours.transact(work)
    assert (len(tries), _ids(database)) == (2, [1, 2])


@pytest.mark.parametrize(("cut", "committed"), [("cut before", []), ("cut after", [1])])
def test_cut_in_commit(
    things: str, database: Database, open_database: OpenDatabase, proxy: Stand, cut: str, committed: list[int]
) -> None:
    """COMMIT sent and no answer: it is not known, so the work isn't repeated, whether the server got it or not."""
    between = proxy(things)
    ours = open_database(between.url)
    ours.ping()
    between.watch(lambda packet: cut if _is_commit(packet) else "pass")
    tries: list[int] = []

    def work(connection: Connection) -> None:
        tries.append(1)
        _insert(1)(connection)

    with pytest.raises(CommitOutcomeUnknown):
        ours.transact(work)
    assert len(tries) == 1
    assert eventually(lambda: _ids(database) == committed)
    between.watch(lambda _: "pass")
    ours.transact(_insert(2))  # and the next transaction has a connection that works
    assert _ids(database) == [*committed, 2]


def test_stale_connections_are_not_noticed(things: str, open_database: OpenDatabase, proxy: Stand) -> None:
    """Kept connections that all died with the server are replaced: no read and no transaction fails of it."""
    between = proxy(things)
    ours = open_database(between.url, pool_size=4)
    for _ in range(3):
        with ExitStack() as stack:
            for _ in range(4):
                stack.enter_context(ours.read()).execute(text("SELECT 1"))
        between.cut()
        for _ in range(4):
            ours.ping()
        between.cut()
        ours.transact(_run("DELETE FROM things"))


def test_no_round_trip_for_a_checkout(database: Database) -> None:
    """A transaction of one statement is that statement and COMMIT: no ping before, no roll back after."""
    sent: list[str] = []

    def count(status: str) -> int:
        with database.engine.connect() as connection:
            return int(connection.execute(text(f"SHOW GLOBAL STATUS LIKE '{status}'")).one()[1])

    event.listen(database.engine, "before_cursor_execute", lambda *event: sent.append(event[2]))
    database.ping()
    sent.clear()
    rollbacks = count("Com_rollback")
    for _ in range(20):
        database.transact(_run("DELETE FROM things"))
    assert [statement for statement in sent if "SHOW" not in statement] == ["DELETE FROM things"] * 20
    assert count("Com_rollback") - rollbacks < 10  # those of `count`, and of whoever else uses the server


def test_down_and_back(things: str, open_database: OpenDatabase, proxy: Stand) -> None:
    """A server that is down is told within seconds; when it is back everything works, with the same object."""
    between = proxy(things)
    ours = open_database(between.url)
    ours.ping()
    between.go_down()
    began = time.monotonic()
    for use in (ours.ping, lambda: ours.transact(_run("DELETE FROM things"))):
        with pytest.raises(DatabaseUnavailable):
            use()
    assert time.monotonic() - began < 3
    between.come_back()
    ours.ping()
    ours.transact(_run("DELETE FROM things"))


def test_silent_server(things: str, open_database: OpenDatabase, proxy: Stand) -> None:
    """A server that takes statements and never answers is given up after the time set for a statement."""
    between = proxy(things)
    ours = open_database(between.url, statement_timeout=0.3)
    ours.ping()
    between.hold()
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable), ours.read() as connection:
        connection.execute(text("SELECT 1"))
    assert time.monotonic() - began < 1


def test_pool_is_as_large_as_told(things: str, open_database: OpenDatabase) -> None:
    """So many transactions run side by side, not fewer."""
    ours = open_database(things, pool_size=20)
    together = threading.Barrier(20)

    def work(connection: Connection) -> None:
        connection.execute(text("SELECT 1"))
        together.wait(10)

    with ThreadPoolExecutor(20) as pool:
        for done in [pool.submit(ours.transact, work) for _ in range(20)]:
            done.result()


def test_read_committed_sees_what_won_the_race(database: Database) -> None:
    """After losing a race for a key, the same transaction reads the winner's row (see decision 12)."""
    seen: list[int] = []

    def work(connection: Connection) -> None:
        assert connection.scalar(text("SELECT n FROM things WHERE id = 1")) is None
        database.transact(_insert(1, 7))
        try:
            with connection.begin_nested():
                _insert(1, 8)(connection)
        except IntegrityError:
            seen.append(connection.scalar(text("SELECT n FROM things WHERE id = 1")))

    database.transact(work)
    assert seen == [7]


def test_snapshot(database: Database) -> None:
    """Statements of a snapshot see one state, though others commit between them; the connection is as before after."""
    database.transact(_insert(1))
    with database.read(snapshot=True) as connection:
        count = text("SELECT COUNT(*) FROM things")
        assert connection.scalar(count) == 1
        database.transact(_insert(2))
        assert connection.scalar(count) == 1
    for _ in range(3):
        with database.read() as connection:
            assert connection.get_isolation_level() == "READ COMMITTED"
            assert connection.scalar(count) == 2
