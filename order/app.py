"""Wires the order service together; nothing else does."""

from collections.abc import Callable, Sequence
from functools import partial
from math import ceil
from typing import Any

import structlog

from common import records as records_over_rest
from common import schema_version, tracing
from common.aside import ThreadedAside
from common.auth import verifier_of
from common.config import Settings
from common.db import Database
from common.heartbeat import Heartbeat
from common.limits import SharedLimiter
from common.optional_redis import open_redis
from common.payments import PaymentEvent
from common.periodic import Periodic
from common.process import Service
from common.registry import BY_NAME, PAYMENT_TOPIC, REQUEST_TOPIC, ROLLBACK_TOPIC, SUBSCRIPTIONS, TIMEOUT_TOPIC, WORKERS
from common.reservations.schema import MAX_ORDERS
from common.standby import Standby
from common.telemetry import Metrics
from common.web import Api
from common.web.streams import Streams
from halfmessage.errors import ConsoleUnavailable
from halfmessage.ids import LeasedIds
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import Broker, CheckAnswer, Console
from halfmessage.participant.event import OrderEvent
from halfmessage.tx.coordinator import Checker, Coordinator
from halfmessage.tx.record import Records
from order import api as rest
from order.consumer import EventConsumer
from order.model import Order, transaction_records
from order.outside import outside
from order.returns import Returns
from order.service.auditing import Audit
from order.service.closing import Closing
from order.service.erasing import erase_receivers
from order.service.forgetting import forget_calls, forget_keys
from order.service.ordering import Ordering
from order.service.overdue import Overdue
from order.service.paying import Paying
from order.service.payments import Payments
from order.service.placing import Draft, Placing
from order.service.pricing import Pricing
from order.service.reading import OrderReader
from order.service.requests import forget_requests
from order.service.settling import Settlements
from order.service.successes import Successes
from order.service.sweeping import Sweep, sweep_once
from order.service.telling import Telling
from order.service.timeline import Timeline
from order.service.timeouts import Timeouts
from order.soon import Soon

_GROUP = "order"
_LONGEST_WAIT = 5.0  # seconds until an order's batch begins; two batches that wait in vain for stock take as long
_MESSAGES = 256  # handled together
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

log = structlog.get_logger()


def build(settings: Settings) -> Service:
    """Return the service, not started yet. Raise `OrdersError` where something it needs can't be had."""
    instruments = _Instruments(Metrics("order"))
    database = Database(settings.database_url, pool_size=settings.pool_size)
    heartbeat = Heartbeat(database)
    redis = open_redis(settings.redis_url)
    looking_ahead = ThreadedAside("looking ahead", 2)  # for prices, and for rules of coupons
    others = outside(settings, redis, instruments.left_alone, looking_ahead)
    participants = others.participants

    records = Records(transaction_records, retention=settings.record_retention)
    checker = Checker(database, records, deadline=settings.transaction_deadline, count=instruments.check_back)
    ids = LeasedIds(database, "order", workers=WORKERS["order"])
    broker = tracing.broker(open_broker(settings.broker_url, settings.broker_options, subscriptions=SUBSCRIPTIONS))
    console = _console(broker)

    def sendable() -> None:
        broker.ping(ROLLBACK_TOPIC, TIMEOUT_TOPIC, REQUEST_TOPIC)

    producer = broker.producer(_GROUP, checker, topics=[ROLLBACK_TOPIC, REQUEST_TOPIC])
    coordinator = Coordinator(producer, tracing.transactor(database), records, ids, instruments.step)

    # For each lane what goes beside it (the timeout, participants but one), and its last step; as many again, should a
    # last step hang.
    aside = ThreadedAside("placing", 2 * (1 + len(participants)) * settings.placing_lanes)
    telling_aside = ThreadedAside("telling", 1)
    settlements = Settlements(database, participants)
    telling = Telling(settlements, telling_aside)
    placing = Placing(coordinator, producer, participants, settlements, aside, telling.soon)
    reader = OrderReader(database)
    pricing = Pricing(others.goods, others.coupons)
    closing = Closing(database, coordinator, reader, settlements)
    audits = [Audit(database, participant, closing) for participant in participants]
    paying = Paying(database, reader, others.payments, partial(_is_held, audits), settlements, telling.soon)
    overdue = Overdue(closing, paying, others.payments, last_question=settings.last_question)
    sweep = Sweep(database, records, checker, overdue, settlements, audits, count=instruments.finding)

    def sweep_and_forget() -> None:
        sweep_once(sweep, settings.sweep_grace)
        for forget in (forget_keys, forget_calls, forget_requests):
            forget(database, settings.idempotency_retention)

    sweeping = Periodic("sweep", settings.sweep_interval, tracing.rooted("sweep", sweep_and_forget))
    place = _in_batches(placing, settings, instruments)
    ordering = Ordering(reader, pricing, ids, place, pay_timeout=settings.pay_timeout)
    probes = (heartbeat.beat, ids.ask, sendable)
    soon = Soon(
        *(settings, database, coordinator, ordering.order, ordering.first_answer),
        *(instruments.metrics, [*probes, *others.needed], others.flash),
    )
    returns = Returns(settings, database, ids, reader, participants, others.payments, settlements, instruments.metrics)
    use_cases = rest.UseCases(
        ordering=ordering,
        submit=soon.submit,
        requests=soon.reader,
        reader=reader,
        payments=Payments(others.payments),
        paying=paying,
        closing=closing,
        timeline=Timeline(database, records, console, participants, others.payments),
        sweep=lambda full: sweep.run(settings.transaction_deadline, full=full),
        erase=partial(erase_receivers, database),
    )
    api = Api(
        "order",
        title="Orders",
        description="Orders that never disagree with their stock.",
        max_body=settings.max_body,
        body_timeout=settings.body_timeout,
        slow_bodies=settings.threads // 2,
        verifier=verifier_of(settings, "order"),
        metrics=instruments.metrics,
        checks={"database": heartbeat.ask, "ids": ids.ask, "broker": sendable}
        | {name: peer.ready for name, peer in others.peers.items()},
        optional=others.optional,
        limiter=SharedLimiter(redis) if redis else None,
    )
    rest.install(
        api,
        use_cases,
        rate_limit=settings.rate_limit,
        most_at_once=settings.placing_queue,
        most_of_one_user=settings.queue_share,
        timelines=max(1, settings.threads // 4),
        streams=Streams(settings.streams, lasts=settings.request_stream_lasts, ending=api.ending),
        count=instruments.placed,
    )
    returns.install(api)
    records_over_rest.install(api, database, records, checker.outcome)
    if console is not None:
        instruments.metrics.observe_all("Messages that need attention", partial(_message_gauges, console))
    standby = Standby(*probes)
    consumers: dict[str, EventConsumer[Any]] = {
        TIMEOUT_TOPIC: EventConsumer(
            "timeout", OrderEvent, Timeouts(database, checker, overdue).handle, instruments.timeouts, standby.suspect
        ),
        PAYMENT_TOPIC: EventConsumer(
            "payment", PaymentEvent, Successes(database, checker, paying).handle, instruments.payments, standby.suspect
        ),
    }

    def subscribe() -> None:
        for topic, consumer in consumers.items():
            group = BY_NAME["order"].group(topic)
            broker.consumer(group, topic, consumer, batch=_MESSAGES, ready=standby.ready)

    return Service(
        api,
        start=[
            *(partial(schema_version.require, "order", database), ids.start, subscribe, sweeping.start),
            *(partial(soon.start, broker), returns.start),
        ],
        stop=[
            *(sweeping.close, soon.close, returns.close, aside.close, telling_aside.close, looking_ahead.close),
            *(broker.close, ids.close),
            *(peer.close for peer in others.peers.values()),
            *(database.close, *([redis.close] if redis else [])),
        ],
        waiting=settings.placing_queue,
        peers=list(others.peers.values()),
    )


def _is_held(audits: Sequence[Audit], order: Order) -> bool:
    """Tell whether all that an order needs is held, as far as the audits know."""
    return all(audit.is_held(order) for audit in audits)


def _in_batches(placing: Placing, settings: Settings, instruments: "_Instruments") -> Callable[[Draft], Order]:
    """Return what places one order among others: a batch's lines are bounded, and its orders by what a call takes.

    Each weighs as much as to fill a batch by `MAX_ORDERS` of them, however few lines they have.
    """
    least = ceil(settings.placing_batch / MAX_ORDERS)
    return tracing.together(
        "place orders",
        placing.place,
        lanes=settings.placing_lanes,
        heaviest=settings.placing_batch,
        longest_queue=settings.placing_queue + settings.request_threads,
        longest_wait=_LONGEST_WAIT,
        weigh=lambda draft: max(draft.weight, least),
        observe=instruments.batch,
    )


class _Instruments:
    """What Prometheus gets, each in its own words."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self._steps = metrics.histogram("step_seconds", "Steps of the protocol", "step")
        self._batches = metrics.histogram("batch_orders", "Orders placed together", buckets=_BATCH_SIZES)
        self._checks = metrics.counter("check_backs", "Check-backs by answer", "answer")
        self._findings = metrics.counter("sweep_findings", "Orders a sweep dealt with, by what it found", "finding")
        self._placed = metrics.counter("placed", "Orders that users tried to place, by outcome", "outcome")
        self._timeouts = metrics.counter("timeouts", "Timeout messages by what became of them", "result")
        self._payments = metrics.counter("payments", "Messages of payments by what became of them", "result")
        self._left_alone = metrics.gauge(
            "peer_left_alone",
            "1 while calls to an instance of a peer are not made: it failed",
            "peer",
            "instance",
            together="livemax",
        )

    def left_alone(self, peer: str, instance: str, is_left_alone: bool) -> None:
        self._left_alone.labels(peer, instance).set(is_left_alone)

    def step(self, step: str, seconds: float) -> None:
        self._steps.labels(step).observe(seconds)

    def batch(self, orders: int) -> None:
        self._batches.observe(orders)

    def check_back(self, answer: CheckAnswer) -> None:
        self._checks.labels(answer.value).inc()

    def finding(self, finding: str, orders: int) -> None:
        self._findings.labels(finding).inc(orders)

    def placed(self, outcome: str) -> None:
        self._placed.labels(outcome).inc()

    def timeouts(self, result: str, messages: int) -> None:
        self._timeouts.labels(result).inc(messages)

    def payments(self, result: str, messages: int) -> None:
        self._payments.labels(result).inc(messages)


def _console(broker: Broker) -> Console | None:
    try:
        return broker.console()
    except ConsoleUnavailable as error:
        log.info("message gauges are left out", reason=error.detail)
        return None


def _message_gauges(console: Console) -> dict[str, float]:
    stats = console.stats()
    return {
        "half_messages_unresolved": stats.half,
        "half_message_oldest_seconds": stats.oldest_half_age,
        "half_messages_parked": stats.parked,
        "dead_letters": stats.dead,
        "messages_pending": stats.pending,
    }
