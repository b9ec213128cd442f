"""Wires the coupon service together; nothing else does."""

from functools import partial

from common import idempotency, schema_version
from common.auth import Verifier
from common.config import Settings
from common.db import Database
from common.heartbeat import Heartbeat
from common.periodic import Periodic
from common.process import Service
from common.registry import ROLLBACK_TOPIC
from common.standby import Standby
from common.telemetry import Metrics
from common.web import Api
from coupon import api as rest
from coupon.model import idempotency_keys
from coupon.service.rules import Coupons
from coupon.service.uses import coupon_reservations
from halfmessage.clock import now_ms
from halfmessage.ids import LeasedIds
from halfmessage.mq.factory import open_broker
from halfmessage.participant.consumer import RollbackConsumer

_FORGET_EVERY = 3600.0  # seconds: it reads all reservations that are old enough, kept ones too


def build(settings: Settings) -> Service:
    """Return the service, not started yet. Raise `OrdersError` where something it needs can't be had."""
    database = Database(settings.database_url, pool_size=settings.pool_size)
    heartbeat = Heartbeat(database)
    ids = LeasedIds(database, "coupon")
    broker = open_broker(settings.broker_url, settings.broker_options)
    metrics = Metrics("coupon")
    reservations = coupon_reservations(database)

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
        "coupon",
        title="Coupons",
        description="Coupons and their rules, and which orders hold or have used one.",
        max_body=settings.max_body,
        body_timeout=settings.body_timeout,
        slow_bodies=settings.threads // 2,
        verifier=Verifier(settings.jwt_secret.get_secret_value()),
        metrics=metrics,
        checks={"database": heartbeat.ask, "ids": ids.ask, "broker": broker.ping},
    )
    rest.install(api, Coupons(database, ids), reservations)

    subscribe = partial(consumer.subscribe, broker, ROLLBACK_TOPIC, standby.ready)
    return Service(
        api,
        start=[partial(schema_version.require, "coupon", database), ids.start, subscribe, forgetting.start],
        stop=[forgetting.close, broker.close, ids.close, database.close],
    )
