"""Wires the order service together; nothing else does."""

import time

from common.auth import Verifier, issue
from common.cache import SharedCache
from common.config import Settings
from common.db import Database
from common.events import ROLLBACK_TOPIC, TIMEOUT_TOPIC
from common.ids import LeasedIds
from common.limits import SharedLimiter
from common.mq.factory import open_broker
from common.mq.port import Broker
from common.peer import Peer
from common.periodic import Periodic
from common.process import Service
from common.redis_client import RedisClient
from common.telemetry import Metrics
from common.tx.coordinator import Checker, Coordinator
from common.tx.record import Records
from common.web import Api
from order import api as rest
from order.clients import GoodsClient, StockClient
from order.consumer import TimeoutConsumer
from order.model import transaction_records
from order.service.closing import Closing, Paying
from order.service.ordering import Ordering
from order.service.placing import Placing
from order.service.reading import OrderReader
from order.service.sweeping import Sweep, sweep_once
from order.service.timeline import Timeline
from order.service.timeouts import Timeouts

_GROUP = "order"
_TOKEN_LIFETIME = 600.0  # seconds


def build(settings: Settings) -> Service:
    """Return the service, not started yet. Raise `OrdersError` where something it needs can't be had."""
    metrics = Metrics("order")
    steps = metrics.histogram("step_seconds", "Steps of the protocol", "step")
    checks = metrics.counter("check_backs", "Check-backs by answer", "answer")
    found = metrics.counter("sweep_findings", "Orders that a sweep dealt with, by what it found", "finding")
    outcomes = metrics.counter("placed", "Orders that somebody tried to place, by outcome", "outcome")
    handled = metrics.counter("timeouts", "Timeout messages by what became of them", "result")

    database = Database(settings.database_url, pool_size=settings.pool_size)
    redis = RedisClient(settings.redis_url) if settings.redis_url else None
    records = Records(transaction_records)
    checker = Checker(
        database,
        records,
        deadline=settings.transaction_deadline,
        retention=settings.record_retention,
        count=lambda answer: checks.labels(answer.value).inc(),
    )
    ids = LeasedIds(database, "order")
    broker = open_broker(settings.broker_url, settings.broker_options)
    producer = broker.producer(_GROUP, checker, topics=[ROLLBACK_TOPIC])
    token = _ServiceToken(settings.jwt_secret.get_secret_value())
    peers = {
        name: Peer(name, url, token, timeout=settings.peer_timeout, connections=settings.threads)
        for name, url in (("stock", settings.stock_url), ("goods", settings.goods_url))
    }
    stock = StockClient(peers["stock"])
    shared = SharedCache(redis, "goods-1", max_age=settings.goods_cache) if redis else None
    goods = GoodsClient(peers["goods"], max_age=settings.goods_cache, shared=shared)

    coordinator = Coordinator(
        producer, database, records, ids, lambda step, seconds: steps.labels(step).observe(seconds)
    )
    reader = OrderReader(database)
    closing = Closing(database, coordinator, reader)
    sweep = Sweep(
        database,
        records,
        checker,
        closing,
        stock,
        record_retention=settings.record_retention,
        count=lambda finding, number: found.labels(finding).inc(number),
    )
    sweeping = Periodic("sweep", settings.sweep_interval, lambda: sweep_once(sweep, settings.sweep_grace))
    use_cases = rest.UseCases(
        ordering=Ordering(
            database, goods, ids, Placing(coordinator, producer, stock).place, pay_timeout=settings.pay_timeout
        ),
        reader=reader,
        paying=Paying(database, reader),
        closing=closing,
        timeline=Timeline(database, records, broker.console(), stock),
        sweep=lambda: sweep.run(settings.transaction_deadline),
    )
    api = Api(
        "order",
        title="Orders",
        description="Orders that never disagree with their stock.",
        max_body=settings.max_body,
        verifier=Verifier(settings.jwt_secret.get_secret_value()),
        metrics=metrics,
        checks={"database": database.ping, "broker": broker.ping} | {name: peer.ready for name, peer in peers.items()},
        limiter=SharedLimiter(redis) if redis else None,
    )
    rest.install(api, use_cases, rate_limit=settings.rate_limit, count=lambda outcome: outcomes.labels(outcome).inc())
    metrics.observe_all("Messages that need attention", lambda: _message_gauges(broker))
    timeouts = TimeoutConsumer(Timeouts(database, checker, closing), lambda result: handled.labels(result).inc())

    def subscribe() -> None:
        broker.consumer(_GROUP, TIMEOUT_TOPIC, timeouts)

    return Service(
        api,
        start=[ids.start, subscribe, sweeping.start],
        stop=[
            *(sweeping.close, broker.close, ids.close, *(peer.close for peer in peers.values()), database.close),
            *([redis.close] if redis else []),
        ],
    )


class _ServiceToken:
    """This service's own bearer token, made anew before it expires."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._token, self._renew_at = "", 0.0

    def __call__(self) -> str:
        if time.monotonic() >= self._renew_at:
            self._token = issue(self._secret, "order", ["service"], _TOKEN_LIFETIME)
            self._renew_at = time.monotonic() + _TOKEN_LIFETIME / 2
        return self._token


def _message_gauges(broker: Broker) -> dict[str, float]:
    stats = broker.console().stats()
    return {
        "half_messages_unresolved": stats.half,
        "half_message_oldest_seconds": stats.oldest_half_age,
        "half_messages_parked": stats.parked,
        "dead_letters": stats.dead,
        "messages_pending": stats.pending,
    }
