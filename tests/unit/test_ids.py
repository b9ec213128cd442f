"""Ids: unique whatever happens to clocks, leases and processes, and in time order."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, insert, select, update

from common.db import Database
from halfmessage import ids as ids_module
from halfmessage.clock import now_ms
from halfmessage.errors import ClockWentBack, DatabaseUnavailable, DuplicateRow, LeaseLost
from halfmessage.ids import EPOCH, LeasedIds, issued_at, lease_table
from tests.support import eventually

METADATA = MetaData()
LEASES = lease_table(METADATA)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/ids.db")
    METADATA.create_all(database.engine)
    yield database
    database.close()


class Clock:
    """A wall clock to be set, in ms since the epoch; stands still by itself."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = now_ms()
        monkeypatch.setattr(ids_module, "now_ms", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def _unkept(database: Database, **options: Any) -> LeasedIds:
    """Return ids with a lease that no thread renews: the test does."""
    ids = LeasedIds(database, "test", **options)
    ids._acquire()
    return ids


def _rows(database: Database) -> dict[int, tuple[str, int]]:
    with database.read() as connection:
        return {row.worker_id: (row.owner, row.expires_at) for row in connection.execute(select(LEASES))}


def test_time_order_and_time(database: Database) -> None:
    """Ids of one process rise, fit into 63 bits, and tell when they were issued."""
    ids = _unkept(database)
    before = now_ms()
    issued = [ids.next() for _ in range(10_000)]
    assert issued == sorted(set(issued))
    assert before <= issued_at(issued[0]) <= issued_at(issued[-1]) <= now_ms()
    assert 0 < issued[-1] < 2**63
    assert before > EPOCH


def test_services_whose_ids_meet_have_other_workers(database: Database) -> None:
    """A service takes worker ids of its own range only, also those that are free again, and none beyond it."""
    leased = [_unkept(database, workers=range(3, 5)).worker_id for _ in range(2)]
    assert leased == [3, 4]
    with pytest.raises(LeaseLost, match="All 2 worker ids"):
        _unkept(database, workers=range(3, 5))
    database.transact(lambda connection: connection.execute(update(LEASES).values(expires_at=0)))
    assert _unkept(database, workers=range(5, 9)).worker_id == 5
    assert _unkept(database, workers=range(4, 9)).worker_id == 4


def test_unique_across_threads_and_processes(database: Database) -> None:
    """Two processes on one database have different worker ids; none of their threads ever gets the same id."""
    both = [_unkept(database), _unkept(database)]
    assert both[0].worker_id != both[1].worker_id
    issued: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda ids=ids: issued.append([ids.next() for _ in range(3000)])) for ids in both * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({i for part in issued for i in part}) == 18_000


def test_many_start_at_once(database: Database) -> None:
    """Processes that start at the same moment get different worker ids."""
    started: list[LeasedIds] = []
    threads = [threading.Thread(target=lambda: started.append(_unkept(database))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({ids.worker_id for ids in started}) == 8


def test_other_process_takes_the_free_one_first(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another process inserts the same worker id first, the next free one is taken."""
    ids = LeasedIds(database, "test")
    take, tries = ids._take, []

    def raced(*args: Any) -> int:
        tries.append(1)
        if len(tries) == 1:
            raise DuplicateRow
        return take(*args)

    monkeypatch.setattr(ids, "_take", raced)
    ids._acquire()
    assert len(tries) == 2
    assert ids.next()


def test_none_before_start(database: Database) -> None:
    """No lease, no id."""
    with pytest.raises(LeaseLost):
        LeasedIds(database, "test").next()


def test_renewed(database: Database) -> None:
    """A thread extends the lease long before it runs out, keeping the worker id."""
    # a busy machine may do nothing for a good part of a second
    with closing(LeasedIds(database, "test", lease_seconds=1)) as ids:
        ids.start()
        ((worker_id, (owner, first)),) = _rows(database).items()
        eventually(lambda: _rows(database)[worker_id][1] > first + 1_000)
        assert _rows(database)[worker_id][0] == owner
        assert ids.worker_id == worker_id


def test_renewing_is_written_down(database: Database, clock: Clock) -> None:
    """A lease that is extended is so for all processes that read the table, as for the process itself."""
    ids = _unkept(database)
    before = _rows(database)[ids.worker_id][1]
    clock.now += 3_000
    ids.renew()
    assert _rows(database) == {ids.worker_id: (ids._owner, before + 3_000)}


def test_keeper_survives_a_broken_database(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the database is down the lease runs out and ids stop; once it is back there are ids again."""
    ids = LeasedIds(database, "test", lease_seconds=0.06)
    ids.start()
    refused = threading.Semaphore(0)
    with monkeypatch.context() as patch:

        def down(_: object) -> None:
            refused.release()
            raise DatabaseUnavailable

        patch.setattr(database, "transact", down)
        for _ in range(2):  # it has met the fault, and has tried again: a lease can run out without either
            assert refused.acquire(timeout=10)
        eventually(lambda: _stopped(ids))
    eventually(lambda: not _stopped(ids))
    ids.close()


def test_a_renewal_that_failed_is_tried_again_soon(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only when the next one is due: until then a service whose database is back would have no ids."""
    ids = LeasedIds(database, "test", lease_seconds=30.0)
    outcomes = iter([None, DatabaseUnavailable(), DatabaseUnavailable(), None, None])
    waited: list[float] = []

    def renew() -> None:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome

    def breathe(seconds: float) -> bool:
        waited.append(seconds)
        return waited.count(1.0) > 5

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        return False

    monkeypatch.setattr(ids, "renew", renew)
    monkeypatch.setattr(ids._closing, "wait", breathe)
    monkeypatch.setattr(ids._wanted, "wait", wait)
    ids._keep()
    assert waited == [1.0, 10.0, 1.0, 10.0, 1.0, 1.0, 1.0, 10.0, 1.0]


@pytest.mark.parametrize("hours", [-1, 1])
@pytest.mark.parametrize("want", ["next", "ask"])
def test_who_finds_no_ids_has_a_lease_looked_for_at_once(
    database: Database, clock: Clock, hours: int, want: str
) -> None:
    """Not when the next renewal is due, which with this lease is 20 minutes later."""
    ids = LeasedIds(database, "test", lease_seconds=3600)
    ids._closing.wait = lambda _=None: ids._closing.is_set()  # type: ignore[method-assign] - no pause between two
    ids.start()
    before = ids.next()
    clock.now += hours * 3_600_000 + 1
    with pytest.raises((LeaseLost, ClockWentBack)):
        getattr(ids, want)()
    eventually(lambda: not _stopped(ids))
    assert ids.next() != before
    ids.close()


def test_whether_there_are_ids_is_told_without_taking_one(database: Database, clock: Clock) -> None:
    """As long as the lease holds, and not before it was taken."""
    ids = LeasedIds(database, "test", lease_seconds=1.0)
    with pytest.raises(LeaseLost):
        ids.ask()
    ids.renew()
    ids.ask()
    clock.now += 1_000
    with pytest.raises(LeaseLost):
        ids.ask()


def _stopped(ids: LeasedIds) -> bool:
    try:
        ids.next()
    except (LeaseLost, ClockWentBack):
        return True
    return False


def test_never_at_or_after_expiry(database: Database, clock: Clock) -> None:
    """The last id is issued in the last millisecond of the lease, none from then on, though nothing tells it."""
    ids = _unkept(database, lease_seconds=1.0)
    expires_at = _rows(database)[ids.worker_id][1]
    clock.now = expires_at - 1
    assert issued_at(ids.next()) == expires_at - 1
    for now in (expires_at, expires_at + 60_000):
        clock.now = now
        with pytest.raises(LeaseLost):
            ids.next()


def test_paused_process_after_handover(database: Database, clock: Clock) -> None:
    """A process paused until its worker id is another's issues nothing under it, and gets itself another one."""
    paused = _unkept(database, lease_seconds=1.0)
    old = paused.worker_id
    clock.now += 2_001
    other = _unkept(database, lease_seconds=1.0)
    assert other.worker_id == old
    with pytest.raises(LeaseLost):
        paused.next()
    paused.renew()
    assert paused.worker_id != old
    assert paused.next() != other.next()


def test_no_handover_before_its_time(database: Database, clock: Clock) -> None:
    """A worker id changes hands only a while after its lease, for clocks that differ."""
    first = _unkept(database, lease_seconds=1.0)
    clock.now += 2_000
    assert _unkept(database).worker_id != first.worker_id


def test_row_taken_while_we_believed_in_it(database: Database) -> None:
    """A row that carries another owner's name is not renewed: a new worker id is taken instead."""
    ids = _unkept(database)
    old = ids.worker_id
    database.transact(lambda c: c.execute(update(LEASES).values(owner="somebody else")))
    ids.renew()
    assert ids.worker_id != old
    assert _rows(database)[old][0] == "somebody else"


def test_row_expired_in_the_database(database: Database) -> None:
    """A lease whose end in the database has passed is not extended, even by its owner."""
    ids = _unkept(database)
    database.transact(lambda c: c.execute(update(LEASES).values(expires_at=now_ms())))
    old = ids.worker_id
    ids.renew()
    assert ids.worker_id != old


def test_lost_race_for_an_expired_one(database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """An expired worker id that another process takes in between is left to it."""
    first = _unkept(database, lease_seconds=1.0)
    clock.now += 5_000
    ids = LeasedIds(database, "test")
    lowered = update(LEASES).values(expires_at=LEASES.c.expires_at + 60_000)

    def take(connection: Any, now: int, expires_at: int) -> int:
        execute = connection.execute

        def raced(statement: Any) -> Any:
            if statement.is_update:
                execute(lowered)
            return execute(statement)

        monkeypatch.setattr(connection, "execute", raced)
        return LeasedIds._take(ids, connection, now, expires_at)

    monkeypatch.setattr(ids, "_take", take)
    ids._acquire()
    assert ids.worker_id != first.worker_id


def test_all_taken(database: Database) -> None:
    """With all 1,024 worker ids leased there are no ids, until one runs out."""
    rows = [{"worker_id": i, "owner": "other", "expires_at": now_ms() + 60_000} for i in range(1024)]
    database.transact(lambda c: c.execute(insert(LEASES), rows))
    ids = LeasedIds(database, "test")
    with pytest.raises(LeaseLost, match="1,024"):
        ids.start()
    expired = update(LEASES).where(LEASES.c.worker_id == 700).values(expires_at=0)
    database.transact(lambda c: c.execute(expired))
    ids.renew()
    assert ids.worker_id == 700
    assert ids.next()
    ids.close()


def test_closed_gives_it_back(database: Database, clock: Clock) -> None:
    """A closed process issues no ids, and its worker id is free after the handover."""
    ids = LeasedIds(database, "test", lease_seconds=3600)
    ids.start()
    ids.close()
    with pytest.raises(LeaseLost):
        ids.next()
    clock.now += 1_001
    assert _unkept(database).worker_id == ids.worker_id


def test_close_without_database(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing succeeds without the database: the lease runs out by itself."""
    ids = _unkept(database)

    def down(_: object) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(database, "transact", down)
    ids.close()
    with pytest.raises(LeaseLost):
        ids.next()


def test_clock_back_a_little(database: Database, clock: Clock) -> None:
    """Within the tolerance ids go on from the last one, rising, without a wait and without a new lease."""
    ids = _unkept(database)
    issued = [ids.next()]
    clock.now -= 490
    issued += [ids.next() for _ in range(5000)]
    assert issued == sorted(set(issued))
    ids.ask()
    ids.renew()
    assert len(_rows(database)) == 1


def test_clock_back_a_lot(database: Database, clock: Clock) -> None:
    """Further back there are none until another worker id is leased; the row of the first stays as it was."""
    ids = _unkept(database)
    first, issued = ids.worker_id, [ids.next() for _ in range(10)]
    before = _rows(database)[first]
    clock.now -= 3_600_000
    with pytest.raises(ClockWentBack):
        ids.next()
    with pytest.raises(ClockWentBack):
        ids.ask()
    ids.renew()
    assert ids.worker_id != first
    assert _rows(database)[first] == before
    issued += [ids.next() for _ in range(10)]
    assert issued_at(issued[-1]) == clock.now
    assert len(set(issued)) == 20


def test_clock_forward_and_back(database: Database, clock: Clock) -> None:
    """Ids of the hour ahead are not issued again when the clock comes there; its worker id rests until then."""
    ids = _unkept(database)
    issued = []
    for step in (3_600_000, -3_600_000, 3_600_000):
        clock.now += step
        ids.renew()
        issued += [ids.next() for _ in range(3)]
    assert len(set(issued)) == 9


def test_clock_back_while_a_lease_is_taken(database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease begins when it was asked for: an id from before could be one of the owner before."""
    before = _unkept(database, lease_seconds=1.0)
    issued = [before.next()]
    clock.now += 2_001
    transact = database.transact

    def slow(work: Any) -> Any:
        clock.now -= 2_001
        return transact(work)

    ids = LeasedIds(database, "test")
    with monkeypatch.context() as patch:
        patch.setattr(database, "transact", slow)
        ids._acquire()
    assert ids.worker_id == before.worker_id
    with pytest.raises(ClockWentBack):
        ids.next()
    clock.now += 1_501
    assert issued_at(ids.next()) > before._held().expires_at > issued_at(issued[0])


def test_restarts_while_the_clock_is_back(database: Database, clock: Clock) -> None:
    """Rows that lie in the future stay; a service that starts again and again has another one, the same each time."""
    for _ in range(3):
        _unkept(database)
    clock.now -= 3_600_000
    for _ in range(20):
        ids = _unkept(database)
        ids.next()
        ids.close()
        clock.now += 1_100
    assert len(_rows(database)) == 4


def test_clock_before_all_ids(database: Database, clock: Clock) -> None:
    """A machine without a battery starts in 1970: no lease, and a line that says why; the same far in the future."""
    for now in (0, EPOCH - 1, EPOCH + 2**41):
        clock.now = now
        with pytest.raises(ClockWentBack, match="2024"):
            LeasedIds(database, "test").start()
    assert _rows(database) == {}


def test_sequence_full(database: Database, clock: Clock) -> None:
    """More than 4,096 ids in one millisecond go on in the next, up to the end of the lease or the tolerance."""
    ids = _unkept(database, lease_seconds=0.003)
    issued = [ids.next() for _ in range(3 * 4096)]
    assert issued == sorted(set(issued))
    assert issued_at(issued[-1]) == clock.now + 2
    with pytest.raises(LeaseLost):
        ids.next()


def test_clock_back_during_renewal(database: Database, clock: Clock) -> None:
    """A renewal after the clock went back does not shorten the lease below ids that were issued already."""
    ids = _unkept(database, lease_seconds=1.0)
    clock.now += 900
    last = ids.next()
    clock.now -= 50_000
    ids.renew()
    clock.now += 50_000
    other = _unkept(database)
    assert other.next() != last


def test_clock_back_before_close(database: Database, clock: Clock) -> None:
    """A worker id given back after the clock went back is no one's before its ids' own time has passed."""
    ids = _unkept(database, lease_seconds=60.0)
    last = ids.next()
    clock.now -= 10_000
    ids.close()
    clock.now += 5_000
    assert _unkept(database).worker_id != ids.worker_id
    clock.now = issued_at(last) + 1_002
    assert _unkept(database).worker_id == ids.worker_id
