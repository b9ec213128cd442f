"""Idempotency keys are kept for so long, and no longer: a key that comes again after that is a new one."""

from common import idempotency
from common.db import Database
from halfmessage.clock import now_ms
from halfmessage.ids import EPOCH
from order.model import idempotency_keys


def forget_keys(database: Database, retention: float) -> int:
    """Delete the keys of orders that were asked for longer ago than `retention` seconds; return how many.

    An order's id tells when it was asked for. Raise as `idempotency.purge` does.
    """
    issued_before = max(0, now_ms() - int(retention * 1000) - EPOCH) << 22
    return idempotency.purge(database, idempotency_keys.c.order_id, issued_before)
