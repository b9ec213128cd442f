"""Wires the stock service together; nothing else does."""

from functools import partial

from common import idempotency, schema_version
from common.auth import Verifier
from common.config import Settings
from common.db import Database
from common.heartbeat import Heartbeat
from common.periodic import Periodic
from common.process import Service
from common.redis_client import RedisClient
from common.registry import ROLLBACK_TOPIC
from common.standby import Standby
from common.telemetry import Metrics
from common.web import Api
from halfmessage.clock import now_ms
from halfmessage.mq.factory import open_broker
from halfmessage.participant.consumer import RollbackConsumer
from stock import api as rest
from stock.model import idempotency_keys
from stock.service.levels import Levels
from stock.service.pieces import stock_reservations
from stock.service.strategies.factory import make_strategy

_FORGET_EVERY = 3600.0  # seconds: it reads all reservations that are old enough, kept ones too


def build(settings: Settings) -> Service:
    """Return the service, not started yet. Raise `OrdersError` where something it needs can't be had."""
    redis = RedisClient(settings.redis_url) if settings.redis_url else None
    strategy = make_strategy(settings.stock_strategy, redis, production=settings.environment == "production")
    database = Database(settings.database_url, pool_size=settings.pool_size)
    heartbeat = Heartbeat(database)
    broker = open_broker(settings.broker_url, settings.broker_options)
    metrics = Metrics("stock")
    reservations = stock_reservations(database, strategy)

    def forget() -> None:
        idempotency.purge_older(database, idempotency_keys, settings.idempotency_retention)
        reservations.purge(now_ms() - int(settings.released_retention * 1000))

    forgetting = Periodic("forgetting", max(_FORGET_EVERY, settings.sweep_interval), forget)
    handled = metrics.counter("rollbacks", "Rollback messages by what became of them", "result")
    standby = Standby(heartbeat.beat)
    consumer = RollbackConsumer(
        reservations, lambda result, number: handled.labels(result).inc(number), standby.suspect
    )
    api = Api(
        "stock",
        title="Stock",
        description="How much there is of each goods, and which orders hold it.",
        max_body=settings.max_body,
        body_timeout=settings.body_timeout,
        slow_bodies=settings.threads // 2,
        verifier=Verifier(settings.jwt_secret.get_secret_value()),
        metrics=metrics,
        checks={"database": heartbeat.ask, "broker": broker.ping}
        | ({"redis": redis.ping} if redis and settings.stock_strategy == "redis-lock" else {}),
    )
    rest.install(api, Levels(database), reservations)

    subscribe = partial(consumer.subscribe, broker, ROLLBACK_TOPIC, standby.ready)
    return Service(
        api,
        start=[partial(schema_version.require, "stock", database), subscribe, forgetting.start],
        stop=[forgetting.close, broker.close, database.close, *([redis.close] if redis else [])],
    )
