"""A bit flipped in a log (-wal): transactions behind it are lost to SQLite, and that is told; a torn end is none."""

import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import structlog

from common.db import Database
from halfmessage import sqlite_file, sqlite_log
from halfmessage.errors import BrokerCorrupt, DatabaseCorrupt
from halfmessage.mq.embedded import EmbeddedBroker
from halfmessage.mq.port import BrokerOptions, Message

_PAGE, _STEP, _HEADER = 4096, 4096 + 24, 32
_TRANSACTIONS = 8


def _crashed(tmp_path: Path, name: str = "things.db", *, checkpoints: bool = False) -> tuple[Path, bytes, bytes]:
    """Return a path, and the file and the log as a crash leaves them there, of transactions of two pages each."""
    path = tmp_path / name
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=0"):
            raw.execute(f"PRAGMA {pragma}")
        raw.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT)")
        raw.execute("CREATE INDEX names ON things (name)")
        if checkpoints:
            raw.executemany("INSERT INTO things (name) VALUES (?)", [(f"{n}" * 900,) for n in range(60)])
        raw.execute("PRAGMA wal_checkpoint(RESTART)")
        for number in range(_TRANSACTIONS):
            raw.execute("INSERT INTO things (name) VALUES (?)", (f"name {number}",))
        return path, path.read_bytes(), Path(f"{path}-wal").read_bytes()


def _laid(path: Path, file: bytes, log: bytes) -> Path:
    for sibling in ("-shm", "-wal", ""):
        Path(f"{path}{sibling}").unlink(missing_ok=True)
    path.write_bytes(file)
    Path(f"{path}-wal").write_bytes(log)
    return path


def _flipped(log: bytes, at: int, bit: int = 0) -> bytes:
    changed = bytearray(log)
    changed[at] ^= 1 << bit
    return bytes(changed)


def _said(path: Path) -> str | None:
    with closing(sqlite3.connect(path)) as raw:
        return sqlite_file.damage(raw)


@pytest.mark.parametrize("checkpoints", [False, True])
def test_transactions_behind_damage_are_not_lost_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, checkpoints: bool
) -> None:
    """Wherever the bit flipped but in the last transaction; older transactions of a log in use again are no matter."""
    path, file, log = _crashed(tmp_path, checkpoints=checkpoints)
    monkeypatch.setattr(sqlite_log, "_PAUSE", 0.0)
    rng, used = random.Random(4), _HEADER + 2 * _TRANSACTIONS * _STEP
    assert _said(_laid(path, file, log)) is None
    last = used - 2 * _STEP
    for at in [*range(0, _HEADER, 3), *(rng.randrange(_HEADER, last) for _ in range(40))]:
        said = _said(_laid(path, file, _flipped(log, at, rng.randrange(8)))) or ""
        assert "the log is damaged before its frame" in said, at


def test_the_end_that_a_power_loss_leaves_is_none(tmp_path: Path) -> None:
    """A last transaction that is torn, or cut off, was acknowledged to nobody: the file is sound without it."""
    path, file, log = _crashed(tmp_path)
    last = len(log) - 2 * _STEP
    for torn in (_flipped(log, last + 5000), _flipped(log, last + 9), log[:-1], log[: last + 100], log[:_HEADER], b""):
        assert _said(_laid(path, file, torn)) is None


def test_it_is_refused_at_the_start(tmp_path: Path) -> None:
    """A service's database and the broker's file, by name."""
    path, file, log = _crashed(tmp_path)
    _laid(path, file, _flipped(log, _HEADER + 100))
    with closing(Database(f"sqlite:///{path}")) as database, pytest.raises(DatabaseCorrupt, match="the log is damaged"):
        database.check()
    broker = tmp_path / "broker.db"
    with closing(EmbeddedBroker(broker, BrokerOptions())) as running:
        sender = running.producer("order")
        for _ in range(5):
            sender.send(Message("topic", b"x"))
        copy = tmp_path / "copy.db"
        _laid(copy, broker.read_bytes(), _flipped(Path(f"{broker}-wal").read_bytes(), _HEADER + 100))
    with pytest.raises(BrokerCorrupt, match="the log is damaged") as caught:
        EmbeddedBroker(copy, BrokerOptions())
    assert str(copy) in caught.value.detail


def test_a_log_that_is_written_meanwhile_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not the same at two looks is being written; three times, and it is left alone."""
    path, file, log = _crashed(tmp_path)
    _laid(path, file, b"")
    monkeypatch.setattr(sqlite_log, "_PAUSE", 0.0)
    looks = iter([_flipped(log, 100), _flipped(log, 200), _flipped(log, 300)])
    monkeypatch.setattr(sqlite_log, "_read", lambda _: next(looks))
    assert sqlite_log.cut_short(path, _PAGE) is None
    assert next(looks, None) is None


def test_a_log_that_is_too_large_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size is bounded, for it is read whole."""
    path, file, log = _crashed(tmp_path)
    _laid(path, file, _flipped(log, 100))
    assert sqlite_log.cut_short(path, _PAGE)
    monkeypatch.setattr(sqlite_log, "MOST", len(log) - 1)
    assert sqlite_log.cut_short(path, _PAGE) is None
    os.unlink(f"{path}-wal")  # noqa: PTH108 (a sibling's name)
    assert sqlite_log.cut_short(path, _PAGE) is None


def test_where_there_is_no_room_for_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not looked at, which is logged: no reason to keep a service from starting."""
    path, file, log = _crashed(tmp_path)
    _laid(path, file, _flipped(log, _HEADER + 100))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with structlog.testing.capture_logs() as logs:
        assert sqlite_log.cut_short(path, _PAGE) is None
    assert [line["event"] for line in logs] == ["a log was not looked at for damage"]


def test_what_two_power_losses_leave_is_none(tmp_path: Path) -> None:
    """A frame behind a commit that was never its own: the first loss left one, the second the other."""
    path, file, log = _crashed(tmp_path)
    stale = bytearray(_flipped(log, _HEADER + 4 * _STEP + 100))
    for number in range(5, 2 * _TRANSACTIONS, 2):  # commits with a checksum that nothing behind them goes on from
        at = _HEADER + number * _STEP + 16
        stale[at : at + 8] = os.urandom(8)
    assert _said(_laid(path, file, bytes(stale))) is None


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_log_of_either_byte_order(order: str) -> None:
    """A machine writes checksums of its own words, another one may read them."""
    header = b"\x37\x7f\x06\x82" + bytes(range(20))
    whole = header + b"".join(part.to_bytes(4, "big") for part in sqlite_log._checksum(bytes(8), header, order))
    assert sqlite_log._is_header(whole)
    assert not sqlite_log._is_header(_flipped(whole, 9))
