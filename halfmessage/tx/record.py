"""The transaction record: the first to insert it, the local transaction or the checker, decides. It is the fence."""

from collections.abc import Collection
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    insert,
    select,
)
from sqlalchemy.exc import IntegrityError

from halfmessage.chunks import rows_in
from halfmessage.clock import now_ms
from halfmessage.db import Transactor
from halfmessage.errors import DuplicateRow, Unavailable
from halfmessage.ids import SNOWFLAKE, issued_at


class Outcome(StrEnum):
    """How a local transaction ended.

    `expired`: so long ago that a record of it may have been purged, so that there is no telling how. It can't commit
    any more; what it has written, or not, is all that is left of it. Nothing is ever delivered for it.
    """

    COMMITTED = "committed"
    ABORTED = "aborted"
    EXPIRED = "expired"


class AlreadyAborted(Unavailable):
    """The transaction took too long and was given up by its check-back; nothing was changed, try again."""


def record_table(metadata: MetaData, name: str = "transaction_records") -> Table:
    """Declare the table of records, called `name`; `decided_at` in ms since the epoch."""
    return Table(
        name,
        metadata,
        Column("tx_id", SNOWFLAKE, primary_key=True, autoincrement=False),
        Column("outcome", String(9), nullable=False),
        Column("decided_at", BigInteger, nullable=False, index=True),
    )


class Records:
    """Reads and writes transaction records in one service's database."""

    def __init__(self, table: Table, *, retention: float) -> None:
        """Take the table that `record_table` declared, and for how long a record may be asked for (seconds)."""
        self._table = table
        self._retention_ms = int(retention * 1000)
        # Made once: SQLAlchemy keeps what it compiled of them
        self._new = insert(table)
        columns, these = table.c, table.c.tx_id.in_(bindparam("tx_ids", expanding=True))
        self._outcomes = select(columns.tx_id, columns.outcome).where(these)
        self._old = (
            select(columns.tx_id)
            .where(columns.decided_at < bindparam("before"))
            .order_by(columns.decided_at)
            .limit(bindparam("most", type_=Integer))
        )

    def commit(self, connection: Connection, tx_id: int) -> None:
        """Insert `committed` as part of a local transaction.

        Raise `AlreadyAborted` if the fence is up, or may have been: a record as old as this would be may be purged,
        so a process that was suspended for that long gives up by itself.
        """
        if self._is_expired(tx_id):
            raise AlreadyAborted
        try:
            self._insert(connection, tx_id, Outcome.COMMITTED)
        except IntegrityError as error:
            raise AlreadyAborted from error

    def find(self, connection: Connection, tx_ids: Collection[int]) -> dict[int, Outcome]:
        """Return the outcomes that are decided."""
        rows = rows_in(connection, self._outcomes, "tx_ids", tx_ids)
        return {tx_id: Outcome(outcome) for tx_id, outcome in rows}

    def decided(self, connection: Connection, tx_ids: Collection[int]) -> dict[int, tuple[Outcome, int]]:
        """Return the outcomes that are decided, each with when that was (ms since the epoch)."""
        columns = self._table.c
        query = select(columns.tx_id, columns.outcome, columns.decided_at).where(
            columns.tx_id.in_(bindparam("tx_ids", expanding=True))
        )
        rows = rows_in(connection, query, "tx_ids", tx_ids)
        return {tx_id: (Outcome(outcome), int(decided_at)) for tx_id, outcome, decided_at in rows}

    def fence(self, database: Transactor, tx_id: int) -> Outcome:
        """Decide an open transaction as `aborted`, and return what it is decided as: maybe it was, meanwhile.

        One that is older than records are kept is decided as `expired`: it was open or its record is purged. The row
        is the fence against a local transaction whose clock is behind ours, as well.
        Raise `DatabaseUnavailable` or `CommitOutcomeUnknown`: ask again.
        """
        outcome = Outcome.EXPIRED if self._is_expired(tx_id) else Outcome.ABORTED
        try:
            database.transact(lambda connection: self._insert(connection, tx_id, outcome))
        except DuplicateRow:
            with database.read() as connection:
                return self.find(connection, [tx_id])[tx_id]
        return outcome

    def purge(self, connection: Connection, limit: int) -> int:
        """Delete up to `limit` records that can't be asked for any more; return how many.

        They are kept twice as long as they may be asked for: clocks may differ, and decisions be late, by as much.
        """
        before = now_ms() - 2 * self._retention_ms
        old = connection.scalars(self._old, {"before": before, "most": limit}).all()
        if old:
            connection.execute(delete(self._table).where(self._table.c.tx_id.in_(old)))
        return len(old)

    def _is_expired(self, tx_id: int) -> bool:
        return now_ms() - issued_at(tx_id) > self._retention_ms

    def _insert(self, connection: Connection, tx_id: int, outcome: Outcome) -> None:
        connection.execute(self._new, {"tx_id": tx_id, "outcome": outcome.value, "decided_at": now_ms()})
