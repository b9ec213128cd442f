"""A bit flipped in a file of SQLite: refused with a clear error as it is opened or once it is met, no traceback."""

import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import text

from common import migrations, schema_version
from common.db import Database
from common.heartbeat import Heartbeat
from common.registry import ALL_NAMES
from halfmessage import sqlite_file
from halfmessage.errors import BrokerCorrupt, DatabaseCorrupt, DatabaseUnavailable, HalfMessageError
from halfmessage.mq.embedded import EmbeddedBroker
from halfmessage.mq.port import BrokerOptions, CheckAnswer, Delivery, HalfMessage, Message, Resolution, State, Verdict
from tests.support import eventually

_PAGE = 4096
_FLIPS = 30  # of each kind in each file; more by hand: 300 took 3 s a database
_ROWS = 50

Rows = dict[str, list[tuple[Any, ...]]]


def _fill(path: Path) -> None:
    """Put rows into every table that takes made-up ones."""
    with closing(sqlite3.connect(path)) as raw:
        tables = [name for (name,) in raw.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for table in set(tables) - {"alembic_version"}:
            types = [kind for _, _, kind, *_ in raw.execute(f"PRAGMA table_info({table})")]
            marks = ", ".join("?" * len(types))
            for number in range(_ROWS):
                row = [number + 1 if "INT" in kind else f"{table[:3]} {number}" for kind in types]
                raw.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)  # noqa: S608 (names of our own schema)
        raw.commit()


def _rows(database: Database) -> Rows:
    """Return every row, read as services do."""
    with database.read() as connection:
        tables = connection.scalars(text("SELECT name FROM sqlite_schema WHERE type = 'table'")).all()
        return {
            name: [tuple(row) for row in connection.execute(text(f"SELECT * FROM {name}"))]  # noqa: S608
            for name in tables
        }


def _flipped(whole: bytes, path: Path, at: int, bit: int) -> Path:
    for sibling in ("-wal", "-shm"):
        Path(f"{path}{sibling}").unlink(missing_ok=True)
    damaged = bytearray(whole)
    damaged[at] ^= 1 << bit
    path.write_bytes(damaged)
    return path


_PLACES: dict[str, Callable[[random.Random, int], int]] = {
    "the file's header": lambda rng, _: rng.randrange(100),
    "the header of a page": lambda rng, size: rng.randrange(1, size // _PAGE) * _PAGE + rng.randrange(8),
    "anywhere": lambda rng, size: rng.randrange(size),
}


@pytest.mark.parametrize("service", ALL_NAMES)
def test_of_a_database(tmp_path: Path, service: str) -> None:
    """Everything is as it was, or it is refused at the start in a line; else a value changed inside of a row."""
    path = tmp_path / "whole.db"
    migrations.upgrade(service, f"sqlite:///{path}")
    _fill(path)
    with closing(Database(f"sqlite:///{path}")) as database:
        schema_version.require(service, database)
        before = _rows(database)
    whole, rng = path.read_bytes(), random.Random(7)
    refused = dict.fromkeys(_PLACES, 0)
    for place, where in _PLACES.items():
        for _ in range(_FLIPS):
            damaged = _flipped(whole, tmp_path / "damaged.db", where(rng, len(whole)), rng.randrange(8))
            with closing(Database(f"sqlite:///{damaged}")) as database:
                try:
                    schema_version.require(service, database)
                    after = _rows(database)
                except HalfMessageError as error:
                    refused[place] += "\n" not in error.detail
                else:
                    assert place == "anywhere" or after == before
                    changed = [name for name, rows in before.items() if after.get(name) != rows]
                    assert all(len(after[name]) == len(before[name]) for name in changed)  # values, never rows
                    assert len(changed) <= 1
    assert refused["the header of a page"] > 0.8 * _FLIPS
    assert refused["the file's header"] > 0.2 * _FLIPS


def test_it_says_which_file_what_and_what_to_do(tmp_path: Path) -> None:
    """One line, at the start."""
    path = tmp_path / "goods.db"
    migrations.upgrade("goods", f"sqlite:///{path}")
    _flipped(path.read_bytes(), path, _PAGE, 3)
    with closing(Database(f"sqlite:///{path}")) as database, pytest.raises(DatabaseCorrupt) as caught:
        schema_version.require("goods", database)
    told = caught.value.detail
    assert told.startswith(f"{path} is damaged; SQLite says: ")
    assert "page 2" in told
    assert told.endswith("Stop the service, restore the file with docs/backup.md, start again.")


@pytest.mark.parametrize(("at", "said"), [(0, "file is not a database"), (100, "malformed")])
def test_what_sqlite_can_not_even_open(tmp_path: Path, at: int, said: str) -> None:
    """Its first page damaged, the file is named all the same."""
    path = tmp_path / "goods.db"
    migrations.upgrade("goods", f"sqlite:///{path}")
    _flipped(path.read_bytes(), path, at, 0)
    with closing(Database(f"sqlite:///{path}")) as database, pytest.raises(DatabaseCorrupt, match=said) as caught:
        database.check()
    assert str(path) in caught.value.detail
    with pytest.raises(BrokerCorrupt, match=said) as broken:
        EmbeddedBroker(path, BrokerOptions())
    assert str(path) in broken.value.detail


def test_what_python_can_not_read(tmp_path: Path) -> None:
    """SQLite quotes a damaged schema, Python's module fails to decode that: damaged, too."""
    path = tmp_path / "goods.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA journal_mode=WAL")
        raw.execute("CREATE TABLE things (id TEXT)")
    whole = path.read_bytes()
    _flipped(whole, path, whole.index(b"TABLE things") + 1, 7)
    with closing(Database(f"sqlite:///{path}")) as database, pytest.raises(DatabaseCorrupt, match="schema"):
        database.check()
    with pytest.raises(BrokerCorrupt, match="schema"):
        EmbeddedBroker(path, BrokerOptions())
    with closing(sqlite3.connect(path)) as raw:
        assert sqlite_file.damage(raw) == sqlite_file.UNREADABLE


def test_an_index_that_tells_something_else(tmp_path: Path) -> None:
    """A row that its key would not find again is no answer of "not found": it is seen at the start."""
    path = tmp_path / "things.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT)")
        raw.execute("CREATE INDEX by_name ON things (name)")
        raw.executemany("INSERT INTO things (name) VALUES (?)", [(f"name {number}",) for number in range(20)])
        raw.commit()
    whole = path.read_bytes()
    _flipped(whole, path, whole.rindex(b"name 7") + 5, 6)  # the index lies behind its table
    with closing(Database(f"sqlite:///{path}")) as database, pytest.raises(DatabaseCorrupt, match="by_name"):
        database.check()


def test_looking_takes_so_long_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not reached is not seen, and that is logged; the connection can be used."""
    path = tmp_path / "large.db"
    with closing(sqlite3.connect(path, check_same_thread=False)) as raw:
        raw.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT)")
        many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) "
        raw.execute(f"{many} INSERT INTO things SELECT i, 'name ' || i FROM n")  # noqa: S608
        raw.commit()
        with structlog.testing.capture_logs() as logs:
            assert sqlite_file.damage(raw, 0.001) is None
        assert [line["log_level"] for line in logs] == ["warning"]
        assert raw.execute("SELECT count(*) FROM things").fetchone() == (300000,)
    monkeypatch.setattr(sqlite_file, "CHECKED_WITHIN", 0.001)
    with closing(Database(f"sqlite:///{path}")) as database:
        database.check()


def test_what_is_no_file_is_not_looked_through(tmp_path: Path) -> None:
    """A server's database has a server; one that is locked is unavailable, not damaged."""
    with closing(Database("mysql+pymysql://u:p@127.0.0.1:1/none")) as database:
        database.check()
    path = tmp_path / "locked.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA journal_mode=WAL")
        raw.execute("CREATE TABLE things (id)")
    with closing(Database(f"sqlite:///{path}")) as database, pytest.MonkeyPatch.context() as patch:

        def locked(_: object) -> None:
            raise sqlite3.OperationalError("database is locked")

        patch.setattr("common.db.damage", locked)
        with pytest.raises(DatabaseUnavailable) as caught:
            database.check()
        assert type(caught.value) is DatabaseUnavailable
    with closing(sqlite3.connect(path, timeout=0)) as raw, closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("INSERT INTO things VALUES (1)")
        other.commit()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            sqlite_file.damage(raw)


def test_damage_that_is_met_while_running(tmp_path: Path) -> None:
    """The request that meets it gets 503, all others too from then on, and so readiness is red; it is logged once."""
    path = tmp_path / "goods.db"
    migrations.upgrade("goods", f"sqlite:///{path}")
    _fill(path)
    with closing(Database(f"sqlite:///{path}")) as database:
        heartbeat = Heartbeat(database)
        heartbeat.ask()
        with database.read() as connection:
            (root,) = connection.execute(text("SELECT rootpage FROM sqlite_schema WHERE name = 'goods'")).one()
        _overwrite(path, (root - 1) * _PAGE)
        with structlog.testing.capture_logs() as logs:
            for _ in range(2):
                with pytest.raises(DatabaseCorrupt), database.read() as connection:
                    connection.execute(text("SELECT * FROM goods")).all()
            with pytest.raises(DatabaseCorrupt, match="restore"):
                heartbeat.ask()
            with pytest.raises(DatabaseCorrupt):
                database.transact(lambda connection: connection.execute(text("DELETE FROM heartbeat")))
        (line,) = logs
        assert (line["path"], line["said"]) == (str(path), "database disk image is malformed")


def test_damage_that_a_broker_meets_while_running(tmp_path: Path) -> None:
    """Whoever met it, writer or reader, nothing is sent, read or told ready from then on; it is logged once."""
    path = tmp_path / "broker.db"
    with closing(EmbeddedBroker(path, BrokerOptions())) as broker, structlog.testing.capture_logs() as logs:
        producer = broker.producer("order")
        producer.send(Message("topic", b"x"))
        broker.ping()
        with closing(sqlite3.connect(path)) as raw:
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            (root,) = raw.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'message_keys'").fetchone()
        _overwrite(path, (root - 1) * _PAGE)
        with pytest.raises(BrokerCorrupt, match="damaged"):
            broker.console().find(key="1")
        for ask in (lambda: producer.send(Message("topic", b"x")), broker.ping, broker.console().stats):
            with pytest.raises(BrokerCorrupt, match="damaged"):
                ask()
    told = [line for line in logs if line["event"] == "broker.file_damaged"]
    assert [line["path"] for line in told] == [str(path)]


def _overwrite(path: Path, at: int) -> None:
    """Damage a file that is open, from another process: closing it in this one would drop SQLite's locks."""
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damage = "import sys; f = open(sys.argv[1], 'r+b'); f.seek(int(sys.argv[2])); f.write(b'x' * 4096)"
    subprocess.run([sys.executable, "-c", damage, str(path), str(at)], check=True)


def test_of_a_brokers_file(tmp_path: Path) -> None:
    """Opened, it is as it was but for values inside of a row, or it is refused."""
    path = tmp_path / "whole.db"
    with closing(EmbeddedBroker(path, BrokerOptions())) as broker:
        broker.producer("order").send(Message("topic", b"x" * 9000, keys=("1",)))
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA journal_mode=WAL")
    whole, rng = path.read_bytes(), random.Random(3)
    refused = 0
    for number in range(3 * _FLIPS):
        at = list(_PLACES.values())[number % 2](rng, len(whole))
        damaged = _flipped(whole, tmp_path / "damaged.db", at, rng.randrange(8))
        try:
            EmbeddedBroker(damaged, BrokerOptions()).close()
        except HalfMessageError as error:
            refused += "\n" not in error.detail
    assert refused > _FLIPS


_BODY, _PROPERTIES = b"a body", {"tx_id": "7", "deliver_if": "aborted"}
_TEXT_THAT_IS_NONE = "CAST(x'ff28' AS TEXT)"
_CHANGES = {
    "body": "body = x'6120626f6479' || 'x'",
    "topic": "topic = 'other'",
    "tag": "tag = 'other'",
    "a key": """keys = '["2"]'""",
    "a property": """properties = replace(properties, '"7"', '"6"')""",
    "text that is none": f"properties = {_TEXT_THAT_IS_NONE}",
    "bytes that moved": """tag = 'tag[', keys = substr(keys, 2)""",
    "the checksum": "checksum = checksum + 1",
    "nothing that can be read, of a build before checksums": f"keys = {_TEXT_THAT_IS_NONE}, checksum = NULL",
    "no JSON, of a build before checksums": "keys = '[', checksum = NULL",
}


def _change(path: Path, change: str, number: int = 1) -> None:
    with closing(sqlite3.connect(path)) as raw:
        raw.execute(f"UPDATE messages SET {change} WHERE id = {number}")  # noqa: S608
        raw.commit()


@pytest.mark.parametrize("change", _CHANGES)
def test_a_message_that_is_not_as_it_was_sent_is_not_delivered(tmp_path: Path, change: str) -> None:
    """It is put away with the dead letters, and shown as damaged; others pass it; resent, it is put away again."""
    path, seen = tmp_path / "broker.db", list[Message]()
    message = Message("topic", _BODY, "tag", ("1",), _PROPERTIES)
    with closing(EmbeddedBroker(path, BrokerOptions())) as broker, structlog.testing.capture_logs() as logs:
        producer = broker.producer("order")
        producer.send(message)
        producer.send(message)
        _change(path, _CHANGES[change])

        def handle(got: Sequence[Delivery]) -> list[Verdict]:
            seen.extend(delivery.message for delivery in got)
            return [Verdict.ACK] * len(got)

        console = broker.console()
        broker.consumer("stock", "topic" if change != "topic" else "other", handle)
        if change == "topic":  # a topic that its subscribers never asked for
            eventually(lambda: console.stats().dead == 1)
            return
        eventually(lambda: seen == [message] and console.stats().dead == 1)
        (dead,) = console.find(state=State.DEAD)
        assert dead.message.properties["damaged"] == "is not as it was sent"
        console.resend(dead.message_id)
        eventually(lambda: len([line for line in logs if line["event"] == "broker.message_damaged"]) == 2)
        eventually(lambda: console.stats().dead == 1)
        assert seen == [message]


def test_a_half_message_that_is_not_as_it_was_sent_is_parked(tmp_path: Path) -> None:
    """Its producer is not asked: by another transaction's id it would answer for another transaction."""
    path, asked = tmp_path / "broker.db", list[str]()
    options = BrokerOptions(check_first_after=0.05, check_interval=0.05)

    def check(half: HalfMessage) -> CheckAnswer:
        asked.append(half.message_id)
        return CheckAnswer.COMMIT

    with closing(EmbeddedBroker(path, options)) as broker:
        sender = broker.producer("order")
        ids = [sender.begin(Message("topic", _BODY, "", (), _PROPERTIES)).message_id for _ in range(2)]
        _change(path, _CHANGES["a property"])
        broker.producer("order", check)
        eventually(lambda: broker.console().stats().parked == 1)
        eventually(lambda: asked == ids[1:])


def test_a_message_of_a_build_before_checksums_is_delivered(tmp_path: Path) -> None:
    """What it has no checksum of is taken as it is."""
    path, seen = tmp_path / "broker.db", list[bytes]()
    with closing(EmbeddedBroker(path, BrokerOptions())) as broker:
        broker.producer("order").send(Message("topic", _BODY))
        _change(path, "checksum = NULL")

        def handle(got: Sequence[Delivery]) -> list[Verdict]:
            seen.extend(delivery.message.body for delivery in got)
            return [Verdict.ACK] * len(got)

        broker.consumer("stock", "topic", handle)
        eventually(lambda: seen == [_BODY])


def test_damaged_keys_stop_no_purge(tmp_path: Path) -> None:
    """What is over is deleted, whatever its keys are, in a file of the version before too."""
    path = tmp_path / "broker.db"
    EmbeddedBroker(path, BrokerOptions()).close()
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("ALTER TABLE messages DROP COLUMN checksum")
        raw.execute("DROP TRIGGER messages_deleted")
        raw.execute("CREATE TRIGGER messages_deleted AFTER DELETE ON messages BEGIN SELECT json(OLD.keys); END")
        for index in ("messages_by_topic", "deliveries_by_subscription"):
            raw.execute(f"DROP INDEX {index}")
        raw.execute("PRAGMA user_version=2")
    with closing(EmbeddedBroker(path, BrokerOptions(retention=0.0))) as broker:
        sender = broker.producer("order")
        for _ in range(3):
            sender.resolve(sender.begin(Message("topic", _BODY, "", ("1",))), Resolution.ROLLBACK)
        _change(path, "keys = '['", number=2)
        time.sleep(0.002)  # the clock of retention counts milliseconds
        broker.purge()
        assert broker.console().find() == []
