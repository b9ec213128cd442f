"""What is kept about placed orders for so long, and no longer: Idempotency-Keys, and the ids of the calls.

A key that comes again after that is a new one.
"""

from sqlalchemy import Connection, delete, select

from common import idempotency
from common.db import Database
from halfmessage.chunks import VALUES
from halfmessage.clock import now_ms
from halfmessage.ids import EPOCH
from order.model import idempotency_keys, placing_calls


def forget_keys(database: Database, retention: float) -> int:
    """Delete the keys of orders that were asked for longer ago than `retention` seconds; return how many.

    An order's id tells when it was asked for. Raise as `idempotency.purge` does.
    """
    return idempotency.purge(database, idempotency_keys.c.order_id, _issued_before(retention))


def forget_calls(database: Database, retention: float) -> int:
    """Delete the ids of calls that placed orders longer ago than `retention` seconds; return how many. As above."""
    order_id, before = placing_calls.c.order_id, _issued_before(retention)

    def some(connection: Connection) -> int:
        old = connection.scalars(select(order_id).where(order_id < before).order_by(order_id).limit(VALUES)).all()
        if old:
            connection.execute(delete(placing_calls).where(order_id.in_(old)))
        return len(old)

    purged = 0
    while more := database.transact(some):
        purged += more
    return purged


def _issued_before(retention: float) -> int:
    """Return what ids of orders are below that were asked for longer ago than `retention` seconds."""
    return max(0, now_ms() - int(retention * 1000) - EPOCH) << 22
