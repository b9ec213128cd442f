"""64-bit ids in time order (snowflakes), from worker ids that are leased from the database, never configured.

A lease is a row `(worker_id, owner, expires_at)`, and stands for a stretch of time: its owner issues only ids whose own
timestamp lies between the time at which it took the lease and `expires_at`, and a worker id changes hands only to
an owner whose time is later than that. So stretches of one worker id never overlap, and no two processes ever issue
the same id, whatever their clocks say and however long one of them was paused.

A clock that goes back leaves a stretch before it is used up: within a tolerance ids go on from the last one, beyond
it another worker id is leased, and the old one rests until its stretch is over. From then until the clock has caught
up, new ids are lower than those from before: in time order as the clock tells it, not as they were issued.

Layout (Twitter's): 41 bits of ms since `EPOCH`, 10 of worker, 12 of sequence.
"""

import threading
import uuid
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import structlog
from snowflake import MAX_INSTANCE, MAX_SEQ, MAX_TS
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    Update,
    bindparam,
    insert,
    select,
    update,
)

from halfmessage.clock import now_ms
from halfmessage.db import Transactor
from halfmessage.errors import ClockWentBack, DuplicateRow, HalfMessageError, LeaseLost

EPOCH = 1_704_067_200_000  # 2024-01-01T00:00:00Z; ids last until 2093
SNOWFLAKE = BigInteger().with_variant(Integer, "sqlite")
"""The column type of ids that are primary keys: SQLite stores such a table by it, without an index beside it."""

_CLOCK_TOLERANCE = 500  # ms that ids may lie ahead of the clock, because it went back or they are issued that fast
_HANDOVER = 1_000  # ms between the end of a lease and its next owner, for clocks that differ

log = structlog.get_logger()


class IdSource(Protocol):
    """Issues ids."""

    def next(self) -> int:
        """Return an id no other process issues. Raise `LeaseLost` or `ClockWentBack`."""


WORKERS = range(MAX_INSTANCE + 1)
"""All worker ids."""
LEASES = "worker_leases"
"""The table of leases, unless called otherwise."""


def lease_table(metadata: MetaData, name: str = LEASES) -> Table:
    """Declare the table of leases, called `name`; `expires_at` in ms since the epoch."""
    return Table(
        name,
        metadata,
        Column("worker_id", Integer, primary_key=True, autoincrement=False),
        Column("owner", String(64), nullable=False),
        Column("expires_at", BigInteger, nullable=False),
    )


# Tables and statements are made once, for every lease is renewed as long as its process lives: SQLAlchemy keeps what it
# compiled of them.


@lru_cache
def _leases(name: str) -> Table:
    """Return the table of that name."""
    return lease_table(MetaData(), name)


@lru_cache
def _extend(leases: Table) -> Update:
    """Return the statement that makes `mine` last `until`, unless it is over `now`."""
    columns = leases.c
    mine = (columns.worker_id == bindparam("mine")) & (columns.owner == bindparam("me"))
    is_there = columns.expires_at > bindparam("now")
    return update(leases).where(mine & is_there).values(expires_at=bindparam("until"))


def issued_at(snowflake: int) -> int:
    """Return when an id was issued, in ms since the epoch (1970)."""
    return (snowflake >> 22) + EPOCH


def first_of(at: int) -> int:
    """Return what all ids are below that were issued before a time (ms since the epoch, 1970)."""
    return max(0, at - EPOCH) << 22


@dataclass(slots=True)
class _Lease:
    """A stretch of time of one worker id, and how far ids have used it up. Times in ms since the epoch (1970)."""

    worker_id: int
    expires_at: int
    last: int
    """The time of the last id; of a new lease the time at which it begins."""
    sequence: int = -1

    def check(self, now: int) -> None:
        """Raise `LeaseLost` or `ClockWentBack` where no id can be issued."""
        if max(now, self.last) >= self.expires_at:
            raise LeaseLost
        if self.last - now > _CLOCK_TOLERANCE:
            raise ClockWentBack

    def issue(self, now: int) -> int:
        """Return the next id. Raise `LeaseLost` or `ClockWentBack`."""
        self.check(now)
        at, sequence = (now, 0) if now > self.last else (self.last, self.sequence + 1)
        if sequence > MAX_SEQ:
            at, sequence = at + 1, 0
            if at >= self.expires_at:
                raise LeaseLost
        self.last, self.sequence = at, sequence
        return (at - EPOCH) << 22 | self.worker_id << 12 | sequence

    @property
    def ends_at(self) -> int:
        """From when on no id has been issued."""
        return self.last + 1 if self.sequence >= 0 else self.last


class LeasedIds:
    """Issues ids under a lease that a thread of its own renews."""

    def __init__(
        self,
        database: Transactor,
        owner: str,
        *,
        lease_seconds: float = 15.0,
        table: str = LEASES,
        workers: range = WORKERS,
    ) -> None:
        """Prepare; `start` takes the lease in the table of that name. `owner` names the service there.

        `workers`: the worker ids that it may have. Services with databases of their own whose ids must differ all the
        same take different ones.
        """
        self._database = database
        self._workers = workers
        self._owner = f"{owner}-{uuid.uuid4().hex}"[:64]
        self._lease_ms = int(lease_seconds * 1000)
        self._leases = _leases(table)
        self._lock = threading.Lock()
        self._lease: _Lease | None = None
        self._worker_id = -1
        self._closing = threading.Event()
        self._wanted = threading.Event()  # somebody got no id: look now
        self._thread = threading.Thread(target=self._keep, name="worker-id-lease", daemon=True)

    @property
    def worker_id(self) -> int:
        """The worker id leased last."""
        return self._worker_id

    def start(self) -> None:
        """Take a lease and keep it. Raise `DatabaseUnavailable`, `ClockWentBack`, or `LeaseLost` when all are taken."""
        self._acquire()
        self._thread.start()

    def next(self) -> int:
        """Return the next id. Raise `LeaseLost` or `ClockWentBack`; then a lease that has ids is looked for at once."""
        try:
            with self._lock:
                return self._held().issue(now_ms())
        except (LeaseLost, ClockWentBack):
            self._wanted.set()
            raise

    def ask(self) -> None:
        """Raise `LeaseLost` or `ClockWentBack` unless there are ids now; as `next` does, but for the id."""
        try:
            with self._lock:
                self._held().check(now_ms())
        except (LeaseLost, ClockWentBack):
            self._wanted.set()
            raise

    def renew(self) -> None:
        """Extend the lease, or take a new one where it has no ids any more.

        Raise `DatabaseUnavailable`, `LeaseLost` or `ClockWentBack`.
        """
        now = now_ms()
        with self._lock:
            lease = self._lease
            try:
                self._held().check(now)
            except (LeaseLost, ClockWentBack) as error:
                log.warning("worker id given up", reason=error.detail, **_told(lease, now))
                lease = None
        if lease is None or not self._extended(lease, now):
            self._acquire()

    def close(self) -> None:
        """Stop issuing, and end the lease now so that another process can have it."""
        self._closing.set()
        self._wanted.set()
        if self._thread.ident is not None:
            self._thread.join()
        with self._lock:
            lease, self._lease = self._lease, None
        if lease is None:
            return
        mine = (self._leases.c.worker_id == lease.worker_id) & (self._leases.c.owner == self._owner)
        ended = update(self._leases).where(mine).values(expires_at=lease.ends_at)
        try:
            self._database.transact(lambda c: c.execute(ended))
        except HalfMessageError as error:
            log.info("worker id not given back; its lease runs out by itself", reason=error.detail)

    def _held(self) -> _Lease:
        if self._lease is None:
            raise LeaseLost
        return self._lease

    def _keep(self) -> None:
        """Renew three times a lease, and at once when an id was wanted in vain; after a failure ten times faster."""
        every, failed = self._lease_ms / 3000, False
        while not self._closing.wait(every / 10):
            if not failed:
                self._wanted.wait(every)
            self._wanted.clear()
            if self._closing.is_set():
                return
            failed = False
            try:
                self.renew()
            except HalfMessageError as error:
                failed = True
                log.warning("worker id lease not renewed", reason=error.detail, worker_id=self.worker_id)

    def _extended(self, lease: _Lease, now: int) -> bool:
        expires_at = max(now + self._lease_ms, lease.expires_at)  # never earlier: the clock may have gone back
        named = {"mine": lease.worker_id, "me": self._owner, "now": now, "until": expires_at}
        extend = _extend(self._leases)
        if self._database.transact(lambda connection: connection.execute(extend, named).rowcount) != 1:
            return False
        with self._lock:
            lease.expires_at = expires_at
        return True

    def _acquire(self) -> None:
        now = now_ms()
        if not EPOCH <= now < EPOCH + MAX_TS:
            raise ClockWentBack("The clock of this machine is set to a time that ids can't tell: they do 2024 to 2093.")
        expires_at = now + self._lease_ms
        while True:
            try:
                worker_id = self._database.transact(lambda c: self._take(c, now, expires_at))
                break
            except DuplicateRow:
                continue  # another process inserted the same one first
        with self._lock:
            self._worker_id = worker_id
            self._lease = _Lease(worker_id, expires_at, last=now)  # whatever the clock says by now
        log.info("worker id leased", worker_id=worker_id)

    def _take(self, connection: Connection, now: int, expires_at: int) -> int:
        leases = self._leases
        rows = connection.execute(select(leases.c.worker_id, leases.c.expires_at))
        known = {row.worker_id: row.expires_at for row in rows}
        for worker_id, until in sorted(known.items()):
            if worker_id in self._workers and until + _HANDOVER < now:
                taken = connection.execute(
                    update(leases)
                    .where((leases.c.worker_id == worker_id) & (leases.c.expires_at == until))
                    .values(owner=self._owner, expires_at=expires_at)
                )
                if taken.rowcount == 1:
                    return int(worker_id)
        free = next((i for i in self._workers if i not in known), None)
        if free is None:
            many = f"{len(self._workers):,}"
            raise LeaseLost(f"All {many} worker ids are leased; ids are issued again when a lease runs out.")
        connection.execute(insert(leases).values(worker_id=free, owner=self._owner, expires_at=expires_at))
        return free


def _told(lease: _Lease | None, now: int) -> dict[str, float]:
    """Return what a log line tells of a lease: how far its last id is ahead of the clock (below zero: behind), in s."""
    return {} if lease is None else {"worker_id": lease.worker_id, "ids_ahead": (lease.last - now) / 1000}
