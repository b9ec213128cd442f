"""Wires the coupon service together; nothing else does."""

from functools import partial

from common.config import Settings
from common.db import Database
from common.process import Service
from common.reservations.service import participant_service
from coupon import api as rest
from coupon.model import idempotency_keys
from coupon.schema import OrderIn, UseDecision, UseReservation
from coupon.service.rules import Coupons
from coupon.service.uses import coupon_reservations
from halfmessage.ids import LeasedIds


def build(settings: Settings) -> Service:
    """Return the service, not started yet. Raise `OrdersError` where something it needs can't be had."""
    database = Database(settings.database_url, pool_size=settings.pool_size)
    ids = LeasedIds(database, "coupon")
    return participant_service(
        settings,
        database,
        coupon_reservations(database),
        title="Coupons",
        description="Coupons and their rules, and which orders hold or have used one.",
        want=OrderIn,
        decision=UseDecision,
        reservation=UseReservation,
        routes=partial(rest.install, coupons=Coupons(database, ids)),
        keys=idempotency_keys,
        ids=ids,
    )
