"""64-bit ids in time order (snowflakes), from worker ids that are leased from the database, never configured.

A lease is a row `(worker_id, owner, expires_at)`. Its owner issues only ids whose own timestamp lies before
`expires_at`, and a worker id changes hands only after that, so no two processes ever issue the same id, however
long one of them was paused. Layout (Twitter's): 41 bits of ms since `EPOCH`, 10 of worker, 12 of sequence.
"""

import threading
import time
import uuid
from typing import Protocol

import structlog
from snowflake import MAX_INSTANCE, SnowflakeGenerator
from sqlalchemy import BigInteger, Column, Connection, Integer, MetaData, String, Table, insert, select, update

from common.clock import now_ms
from common.db import Database
from common.errors import ClockWentBack, DuplicateRow, LeaseLost, OrdersError

EPOCH = 1_704_067_200_000  # 2024-01-01T00:00:00Z; ids last until 2093
SNOWFLAKE = BigInteger().with_variant(Integer, "sqlite")
"""The column type of ids that are primary keys: SQLite stores such a table by it, without an index beside it."""

_CLOCK_TOLERANCE = 100  # ms that a clock may go back and be waited for
_HANDOVER = 1_000  # ms between the end of a lease and its next owner, for clocks that differ

log = structlog.get_logger()


class IdSource(Protocol):
    """Issues ids."""

    def next(self) -> int:
        """Return an id no other process issues. Raise `LeaseLost` or `ClockWentBack`."""


def lease_table(metadata: MetaData) -> Table:
    """Declare the table of leases."""
    return Table(
        "worker_leases",
        metadata,
        Column("worker_id", Integer, primary_key=True, autoincrement=False),
        Column("owner", String(64), nullable=False),
        Column("expires_at", BigInteger, nullable=False),
    )


def issued_at(snowflake: int) -> int:
    """Return when an id was issued, in ms since the epoch (1970)."""
    return (snowflake >> 22) + EPOCH


class LeasedIds:
    """Issues ids under a lease that a thread of its own renews."""

    def __init__(self, database: Database, owner: str, *, lease_seconds: float = 15.0) -> None:
        """Prepare; `start` takes the lease. `owner` names the service in the table."""
        self._database = database
        self._owner = f"{owner}-{uuid.uuid4().hex}"[:64]
        self._lease_ms = int(lease_seconds * 1000)
        self._leases = lease_table(MetaData())
        self._lock = threading.Lock()
        self._generator: SnowflakeGenerator | None = None
        self._worker_id = -1
        self._expires_at = 0
        self._issued_until = 0  # no id of this lease was issued at this time (ms) or later
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="worker-id-lease", daemon=True)

    @property
    def worker_id(self) -> int:
        """The worker id leased last."""
        return self._worker_id

    def start(self) -> None:
        """Take a lease and keep it. Raise `DatabaseUnavailable`, or `LeaseLost` when all worker ids are taken."""
        self._acquire()
        self._thread.start()

    def next(self) -> int:
        """Return the next id. Raise `LeaseLost` or `ClockWentBack`."""
        with self._lock:
            generator, give_up_at = self._generator, time.monotonic() + _CLOCK_TOLERANCE / 1000
            while generator is not None:
                snowflake = next(generator)
                if snowflake is not None:
                    if issued_at(snowflake) < self._expires_at:
                        self._issued_until = issued_at(snowflake) + 1
                        return int(snowflake)
                    break
                if time.monotonic() > give_up_at:  # more than a full sequence of this millisecond: it went back
                    raise ClockWentBack
                time.sleep(0.0005)
        raise LeaseLost

    def ask(self) -> None:
        """Raise `LeaseLost` unless there are ids now."""
        with self._lock:
            if self._generator is None or now_ms() >= self._expires_at:
                raise LeaseLost

    def renew(self) -> None:
        """Extend the lease, or take a new one where it was lost. Raise `DatabaseUnavailable` or `LeaseLost`."""
        now, leases = now_ms(), self._leases
        expires_at = max(now + self._lease_ms, self._expires_at)  # never earlier: the clock may have gone back

        def extend(connection: Connection) -> bool:
            mine = (leases.c.worker_id == self._worker_id) & (leases.c.owner == self._owner)
            changed = connection.execute(
                update(leases).where(mine & (leases.c.expires_at > now)).values(expires_at=expires_at)
            )
            return changed.rowcount == 1

        if now < self._expires_at and self._database.transact(extend):
            with self._lock:
                self._expires_at = expires_at
        else:
            self._acquire()

    def close(self) -> None:
        """Stop issuing, and end the lease now so that another process can have it."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join()
        with self._lock:
            self._generator = None
        ended_at = max(now_ms(), self._issued_until)
        mine = (self._leases.c.worker_id == self._worker_id) & (self._leases.c.owner == self._owner)
        try:
            self._database.transact(lambda c: c.execute(update(self._leases).where(mine).values(expires_at=ended_at)))
        except OrdersError as error:
            log.info("worker id not given back; its lease runs out by itself", reason=error.detail)

    def _keep(self) -> None:
        """Renew the lease thrice in its time; while that fails much more often, for nothing goes on without ids."""
        every = self._lease_ms / 3000
        pause = every
        while not self._closing.wait(pause):
            try:
                self.renew()
                pause = every
            except OrdersError as error:
                pause = every / 10
                log.warning("worker id lease not renewed", reason=error.detail, worker_id=self._worker_id)

    def _acquire(self) -> None:
        now = now_ms()
        expires_at = now + self._lease_ms
        while True:
            try:
                worker_id = self._database.transact(lambda c: self._take(c, now, expires_at))
                break
            except DuplicateRow:
                continue  # another process inserted the same one first
        with self._lock:
            self._generator = SnowflakeGenerator(worker_id, epoch=EPOCH)
            self._worker_id, self._expires_at = worker_id, expires_at
        log.info("worker id leased", worker_id=worker_id)

    def _take(self, connection: Connection, now: int, expires_at: int) -> int:
        leases = self._leases
        rows = connection.execute(select(leases.c.worker_id, leases.c.expires_at))
        known = {row.worker_id: row.expires_at for row in rows}
        for worker_id, until in sorted(known.items()):
            if until + _HANDOVER < now:
                taken = connection.execute(
                    update(leases)
                    .where((leases.c.worker_id == worker_id) & (leases.c.expires_at == until))
                    .values(owner=self._owner, expires_at=expires_at)
                )
                if taken.rowcount == 1:
                    return int(worker_id)
        free = next((i for i in range(MAX_INSTANCE + 1) if i not in known), None)
        if free is None:
            raise LeaseLost("All 1,024 worker ids are leased; ids are issued again when a lease runs out.")
        connection.execute(insert(leases).values(worker_id=free, owner=self._owner, expires_at=expires_at))
        return free
