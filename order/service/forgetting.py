"""What is kept about placed orders for so long, and no longer: Idempotency-Keys, and the ids of the calls.

A key that comes again after that is a new one. An order's id tells when it was asked for.
"""

from common.db import Database
from common.purging import purge
from halfmessage.clock import now_ms
from halfmessage.ids import first_of
from order.model import idempotency_keys, placing_calls


def forget_keys(database: Database, retention: float) -> int:
    """Delete the keys of orders that were asked for longer ago than `retention` seconds; return how many.

    Raise as `purge` does.
    """
    return purge(database, idempotency_keys.c.order_id, first_of(now_ms() - int(retention * 1000)))


def forget_calls(database: Database, retention: float) -> int:
    """Delete the ids of calls that placed orders longer ago than `retention` seconds; return how many. As above."""
    return purge(database, placing_calls.c.order_id, first_of(now_ms() - int(retention * 1000)))
