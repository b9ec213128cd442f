"""Idempotency keys are kept for so long, and no longer: a key that comes again after that is a new one."""

from sqlalchemy import Connection, delete, select, tuple_

from common.chunks import VALUES
from common.clock import now_ms
from common.db import Database
from common.ids import EPOCH
from order.model import idempotency_keys

_KEY = (idempotency_keys.c.user_id, idempotency_keys.c.idempotency_key)


class Forgetting:
    """Purges idempotency keys by the age of the orders that they made."""

    def __init__(self, database: Database, *, retention: float) -> None:
        """Take the order service's database, and for how long a key is kept (seconds)."""
        self._database = database
        self._retention_ms = int(retention * 1000)

    def run(self) -> int:
        """Delete the keys of orders that were asked for longer ago, so many at a time; return how many.

        Raise `DatabaseUnavailable` or `CommitOutcomeUnknown`: the next run goes on.
        """
        issued_before = max(0, now_ms() - self._retention_ms - EPOCH) << 22
        purged = 0
        while more := self._database.transact(lambda connection: _purge(connection, issued_before)):
            purged += more
        return purged


def _purge(connection: Connection, issued_before: int) -> int:
    order_id = idempotency_keys.c.order_id
    old = connection.execute(select(*_KEY).where(order_id < issued_before).order_by(order_id).limit(VALUES)).all()
    if old:
        connection.execute(delete(idempotency_keys).where(tuple_(*_KEY).in_([tuple(key) for key in old])))
    return len(old)
