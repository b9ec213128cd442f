"""Wires the flash service together; nothing else does."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from common import tracing
from common.buckets import Buckets, ProcessBuckets, Rate
from common.config import Settings
from common.db import Database
from common.optional_redis import open_redis
from common.our_tokens import tokens_of
from common.peer import Peer
from common.periodic import Periodic
from common.process import Service
from common.registry import PURCHASE_TOPIC, SUBSCRIPTIONS, WORKERS
from common.reservations.service import participant_service
from common.telemetry import Metrics
from common.tracing.port import Bounds
from flash import api as rest
from flash.clients.goods import GoodsClient
from flash.clients.orders import OrdersClient
from flash.clients.stock import StockClient
from flash.model import idempotency_keys
from flash.model import pieces as tables
from flash.pieces.factory import store_of
from flash.pieces.port import MOST, Look, Pieces, Place
from flash.schema import OrderIn, PurchaseDecision, PurchaseReservation
from flash.service.admitting import Admitting, Asked
from flash.service.buying import Buying, Looking, Wanted
from flash.service.checking import PurchaseChecker
from flash.service.finishing import Finishing
from flash.service.holding import flash_reservations
from flash.service.purchasing import Purchasing
from flash.service.queueing import Joining, Placing, Queueing, Tickets
from flash.service.reading import SaleReader
from flash.service.returning import Returning
from flash.service.selling import Selling
from flash.service.showing import Showing
from flash.service.surveying import Surveying
from flash.service.sweeping import Sweeping
from halfmessage.ids import LeasedIds
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import CheckAnswer
from halfmessage.tx.batch import Batcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.redis_client import RedisClient

_LOOK_EVERY: Final = 0.5  # seconds between two looks for what somebody waits for, each by an index
_LANES: Final = 2  # batches of buyers at once: while one takes its pieces, the message of another is on its way
_LONGEST_WAIT: Final = 5.0  # seconds until a buyer's batch begins
_DRAINED: Final = 60.0  # seconds beside those that a request may wait: for messages that are checked back


def build(settings: Settings) -> Service:
    """Return the service, not started yet. Raise `OrdersError` where something it needs can't be had."""
    database = Database(settings.database_url, pool_size=settings.pool_size)
    pieces = store_of(settings.pieces_url, database, tables, take_within=2 * settings.transaction_deadline)
    redis = open_redis(settings.redis_url)
    ids = LeasedIds(database, "flash", workers=WORKERS["flash"])
    broker = tracing.broker(open_broker(settings.broker_url, settings.broker_options, subscriptions=SUBSCRIPTIONS))
    metrics = Metrics("flash")
    told = _Instruments(metrics)
    producer = broker.producer("flash", PurchaseChecker(pieces, told.check_back), topics=[PURCHASE_TOPIC])

    peers = {name: _peer(settings, name) for name in ("order", "stock", "goods")}
    orders, stock = OrdersClient(peers["order"]), StockClient(peers["stock"])
    reader = SaleReader(database)
    finishing = Finishing(database, pieces, stock, drained_after=settings.request_expires + _DRAINED)
    returning = Returning(database, pieces, orders)
    sweeping = Sweeping(database, pieces, orders, producer, returning, finishing, settings.sweep_grace, told.finding)
    buying = Buying(producer, pieces, ids, told.step, answer_within=settings.transaction_deadline)
    looks: Batcher[tuple[int, str], Look | None] = Batcher(Looking(pieces).look, **_bounds(settings))
    admitting = Admitting(
        _buckets(redis, "flash-user", settings.flash_rate_limit),
        _buckets(redis, "flash-sale", settings.flash_sale_rate_limit),
    )
    admissions: Batcher[Asked, None] = Batcher(admitting.admit, **_bounds(settings))
    take: Callable[[Wanted], int] = tracing.together("buy", buying.buy, **_bounds(settings), observe=told.batch)
    queue = _queue(settings, reader, pieces)
    use_cases = rest.UseCases(
        reader=reader,
        selling=Selling(
            *(database, reader, GoodsClient(peers["goods"]), stock, pieces, ids, finishing.finish, sweeping.forgotten)
        ),
        purchasing=Purchasing(
            *(reader, pieces, ids, looks.submit, take, sweeping.forgotten),
            admit=admissions.submit,
            queue=queue,
        ),
        showing=Showing(pieces),
        queue=queue,
        surveying=Surveying(database, pieces),
    )
    workers = [
        Periodic("sales", _LOOK_EVERY, sweeping.often),
        Periodic("sweep", settings.sweep_interval, tracing.rooted("sweep", sweeping.sweep)),
    ]
    service = participant_service(
        settings,
        database,
        flash_reservations(database, pieces),
        title="Flash sales",
        description="Sales of pieces of their own, which sell exactly what there is.",
        want=OrderIn,
        decision=PurchaseDecision,
        reservation=PurchaseReservation,
        routes=partial(
            rest.install,
            use_cases=use_cases,
            most_at_once=settings.buying_queue,
            most_of_one_user=max(1, settings.buying_queue // 4),
            count=told.bought,
        ),
        keys=idempotency_keys,
        broker=broker,
        metrics=metrics,
        ids=ids,
        checks={"broker": partial(broker.ping, PURCHASE_TOPIC), "pieces": pieces.ping},
        start=[worker.start for worker in workers],
        stop=[
            *(worker.close for worker in workers),
            *(broker.close, pieces.close),
            *(peer.close for peer in peers.values()),
            *([redis.close] if redis else []),
        ],
    )
    return replace(service, waiting=settings.buying_queue, peers=list(peers.values()))


def _peer(settings: Settings, name: str) -> Peer:
    token = tokens_of(settings, "flash")
    return Peer(name, settings.url(name), token(name), timeout=settings.peer_timeout, connections=settings.threads)


def _buckets(redis: "RedisClient | None", name: str, limit: str) -> Buckets:
    """Return buckets that all processes share where there is a Redis, else this one's."""
    if redis is None:
        return ProcessBuckets(Rate.of(limit))
    from common.shared_buckets import SharedBuckets  # noqa: PLC0415 - slow to load, see `common.optional_redis`

    return SharedBuckets(redis, name, Rate.of(limit))


def _queue(settings: Settings, reader: SaleReader, pieces: Pieces) -> Queueing:
    """Return what gives and checks queue tickets, where buyers are to queue."""
    places: Batcher[Joining, Place] = Batcher(Placing(pieces).place, **_bounds(settings))
    tickets = Tickets(settings.jwt_secret.get_secret_value())
    return Queueing(reader, tickets, places.submit, per_second=settings.flash_queue_rate)


def _bounds(settings: Settings) -> Bounds:
    """Return what bounds a `Batcher` of buyers."""
    return {
        "lanes": _LANES,
        "heaviest": MOST,
        "longest_queue": settings.buying_queue + settings.threads,
        "longest_wait": _LONGEST_WAIT,
    }


class _Instruments:
    """What Prometheus gets, each in its own words."""

    def __init__(self, metrics: Metrics) -> None:
        self._steps = metrics.histogram("step_seconds", "Steps of buying", "step")
        self._batches = metrics.histogram("batch_buyers", "Buyers that took pieces together", buckets=_BATCH_SIZES)
        self._checks = metrics.counter("check_backs", "Check-backs by answer", "answer")
        self._findings = metrics.counter("sale_findings", "What was done for sales, by what it was", "finding")
        self._bought = metrics.counter("purchases", "Purchases that users tried to make, by outcome", "outcome")

    def step(self, step: str, seconds: float) -> None:
        self._steps.labels(step).observe(seconds)

    def batch(self, buyers: int) -> None:
        self._batches.observe(buyers)

    def check_back(self, answer: CheckAnswer) -> None:
        self._checks.labels(answer.value).inc()

    def finding(self, finding: str, number: int) -> None:
        self._findings.labels(finding).inc(number)

    def bought(self, outcome: str) -> None:
        self._bought.labels(outcome).inc()


_BATCH_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
