"""Wires the stock service together; nothing else does."""

from functools import partial

from common.config import Settings
from common.db import Database
from common.optional_redis import open_redis
from common.process import Service
from common.reservations.service import participant_service
from stock import api as rest
from stock.model import idempotency_keys
from stock.schema import OrderIn, PiecesDecision, PiecesReservation
from stock.service.allotments import Allotments
from stock.service.levels import Levels
from stock.service.pieces import stock_reservations
from stock.service.strategies.factory import make_strategy


def build(settings: Settings) -> Service:
    """Return the service, not started yet. Raise `OrdersError` where something it needs can't be had."""
    redis = open_redis(settings.redis_url)
    strategy = make_strategy(settings.stock_strategy, redis, production=settings.environment == "production")
    database = Database(settings.database_url, pool_size=settings.pool_size)
    return participant_service(
        settings,
        database,
        stock_reservations(database, strategy),
        title="Stock",
        description="How much there is of each goods, and which orders hold it.",
        want=OrderIn,
        decision=PiecesDecision,
        reservation=PiecesReservation,
        routes=partial(rest.install, levels=Levels(database), allotments=Allotments(database)),
        keys=idempotency_keys,
        checks={"redis": redis.ping} if redis and settings.stock_strategy == "redis-lock" else {},
        stop=[redis.close] if redis else [],
    )
