"""The writer thread of the embedded broker: group commit, and callers that come, wait and fail each for itself."""

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from halfmessage.errors import BrokerCorrupt, BrokerError, MessageNotFound, MessageRefused
from halfmessage.mq.embedded import writer
from halfmessage.mq.embedded.faults import translate, translated
from halfmessage.mq.embedded.file import BrokerFile
from halfmessage.mq.embedded.messages import MOST_BYTES, Draft, insert, number_of, public_id
from halfmessage.mq.embedded.reader import Reader
from halfmessage.mq.embedded.wakeup import Wakeup, keep_going
from halfmessage.mq.embedded.writer import Writer
from halfmessage.mq.port import Message
from tests.support import eventually


class Bench:
    """A writer whose thread can be kept busy."""

    def __init__(self, path: Path, send_timeout: float = 5.0) -> None:
        self.path = path
        self.file = BrokerFile(path, send_timeout)
        self.statements: list[str] = []
        self.file.first_connection.set_trace_callback(self.statements.append)
        self.writer = Writer(self.file, send_timeout)
        self.busy, self.release = threading.Event(), threading.Event()

    def block(self, _: sqlite3.Connection) -> None:
        self.busy.set()
        self.release.wait(10)

    def insert(self, body: bytes) -> int:
        draft = Draft("order", Message("t", body))
        return self.writer.do_with_others(insert, draft, weight=draft.size)[0]

    def queued(self) -> int:
        return self.writer._queue.qsize()

    def bodies(self) -> list[bytes]:
        with closing(sqlite3.connect(self.path)) as raw:
            return [body for (body,) in raw.execute("SELECT body FROM messages ORDER BY id")]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "broker.db")
    yield made
    made.release.set()
    made.writer.close()


def test_waiting_callers_share_one_commit(bench: Bench) -> None:
    """What queues while a transaction is in flight is committed together, each caller getting its own answer."""
    with ThreadPoolExecutor(11) as pool:
        blocker = pool.submit(bench.writer.do, bench.block)
        eventually(bench.busy.is_set)
        waiting = [pool.submit(bench.insert, b"%d" % n) for n in range(10)]
        eventually(lambda: bench.queued() == 10)
        bench.statements.clear()
        bench.release.set()
        blocker.result(5)
        numbers = [w.result(5) for w in waiting]
    with closing(sqlite3.connect(bench.path)) as raw:
        assert dict(raw.execute("SELECT id, body FROM messages")) == {n: b"%d" % i for i, n in enumerate(numbers)}
    assert [s for s in bench.statements if s in {"BEGIN IMMEDIATE", "COMMIT"}] == [
        "COMMIT",
        "BEGIN IMMEDIATE",
        "COMMIT",
    ]


def test_refusal_and_mistake_hurt_no_other_job(bench: Bench) -> None:
    """Of callers that share a transaction, one refused and one wrong fail alone; the wrong one leaves no trace."""

    def refused(_: sqlite3.Connection) -> None:
        raise MessageNotFound

    def wrong(connection: sqlite3.Connection) -> None:
        insert(connection, [Draft("order", Message("t", b"trace"))])
        raise ZeroDivisionError

    with ThreadPoolExecutor(5) as pool:
        pool.submit(bench.writer.do, bench.block)
        eventually(bench.busy.is_set)
        first = pool.submit(bench.insert, b"first")
        failing = [pool.submit(bench.writer.do, work) for work in (refused, wrong)]
        last = pool.submit(bench.insert, b"last")
        eventually(lambda: bench.queued() == 4)
        bench.release.set()
        assert {type(f.exception(5)) for f in failing} == {MessageNotFound, ZeroDivisionError}
        assert first.result(5) != last.result(5)
    assert sorted(bench.bodies()) == [b"first", b"last"]


def test_largest_batch_is_bounded(bench: Bench) -> None:
    """One transaction takes so many and no more; the rest follows in the next."""
    with ThreadPoolExecutor(301) as pool:
        pool.submit(bench.writer.do, bench.block)
        eventually(bench.busy.is_set)
        waiting = [pool.submit(bench.insert, b"") for _ in range(300)]
        eventually(lambda: bench.queued() == 300)
        bench.statements.clear()
        bench.release.set()
        assert len({w.result(5) for w in waiting}) == 300
    assert bench.statements.count("BEGIN IMMEDIATE") == 2


def test_heaviest_batch_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One transaction writes so many bytes and no more, but for one message, which may be larger."""
    monkeypatch.setattr(writer, "_HEAVIEST", 1000)
    with ThreadPoolExecutor(5) as pool:
        pool.submit(bench.writer.do, bench.block)
        eventually(bench.busy.is_set)
        waiting = [pool.submit(bench.insert, b"x" * 700) for _ in range(4)]
        eventually(lambda: bench.queued() == 4)
        bench.statements.clear()
        bench.release.set()
        assert len({w.result(5) for w in waiting}) == 4
    assert bench.statements.count("BEGIN IMMEDIATE") == 2


def test_message_that_is_too_large() -> None:
    """It is refused at once, with its size and what is allowed; its keys and properties count."""
    with pytest.raises(MessageRefused, match="at most 4194304 bytes; this is 41943"):
        Draft("order", Message("t", b"x" * (MOST_BYTES - 20), keys=("k" * 30,)))
    assert Draft("order", Message("t", b"x" * (MOST_BYTES - 100), keys=("k" * 30,))).size < MOST_BYTES


def test_caller_of_a_stuck_disk_is_let_go(tmp_path: Path) -> None:
    """Who waits too long gets an error: what has not begun never will, what has may have arrived."""
    bench = Bench(tmp_path / "broker.db", send_timeout=-0.4)
    with ThreadPoolExecutor(2) as pool:
        stuck = pool.submit(bench.writer.do, bench.block)
        eventually(bench.busy.is_set)
        queued = pool.submit(bench.insert, b"never")
        assert "may have arrived" in str(stuck.exception(5))
        assert "nothing was changed" in str(queued.exception(5))
    bench.release.set()
    bench.writer.close()
    assert bench.bodies() == []


def test_closed_writer_refuses(bench: Bench) -> None:
    """After close, which finishes what is queued and may be called twice, nothing is taken."""
    bench.insert(b"x")
    bench.writer.close()
    bench.writer.close()
    with pytest.raises(BrokerError, match="closed"):
        bench.insert(b"y")
    assert bench.bodies() == [b"x"]


def test_reader_recovers_and_closes(bench: Bench) -> None:
    """A read that fails is our error and costs its connection; the next read works; a closed reader refuses."""
    reader = Reader(bench.file, 5.0)
    with pytest.raises(BrokerError):
        reader.query("SELECT nonsense")
    assert reader.query("SELECT 1") == [(1,)]
    with pytest.raises(BrokerError, match="can't be written"):
        reader.query("DELETE FROM messages")
    with pytest.raises(BrokerError), reader.snapshot() as connection:
        connection.execute("SELECT nonsense")
    reader.close()
    with pytest.raises(BrokerError, match="closed"):
        reader.query("SELECT 1")


def test_who_reads_is_waited_for_with_a_deadline(bench: Bench) -> None:
    """A long look, as of a timeline, holds up no other reader for ever."""
    reader = Reader(bench.file, 0.05)
    with ThreadPoolExecutor(1) as pool, reader.snapshot(), pytest.raises(BrokerError, match="read by others"):
        pool.submit(reader.query, "SELECT 1").result(5)
    assert reader.query("SELECT 1") == [(1,)]
    reader.close()


class _Trouble:
    """A reader that fails once."""

    def __init__(self) -> None:
        self.calls = 0

    def query(self, *_: object) -> list[tuple[Any, ...]]:
        self.calls += 1
        if self.calls == 1:
            raise BrokerError
        return [(self.calls,)]


def test_watching_goes_on_after_a_fault() -> None:
    """A failed look at the file ends no thread; started twice, one thread watches."""
    trouble = _Trouble()
    wakeup = Wakeup(trouble)  # type: ignore[arg-type]
    wakeup.start()
    wakeup.start()
    eventually(lambda: trouble.calls > 2)
    wakeup.close()


def test_thread_survives_what_was_not_foreseen(capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake of ours is logged with its traceback and tried again, not the end of a thread."""
    closed, calls = threading.Event(), []

    def step() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError
        closed.set()

    keep_going(step, closed, "a test")
    assert len(calls) == 2
    assert "ZeroDivisionError" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "kind", "match"),
    [
        (sqlite3.SQLITE_BUSY, BrokerError, "locked"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, BrokerError, "locked"),
        (sqlite3.SQLITE_LOCKED, BrokerError, "locked"),
        (sqlite3.SQLITE_FULL, BrokerError, "full"),
        (sqlite3.SQLITE_IOERR_WRITE, BrokerError, "disk reports"),
        (sqlite3.SQLITE_CORRUPT_INDEX, BrokerCorrupt, "damaged"),
        (sqlite3.SQLITE_NOTADB, BrokerCorrupt, "damaged"),
        (sqlite3.SQLITE_READONLY, BrokerError, "can't be written"),
        (sqlite3.SQLITE_READONLY_DBMOVED, BrokerCorrupt, "deleted or replaced"),
        (sqlite3.SQLITE_CANTOPEN, BrokerError, "can't be opened"),
        (sqlite3.SQLITE_MISUSE, BrokerError, "does not answer"),
        (None, BrokerError, "does not answer"),
    ],
)
def test_errors_in_our_words(code: int | None, kind: type[BrokerError], match: str) -> None:
    """Each of SQLite's errors becomes one of ours that says what to do next."""
    error = sqlite3.OperationalError("x")
    if code is not None:
        error.sqlite_errorcode = code
    assert type(translate(error)) is kind
    with pytest.raises(kind, match=match), translated():
        raise error


@pytest.mark.parametrize(
    "message",
    [Message("t\ud800", b""), Message("t", b"", keys=("\udfff",)), Message("t", b"", properties={"a": "\ud800"})],
)
def test_text_that_is_no_unicode_is_refused_at_once(message: Message) -> None:
    """Half a surrogate pair fails its own caller, before it gets near the others' transaction."""
    with pytest.raises(MessageRefused, match="Unicode"):
        Draft("order", message)


def test_ids() -> None:
    """An id is sixteen hexadecimal digits that sort as they were given; anything else is no message's."""
    assert public_id(255) == "00000000000000FF"
    assert number_of(public_id(255)) == 255
    assert [number_of(text) for text in ("", "FF", "g" * 16, "-" + "0" * 15, "F" * 16)] == [0] * 5
