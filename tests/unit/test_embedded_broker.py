"""What is particular to the embedded broker: several processes on one file, processes killed, files that break."""

import multiprocessing
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

import pytest

from halfmessage.clock import now_ms
from halfmessage.errors import BrokerCorrupt, BrokerError, GroupInUse, GroupNotFound
from halfmessage.mq.embedded import EmbeddedBroker, deliveries, housekeeping
from halfmessage.mq.embedded.checkback import count_missed
from halfmessage.mq.embedded.file import BrokerFile
from halfmessage.mq.embedded.housekeeping import claim_purge
from halfmessage.mq.embedded.writer import Writer
from halfmessage.mq.port import (
    STANDBY_PAUSE,
    BrokerOptions,
    Check,
    CheckAnswer,
    Delivery,
    HalfMessage,
    Handler,
    Message,
    MessageView,
    Resolution,
    State,
    Verdict,
)
from tests.support import SetClock, eventually

TOPIC = "order_rollback"
OPTIONS = BrokerOptions(
    check_first_after=0.2, check_interval=0.1, invisible_for=0.4, retry_first_after=0.05, send_timeout=0.3
)
PATIENT = BrokerOptions(send_timeout=10.0)
_spawn = multiprocessing.get_context("spawn")

Body = Callable[[EmbeddedBroker, Connection], None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "broker.db"


@pytest.fixture
def broker(path: Path) -> Iterator[EmbeddedBroker]:
    opened = EmbeddedBroker(path, OPTIONS)
    yield opened
    opened.close()


class Child:
    """A process of its own that opens the broker and runs `body`."""

    def __init__(self, body: Body, path: Path, options: BrokerOptions = OPTIONS) -> None:
        self.pipe, theirs = _spawn.Pipe()
        self._process = _spawn.Process(target=_child, args=(body, path, options, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def receive(self, within: float = 60.0) -> Any:
        assert self.pipe.poll(within), "the child said nothing"
        return self.pipe.recv()

    def kill(self) -> None:
        """Send SIGKILL: nothing of the process runs on."""
        self._process.kill()
        self._process.join()

    def rest(self) -> list[Any]:
        """Return what a killed child still had said."""
        said = []
        with suppress(EOFError):
            while True:
                said.append(self.receive())
        return said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.pipe.close()


def _child(body: Body, path: Path, options: BrokerOptions, pipe: Connection) -> None:
    body(EmbeddedBroker(path, options), pipe)


def view_of(broker: EmbeddedBroker, message_id: str) -> MessageView:
    (view,) = broker.console().find(message_id=message_id)
    return view


def _commit(_: HalfMessage) -> CheckAnswer:
    return CheckAnswer.COMMIT


# processes that die


def _begin_three(broker: EmbeddedBroker, pipe: Connection) -> None:
    producer = broker.producer("order", _commit)
    pipe.send([producer.begin(Message(TOPIC, b"%d" % n)).message_id for n in range(3)])
    threading.Event().wait()


def test_half_messages_of_a_killed_sender_are_settled_by_another_process(path: Path) -> None:
    """A sender killed with -9 leaves its half messages to the checker of any other process of the group."""
    with Child(_begin_three, path) as sender:
        ids = sender.receive()
        sender.kill()
    broker = EmbeddedBroker(path, OPTIONS)
    broker.producer("order", lambda _: CheckAnswer.ROLLBACK)
    eventually(lambda: len(broker.console().find(state=State.DONE)) == 3)
    found = broker.console().find()
    assert [view.message_id for view in found] == ids[::-1]
    assert {view.resolution for view in found} == {Resolution.ROLLBACK}
    broker.close()


def test_missed_checks_of_a_killed_sender_are_counted_by_any_process(path: Path) -> None:
    """With no producer left, a process that merely has the broker open counts the rounds and parks the messages."""
    options = BrokerOptions(check_first_after=0.3, check_interval=0.05, check_max=2)
    with Child(_begin_three, path, options) as sender:
        sender.receive()
        sender.kill()
    broker = EmbeddedBroker(path, options)
    eventually(lambda: len(broker.console().find(state=State.PARKED)) == 3)
    parked = broker.console().find(state=State.PARKED)
    assert [check.answer for check in parked[0].checks] == [None, None]
    broker.close()


def test_a_half_message_tells_when_it_is_checked_next(path: Path) -> None:
    """As long as it is open; one that ended is checked no more."""
    with closing(EmbeddedBroker(path, BrokerOptions(check_first_after=60.0))) as broker:
        producer = broker.producer("order")
        half = producer.begin(Message(TOPIC, b""))
        assert view_of(broker, half.message_id).next_check_at == half.born_at + 60_000
        producer.resolve(half, Resolution.ROLLBACK)
        assert view_of(broker, half.message_id).next_check_at is None


def test_a_long_night_counts_as_one_missed_check(path: Path) -> None:
    """Half messages overdue by many intervals, as after the machine was off, lose one check and are not parked."""
    options = BrokerOptions(check_first_after=-3600.0, check_interval=30.0, check_max=3)
    broker = EmbeddedBroker(path, options)
    half = broker.producer("order").begin(Message(TOPIC, b""))
    broker.close()
    broker = EmbeddedBroker(path, options)
    eventually(lambda: view_of(broker, half.message_id).checks)
    broker._store.writer.do(lambda connection: count_missed(connection, options))  # as the next process would
    view = view_of(broker, half.message_id)
    broker.close()
    assert (view.state, view.check_count) == (State.HALF, 1)
    assert view.checks == (Check(view.checks[0].at, None),)


def _hang_in_handler(broker: EmbeddedBroker, pipe: Connection) -> None:
    def handle(got: Sequence[Delivery]) -> list[Verdict]:
        pipe.send([delivery.message_id for delivery in got])
        threading.Event().wait()
        return []

    broker.consumer("stock", TOPIC, handle)
    threading.Event().wait()


def test_messages_of_a_killed_consumer_come_back(broker: EmbeddedBroker, path: Path) -> None:
    """A consumer killed with -9 in the middle of a handler: its messages come back, the attempt counted."""
    producer, got = broker.producer("order"), list[Delivery]()
    message_id = producer.send(Message(TOPIC, b"x"))
    with Child(_hang_in_handler, path) as consumer:
        assert consumer.receive() == [message_id]
        consumer.kill()

    def handle(batch: Sequence[Delivery]) -> list[Verdict]:
        got.extend(batch)
        return [Verdict.ACK] * len(batch)

    broker.consumer("stock", TOPIC, handle)
    eventually(lambda: got)
    assert [(d.message_id, d.attempt) for d in got] == [(message_id, 2)]


def _send_without_end(broker: EmbeddedBroker, pipe: Connection) -> None:
    producer, told = broker.producer("order"), threading.Lock()

    def send() -> None:
        while True:
            half = producer.begin(Message(TOPIC, b"x" * 300, keys=("k",)))
            plain = producer.send(Message(TOPIC, b"y", keys=("k",)))
            producer.resolve(half, Resolution.COMMIT)
            with told:
                pipe.send((half.message_id, plain))

    for _ in range(4):
        threading.Thread(target=send, daemon=True).start()
    threading.Event().wait()


def test_what_a_killed_sender_was_promised_is_in_the_file(path: Path) -> None:
    """A sender killed with -9 under load: what was acknowledged is there, and the file is sound."""
    with Child(_send_without_end, path) as sender:
        promised = [sender.receive() for _ in range(150)]
        sender.kill()
        promised += sender.rest()
    broker = EmbeddedBroker(path, OPTIONS)
    kept = {view.message_id: view for view in broker.console().find(limit=1_000_000)}
    broker.close()
    assert all(kept[half].resolution is Resolution.COMMIT and plain in kept for half, plain in promised)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def _send_400(broker: EmbeddedBroker, pipe: Connection) -> None:
    producer = broker.producer("order")
    with ThreadPoolExecutor(4) as pool:
        pipe.send(list(pool.map(lambda n: producer.send(Message(TOPIC, b"%d" % n)), range(400))))


def test_processes_that_send_at_once_lose_nothing(path: Path) -> None:
    """Three processes of four threads write at the same time; every message is there once, under its own id."""
    with ExitStack() as stack:
        children = [stack.enter_context(Child(_send_400, path, PATIENT)) for _ in range(3)]
        ids = [message_id for child in children for message_id in child.receive()]
    broker = EmbeddedBroker(path, OPTIONS)
    kept = [view.message_id for view in broker.console().find(limit=10_000)]
    broker.close()
    assert len(kept) == 1200
    assert sorted(ids) == sorted(kept)


def _tell_when(broker: EmbeddedBroker, pipe: Connection) -> None:
    def handle(got: Sequence[Delivery]) -> list[Verdict]:
        pipe.send(now_ms() - got[-1].born_at)
        return [Verdict.ACK] * len(got)

    broker.consumer("stock", TOPIC, handle)
    pipe.send("ready")
    threading.Event().wait()


def test_another_process_is_woken_at_once(broker: EmbeddedBroker, path: Path) -> None:
    """A message sent in one process is in a handler of another within 50 ms (best of ten: the machine is shared)."""
    producer = broker.producer("order")
    with Child(_tell_when, path) as consumer:
        assert consumer.receive() == "ready"
        latencies = []
        for _ in range(10):
            producer.send(Message(TOPIC, b""))
            latencies.append(consumer.receive())
    assert min(latencies) < 50


# files that break


def test_threads_that_create_the_file_together(path: Path) -> None:
    """Many that open a file that is not there yet make one broker of it."""
    with ThreadPoolExecutor(8) as pool:
        brokers = list(pool.map(lambda _: EmbeddedBroker(path, PATIENT), range(8)))
    for opened in brokers:
        opened.producer("order").send(Message(TOPIC, b""))
    assert len(brokers[0].console().find()) == 8
    for opened in brokers:
        opened.close()


def test_file_deleted_while_it_is_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between making it and looking which file it is: it is not the broker's any more."""
    create = BrokerFile._create_or_check

    def and_lose_it(self: BrokerFile) -> sqlite3.Connection:
        connection = create(self)
        path.unlink()
        return connection

    monkeypatch.setattr(BrokerFile, "_create_or_check", and_lose_it)
    with pytest.raises(BrokerCorrupt, match="deleted or replaced"):
        EmbeddedBroker(path, PATIENT)


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_file_deleted_under_it(broker: EmbeddedBroker, path: Path, suffix: str) -> None:
    """A send into a deleted file (or log) is not acknowledged, nor does ping call it well; put back, it works again."""
    producer = broker.producer("order")
    producer.send(Message(TOPIC, b"before"))
    lost = path.with_name(path.name + suffix)
    hidden = lost.rename(lost.with_name("hidden"))
    for attempt in (lambda: producer.send(Message(TOPIC, b"x")), broker.ping):
        with pytest.raises(BrokerCorrupt, match="deleted or replaced"):
            attempt()
    with pytest.raises(BrokerCorrupt, match="deleted or replaced"):
        broker.console().find()
    hidden.rename(lost)
    producer.send(Message(TOPIC, b"after"))
    broker.ping()


def test_file_replaced_under_it(broker: EmbeddedBroker, path: Path) -> None:
    """A copy in the file's place, be it as good, is not the file that was opened."""
    producer = broker.producer("order")
    copy = Path(shutil.copy(path, path.with_name("copy")))
    copy.replace(path)
    with pytest.raises(BrokerCorrupt, match="deleted or replaced"):
        producer.send(Message(TOPIC, b"x"))


def _assert_refused(path: Path, kind: type[BrokerError], match: str) -> None:
    threads = set(threading.enumerate())
    with pytest.raises(kind, match=match) as caught:
        EmbeddedBroker(path, OPTIONS)
    assert type(caught.value) is kind
    assert set(threading.enumerate()) <= threads


def test_no_database_at_all(path: Path) -> None:
    """A file that is no database is said to be damaged, and not touched."""
    path.write_bytes(b"not a database" * 1000)
    _assert_refused(path, BrokerCorrupt, "damaged")
    assert path.read_bytes() == b"not a database" * 1000


def test_damaged_file(path: Path) -> None:
    """A database whose pages are garbage is said to be damaged."""
    EmbeddedBroker(path, OPTIONS).close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    _assert_refused(path, BrokerCorrupt, "damaged")


def test_file_damaged_while_open(broker: EmbeddedBroker, path: Path) -> None:
    """Damage met in the middle is told to each caller, reader or writer, and nothing is acknowledged any more."""
    producer = broker.producer("order")
    for _ in range(20):
        producer.send(Message(TOPIC, b"x" * 100_000))
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    # by another process: closing the file in this one would drop SQLite's locks
    damage = "import sys; f = open(sys.argv[1], 'r+b'); f.seek(4096); f.write(b'x' * 1_500_000)"
    subprocess.run([sys.executable, "-c", damage, str(path)], check=True)
    with pytest.raises(BrokerCorrupt, match="damaged"):
        broker.console().find(limit=20)
    with pytest.raises(BrokerCorrupt, match="damaged"):
        broker._store.writer.do(lambda c: c.execute("SELECT sum(length(body)) FROM messages").fetchall())
    for _ in range(3):
        with pytest.raises(BrokerCorrupt, match="damaged"):
            producer.send(Message(TOPIC, b"y"))


def test_file_of_another_program(path: Path) -> None:
    """Another program's database is refused and left alone."""
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE customers (id)")
    _assert_refused(path, BrokerError, "another program")


def test_file_of_another_version(path: Path) -> None:
    """A schema version that this build does not know is refused, with both versions."""
    EmbeddedBroker(path, OPTIONS).close()
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA user_version=99")
    _assert_refused(path, BrokerError, "schema version 99, this build knows 4")


def test_a_file_of_the_first_version_is_brought_to_this_one(path: Path) -> None:
    """What it holds goes on; a process of the older build that still has it open writes as before."""
    EmbeddedBroker(path, OPTIONS).close()
    with closing(sqlite3.connect(path)) as raw:
        for table in ("checks", "deliveries"):
            raw.execute(f"ALTER TABLE {table} DROP COLUMN pid")
        raw.execute("ALTER TABLE messages DROP COLUMN checksum")
        for index in ("messages_by_topic", "deliveries_by_subscription"):
            raw.execute(f"DROP INDEX {index}")
        raw.execute("PRAGMA user_version=1")
        raw.execute("INSERT INTO subscriptions (topic, consumer_group) VALUES (?, 'stock')", (TOPIC,))
        raw.execute(
            "INSERT INTO messages (stage, born_at, producer_group, topic, tag, keys, properties, body)"
            " VALUES ('visible', 1, 'order', ?, '', '[]', '{}', x'6f6c64')",
            (TOPIC,),
        )
        raw.commit()
        with closing(EmbeddedBroker(path, OPTIONS)) as broker:
            raw.execute("INSERT INTO checks (message_id, number, at) VALUES (1, 1, 5)")  # as the older build does
            raw.commit()
            seen: list[bytes] = []

            def handle(got: Sequence[Delivery]) -> list[Verdict]:
                seen.extend(delivery.message.body for delivery in got)
                return [Verdict.ACK] * len(got)

            broker.consumer("stock", TOPIC, handle)
            eventually(lambda: seen == [b"old"])
            (view,) = eventually(lambda: broker.console().find(state=State.DONE))
            assert view.checks == (Check(5, None, None),)
            assert view.groups[0].pid == os.getpid()
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA user_version").fetchone() == (4,)
        told = raw.execute("SELECT sql FROM sqlite_schema WHERE name = 'checks'").fetchone()[0]
        assert "pid INTEGER" in told


def test_missing_directory(path: Path) -> None:
    """A directory that is not there is named as the reason; it is not made, for it may be a slip."""
    _assert_refused(path / "not" / "there.db", BrokerError, "directory exists")


def test_old_sqlite(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An SQLite without RETURNING is refused at the door."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    _assert_refused(path, BrokerError, "SQLite 3.35 or newer")


def test_full_disk(broker: EmbeddedBroker) -> None:
    """A send that finds the disk full is refused, leaves nothing behind, and the next one works once there is room."""
    producer = broker.producer("order")
    broker._store.writer.do(lambda connection: connection.execute("PRAGMA max_page_count=1").fetchall())
    with pytest.raises(BrokerError, match="disk is full"):
        producer.send(Message(TOPIC, b"x" * 1_000_000))
    assert broker.console().find() == []
    producer.send(Message(TOPIC, b"x" * 1_000_000))  # by a fresh connection, which knows no such limit


def _send_until_full(broker: EmbeddedBroker, pipe: Connection) -> None:
    producer, acknowledged = broker.producer("order"), []
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    try:
        while True:
            acknowledged.append(producer.send(Message(TOPIC, b"x" * 10_000)))
    except BrokerError as error:
        refused = error.detail
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    acknowledged.append(producer.send(Message(TOPIC, b"x" * 10_000)))
    pipe.send((refused, acknowledged))


def test_file_that_may_grow_no_further(path: Path) -> None:
    """Writes that the system really refuses: what was acknowledged is there, the rest not, and it recovers."""
    with Child(_send_until_full, path) as child:
        refused, acknowledged = child.receive()
    assert "disk" in refused
    broker = EmbeddedBroker(path, OPTIONS)
    kept = {view.message_id for view in broker.console().find(limit=10_000)}
    broker.close()
    assert kept == set(acknowledged)


def test_file_locked_by_another(broker: EmbeddedBroker, path: Path) -> None:
    """A lock held too long is an error within the send timeout or so; one released in time is waited for."""
    producer = broker.producer("order")
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BrokerError, match="locked"):
        producer.send(Message(TOPIC, b"x"))
    soon = threading.Timer(0.1, other.execute, ["ROLLBACK"])
    soon.start()
    message_id = producer.send(Message(TOPIC, b"y"))
    soon.join()
    other.close()
    assert [view.message_id for view in broker.console().find()] == [message_id]


def test_consumers_and_checkers_outlive_a_lock(broker: EmbeddedBroker, path: Path) -> None:
    """Threads that met a fault go on when it is over."""
    got: list[Delivery] = []

    def handle(batch: Sequence[Delivery]) -> list[Verdict]:
        got.extend(batch)
        return [Verdict.ACK] * len(batch)

    producer = broker.producer("order", _commit)
    half = producer.begin(Message(TOPIC, b"half"))
    other = sqlite3.connect(path, isolation_level=None)
    with pytest.MonkeyPatch.context() as patch:
        troubles = _count_troubles(patch)
        other.execute("BEGIN IMMEDIATE")
        eventually(lambda: any("check-back" in what for what in troubles))
        other.execute("ROLLBACK")
        other.close()
    broker.consumer("stock", TOPIC, handle)
    eventually(lambda: got)
    assert got[0].message_id == half.message_id


def _count_troubles(patch: pytest.MonkeyPatch) -> list[str]:
    troubles: list[str] = []

    class Log:
        def error(self, _event: str, *, at: str, **_: object) -> None:
            troubles.append(at)

    patch.setattr("halfmessage.mq.embedded.wakeup.structlog.get_logger", Log)
    return troubles


# closing in the middle


def test_delivery_claimed_while_closing_is_given_back(broker: EmbeddedBroker) -> None:
    """What a consumer claimed but no handler saw is due again at once, the attempt not counted."""
    seen: list[Delivery] = []

    def handle(batch: Sequence[Delivery]) -> list[Verdict]:
        seen.extend(batch)
        return [Verdict.ACK] * len(batch)

    consumer = broker.consumer("stock", TOPIC, handle)
    claiming, claim = threading.Event(), deliveries.claim

    def claim_after_close(*arguments: Any) -> deliveries.Claim:
        claiming.set()
        consumer._closed.wait(5)
        return claim(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deliveries, "claim", claim_after_close)
        producer = broker.producer("order")
        message_id = producer.send(Message(TOPIC, b"x"))
        eventually(claiming.is_set)
        consumer.close()
    (view,) = broker.console().find(message_id=message_id)
    assert (view.state, view.groups[0].attempts, seen) == (State.READY, 0, [])


def test_one_thread_watches_the_file(broker: EmbeddedBroker) -> None:
    """However many consumers and checkers a process has: each of them costs no 40 looks a second."""
    before = set(threading.enumerate())
    for group in ("stock", "audit"):
        broker.consumer(group, TOPIC, lambda batch: [Verdict.ACK] * len(batch))
    broker.producer("order", _commit)
    started = [thread.name for thread in set(threading.enumerate()) - before]
    assert started.count("broker-wakeup") == 1


def test_a_consumer_that_stands_by_is_asked_now_and_then(broker: EmbeddedBroker) -> None:
    """While it is not ready it waits between two looks, and keeps no processor busy."""
    asked: list[float] = []
    seen: list[Delivery] = []

    def ready() -> bool:
        asked.append(time.monotonic())
        return len(asked) > 3

    def handle(batch: Sequence[Delivery]) -> list[Verdict]:
        seen.extend(batch)
        return [Verdict.ACK] * len(batch)

    broker.producer("order").send(Message(TOPIC, b""))
    broker.consumer("stock", TOPIC, handle, ready=ready)
    eventually(lambda: seen)
    assert min(later - earlier for earlier, later in pairwise(asked[:4])) >= 0.9 * STANDBY_PAUSE


def test_closing_a_producer_leaves_the_rest_to_others(path: Path) -> None:
    """A checker that is closed finishes the check in flight and asks no more; a closed producer sends no more."""
    broker = EmbeddedBroker(path, BrokerOptions(check_first_after=0.0, check_interval=30.0))
    asked, release = list[str](), threading.Event()

    def checker(half: HalfMessage) -> CheckAnswer:
        asked.append(half.message_id)
        release.wait(10)
        return CheckAnswer.COMMIT

    sender = broker.producer("order")
    first, second = (sender.begin(Message(TOPIC, b"")) for _ in range(2))
    producer = broker.producer("order", checker)
    eventually(lambda: asked)
    closing_it = threading.Thread(target=producer.close)
    closing_it.start()
    eventually(lambda: producer._closed)
    eventually(producer._check_back._closed.is_set)  # type: ignore[union-attr]
    release.set()
    closing_it.join(5)
    assert asked == [first.message_id]
    assert view_of(broker, first.message_id).resolution is Resolution.COMMIT
    left = view_of(broker, second.message_id)
    assert (left.state, left.check_count, left.checks) == (State.HALF, 0, ())  # it was claimed, but nobody was asked
    successor = broker.producer("order", _commit)
    eventually(lambda: view_of(broker, second.message_id).resolution is Resolution.COMMIT)  # not 30 s later
    successor.close()
    for attempt in (lambda: producer.send(Message(TOPIC, b"")), lambda: producer.resolve(second, Resolution.COMMIT)):
        with pytest.raises(BrokerError, match="closed"):
            attempt()
    broker.close()


def test_closing_waits_for_the_housekeeping_under_way(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a broker that is closed works on its file."""
    entered, release = threading.Event(), threading.Event()

    def missed(*_: object) -> bool:
        entered.set()
        release.wait(10)
        return False

    monkeypatch.setattr(housekeeping.checkback, "missed", missed)
    broker = EmbeddedBroker(path, BrokerOptions())
    assert entered.wait(10)
    closing_it = threading.Thread(target=broker.close)
    closing_it.start()
    closing_it.join(0.2)
    assert closing_it.is_alive()
    release.set()
    closing_it.join(10)
    assert not closing_it.is_alive()


def test_what_ran_out_of_deliveries_holds_up_nothing(path: Path) -> None:
    """It is buried, and what stands behind it is claimed in the same go."""
    options = BrokerOptions(max_deliveries=1, invisible_for=0.001)
    with closing(EmbeddedBroker(path, options)) as broker:
        producer, do = broker.producer("order"), broker._store.writer.do
        subscription = do(lambda connection: deliveries.subscribe(connection, "stock", TOPIC))
        first = producer.send(Message(TOPIC, b""))
        assert do(lambda c: deliveries.claim(c, subscription, 9, options)).deliveries[0].attempt == 1
        eventually(lambda: (deliveries.next_due(broker._store.reader, subscription) or 0) <= now_ms())
        second = producer.send(Message(TOPIC, b""))
        claimed = do(lambda c: deliveries.claim(c, subscription, 9, options))
        assert [delivery.message_id for delivery in claimed.deliveries] == [second]
        assert view_of(broker, first).state is State.DEAD


def test_handler_may_close_its_own_consumer(broker: EmbeddedBroker) -> None:
    """A handler that closes its consumer does not wait for itself."""
    closed = threading.Event()

    def handle(batch: Sequence[Delivery]) -> list[Verdict]:
        consumer.close()
        closed.set()
        return [Verdict.ACK] * len(batch)

    consumer = broker.consumer("stock", TOPIC, handle)
    broker.producer("order").send(Message(TOPIC, b""))
    eventually(closed.is_set)
    eventually(lambda: broker.console().find(state=State.DONE))


def test_claim_is_bounded_by_bytes(path: Path) -> None:
    """Of heavy messages fewer are taken together; one that is heavier than all alone."""
    broker = EmbeddedBroker(path, PATIENT)
    producer = broker.producer("order")
    for size in (300, 50, 50, 50, 300):
        producer.send(Message(TOPIC, b"x" * (size * 1024)))
    taken: list[int] = []

    def handle(got: Sequence[Delivery]) -> list[Verdict]:
        taken.append(len(got))
        return [Verdict.ACK] * len(got)

    broker.consumer("stock", TOPIC, handle, batch=256)
    eventually(lambda: sum(taken) == 5)
    broker.close()
    assert taken == [1, 2, 1, 1]


def test_many_messages_at_once_on_a_small_sqlite(path: Path) -> None:
    """A full group commit is more host variables than an SQLite that is built for 999 takes in one statement."""
    broker = EmbeddedBroker(path, PATIENT)
    producer = broker.producer("order")
    with ThreadPoolExecutor(256) as pool:
        ids = list(pool.map(lambda n: producer.send(Message(TOPIC, b"%d" % n)), range(600)))
    assert len(set(ids)) == 600
    assert [view.message_id for view in broker.console().find(limit=1000)] == sorted(ids, reverse=True)
    assert all(int(view.message.body) == ids.index(view.message_id) for view in broker.console().find(limit=1000))
    broker.close()


# retention


def test_retention_deletes_what_is_over_and_shrinks_the_file(path: Path) -> None:
    """Done, dropped and unheard messages older than the retention go, with all that hangs on them; the rest stays."""
    options = BrokerOptions(
        check_first_after=0.05, check_interval=0.05, check_max=1, max_deliveries=1, retention=0.0, send_timeout=5.0
    )
    broker = EmbeddedBroker(path, options)
    producer, console = broker.producer("order"), broker.console()
    broker.consumer("stock", "good", lambda batch: [Verdict.ACK] * len(batch)).close()
    broker.consumer("stock", "bad", lambda batch: [Verdict.RETRY] * len(batch))
    kept = {
        State.DEAD: producer.send(Message("bad", b"", keys=("k",))),
        State.READY: producer.send(Message("good", b"", keys=("k",))),
        State.DELAYED: producer.send_at(Message("unheard", b"", keys=("k",)), now_ms() + 60_000),
        State.PARKED: producer.begin(Message(TOPIC, b"")).message_id,
    }
    eventually(lambda: console.find(state=State.DEAD) and console.find(state=State.PARKED))
    producer.resolve(producer.begin(Message(TOPIC, b"dropped", keys=("k",))), Resolution.ROLLBACK)
    for _ in range(600):
        producer.send(Message("unheard", b"x" * 5000, keys=("gone",)))
    broker.consumer("late", "unheard too", lambda batch: [Verdict.ACK] * len(batch))
    done = producer.send(Message("unheard too", b"", keys=("k",)))
    eventually(lambda: console.find(message_id=done, state=State.DONE))
    largest = path.stat().st_size + Path(f"{path}-wal").stat().st_size
    eventually(lambda: now_ms() > (view_of(broker, done).groups[0].done_at or 0))
    broker.purge()
    assert path.stat().st_size < largest / 10
    assert len(console.find(limit=1000)) == 4
    assert {state: view.message_id for state in kept for view in console.find(state=state)} == kept
    broker.close()
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT count(*) FROM message_keys").fetchone() == (3,)
        assert raw.execute("SELECT count(*) FROM checks").fetchone() == (1,)
        assert raw.execute("SELECT count(*) FROM deliveries").fetchone() == (2,)


def test_retention_deletes_so_many_rows_at_a_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages of many keys are deleted in more transactions."""
    with closing(BrokerFile(path, 30.0).first_connection) as other:
        assert claim_purge(other)  # or the broker would make a pass of its own beside ours
    broker = EmbeddedBroker(path, BrokerOptions(retention=0.0, send_timeout=5.0))
    producer = broker.producer("order")
    for n in range(4):
        producer.send(Message("unheard", b"", keys=tuple(f"{n}-{key}" for key in range(2000))))
    deleted: list[int] = []
    purge = housekeeping.purge_chunk

    def counted(connection: sqlite3.Connection, after: int, before: int, now: int) -> int | None:
        (keys,) = connection.execute("SELECT count(*) FROM message_keys").fetchone()
        position = purge(connection, after, before, now)
        (left,) = connection.execute("SELECT count(*) FROM message_keys").fetchone()
        deleted.append(keys - left)
        return position

    monkeypatch.setattr(housekeeping, "purge_chunk", counted)
    eventually(lambda: now_ms() > broker.console().find()[0].born_at)
    broker.purge()
    broker.close()
    assert max(deleted) == 4000
    assert sum(deleted) == 8000


def test_what_was_sent_while_the_clock_was_ahead_keeps_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch, set_clock: SetClock
) -> None:
    """They stay until their time is over; what came after them is deleted as ever."""
    monkeypatch.setattr(housekeeping, "_CHUNK", 3)
    broker = EmbeddedBroker(path, BrokerOptions(retention=60.0, send_timeout=5.0))
    producer = broker.producer("order")
    set_clock(1_000_000)
    ahead = {producer.send(Message("unheard", b"ahead")) for _ in range(4)}
    set_clock(0)
    for _ in range(3):
        producer.send(Message("unheard", b"then"))
    set_clock(100)
    broker.purge()
    assert {view.message_id for view in broker.console().find()} == ahead
    broker.close()


def test_messages_of_a_group_that_is_gone_can_go(path: Path) -> None:
    """Whatever a group never took is kept for it, until it is forgotten; it takes nothing from any other group."""
    broker = EmbeddedBroker(path, BrokerOptions(retention=0.0, send_timeout=5.0))
    producer, console = broker.producer("order"), broker.console()
    for topic in (TOPIC, "another"):
        broker.consumer("gone", topic, _acknowledge).close()
    handled = [producer.send(Message(TOPIC, b"%d" % n)) for n in range(3)]
    broker.consumer("stock", TOPIC, _acknowledge)
    eventually(lambda: all(v.groups[1].done_at for v in console.find(topic=TOPIC)))
    eventually(lambda: now_ms() > max(v.groups[1].done_at or 0 for v in console.find(topic=TOPIC)))
    broker.purge()
    assert [view.message_id for view in console.find()] == handled[::-1]
    console.forget("gone")
    assert console.stats().pending == 0
    broker.purge()
    assert console.find() == []
    with pytest.raises(GroupNotFound):
        console.forget("gone")
    broker.close()


def _acknowledge(got: Sequence[Delivery]) -> list[Verdict]:
    return [Verdict.ACK] * len(got)


def test_forgetting_goes_so_many_messages_at_a_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was due goes, and what it had done; another group starts from the oldest message kept."""
    monkeypatch.setattr(deliveries, "_FORGOTTEN", 2)
    broker = EmbeddedBroker(path, PATIENT)
    producer, console = broker.producer("order"), broker.console()
    broker.consumer("gone", TOPIC, _acknowledge)
    sent = [producer.send(Message(TOPIC, b"")) for _ in range(4)]
    eventually(lambda: console.stats().pending == 0)
    console.forget("gone")
    assert all(view.groups == () for view in console.find())
    assert broker._store.reader.query("SELECT count(*) FROM deliveries", ()) == [(0,)]
    broker.close()
    again = EmbeddedBroker(path, PATIENT)
    got: list[str] = []

    def handle(some: Sequence[Delivery]) -> list[Verdict]:
        got.extend(delivery.message_id for delivery in some)
        return [Verdict.ACK] * len(some)

    again.consumer("late", TOPIC, handle)
    eventually(lambda: got == sent)
    again.close()


def test_a_forgotten_group_s_consumer_takes_nothing_from_a_later_group(path: Path) -> None:
    """It was idle, and nobody stopped it: the number of its subscription is not given again."""
    broker = EmbeddedBroker(path, PATIENT)
    taken: list[str] = []

    def taking(group: str) -> Handler:
        def handle(some: Sequence[Delivery]) -> list[Verdict]:
            taken.extend(group for _ in some)
            return [Verdict.ACK] * len(some)

        return handle

    broker.consumer("gone", TOPIC, taking("gone"))
    broker.console().forget("gone")
    do = broker._store.writer.do
    numbers = [do(lambda connection: deliveries.subscribe(connection, "late", TOPIC)) for _ in range(2)]
    assert numbers == [2, 2]
    sent = [broker.producer("order").send(Message(TOPIC, b"")) for _ in range(3)]
    broker.consumer("late", TOPIC, taking("late"))
    eventually(lambda: len(taken) == len(sent))
    assert set(taken) == {"late"}
    broker.close()


def test_a_group_that_works_is_not_forgotten(path: Path) -> None:
    """Its messages would be lost, and its consumer deaf."""
    broker = EmbeddedBroker(path, PATIENT)
    working, release = threading.Event(), threading.Event()

    def hold(got: Sequence[Delivery]) -> list[Verdict]:
        working.set()
        release.wait(10)
        return [Verdict.ACK] * len(got)

    broker.consumer("stock", TOPIC, hold)
    broker.producer("order").send(Message(TOPIC, b""))
    assert working.wait(5)
    with pytest.raises(GroupInUse):
        broker.console().forget("stock")
    release.set()
    broker.close()


def test_young_messages_stay(broker: EmbeddedBroker) -> None:
    """Nothing goes before the retention is over."""
    message_id = broker.producer("order").send(Message(TOPIC, b""))
    broker.purge()
    assert [view.message_id for view in broker.console().find()] == [message_id]


def test_one_process_makes_the_pass(broker: EmbeddedBroker, path: Path) -> None:
    """Of the processes that share a file, one makes each retention pass."""
    eventually(lambda: not broker._store.writer.do(claim_purge))  # the broker's own first pass took this minute's
    with closing(Writer(BrokerFile(path, 30.0), 30.0)) as second:  # which waits while that pass still writes
        assert not second.do(claim_purge)
        second.do(lambda connection: connection.execute("UPDATE housekeeping SET purge_at = 0"))
        assert second.do(claim_purge)
        assert not second.do(claim_purge)
