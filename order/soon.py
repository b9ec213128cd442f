"""Wires what takes in orders now and places them soon, bought in flash sales or not (docs/decisions/0034, 0036)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from common import tracing
from common.aside import ThreadedAside
from common.config import Settings
from common.db import Database
from common.idempotency import IdempotencyKey
from common.periodic import Periodic
from common.purchases import PurchaseEvent
from common.registry import BY_NAME, PURCHASE_TOPIC, REQUEST_TOPIC
from common.standby import Standby
from common.telemetry import Metrics
from common.web.problems import document
from halfmessage.errors import HalfMessageError
from halfmessage.mq.port import Broker
from halfmessage.participant.event import OrderEvent
from halfmessage.tx.coordinator import Coordinator
from order.clients.flash import FlashClient
from order.consumer import EventConsumer
from order.model import Order
from order.service.ordering import Placed, Request
from order.service.purchases import PurchaseReader
from order.service.requests import RequestReader, backlog
from order.service.selling import Selling
from order.service.submitting import Bounds, Submitted, Submitting
from order.service.working_off import WorkingOff, rescue_once

_LANES = 1  # batches of submissions at once
_TOGETHER = 256  # submissions in one batch
_LONGEST_WAIT = 5.0  # seconds until a submission's batch begins
_MESSAGES = 32  # handled together: each may name as many requests as a batch has


def _problem(error: HalfMessageError, asked_as: str) -> dict[str, Any]:
    return document(error, "/orders", asked_as)


class Soon:
    """Takes in and works off; `submit` and `reader` are for the routes."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        coordinator: Coordinator,
        order: Callable[[Request], Placed],
        first_answer: Callable[[IdempotencyKey], Order | None],
        metrics: Metrics,
        needed: Sequence[Callable[[], object]],
        flash: FlashClient | None,
    ) -> None:
        """Take what places one order, what finds that of a key, and probes of what placing needs.

        Probes raise `OrdersError` while it is down.
        `flash`: where the deployment sells in flash sales.
        """
        handled = metrics.counter("request_messages", "Messages of order requests by what became of them", "result")
        decided = metrics.counter("requests_decided", "Order requests by what they came to", "outcome")
        metrics.observe_all("Order requests that wait", partial(backlog, database, settings.request_queue))
        self._resolving = ThreadedAside("submitting", 2 * _LANES)
        self._placing = ThreadedAside("working off", settings.request_threads)
        bounds = Bounds(settings.request_queue, settings.request_queue_per_user)
        submitting = Submitting(coordinator, database, self._resolving, bounds)
        self.submit: Callable[[Request], Submitted] = tracing.together(
            "take in order requests",
            submitting.take_in,
            lanes=_LANES,
            heaviest=_TOGETHER,
            longest_queue=settings.placing_queue,
            longest_wait=_LONGEST_WAIT,
        )
        requests = RequestReader(database)
        self.reader = requests if flash is None else PurchaseReader(requests, flash, within=settings.request_expires)
        working_off = WorkingOff(
            database,
            order,
            first_answer,
            self._placing,
            _problem,
            at_once=settings.request_threads,
            expires=settings.request_expires,
            count=lambda outcome: decided.labels(outcome).inc(),
        )
        self._standby = Standby(*needed)
        consumer = EventConsumer(
            "request",
            OrderEvent,
            working_off.handle,
            lambda result, number: handled.labels(result).inc(number),
            self._standby.suspect,
            together=settings.request_threads,  # each round takes as long as placing does; a part of 500 many of them
        )
        bought = metrics.counter("purchase_messages", "Messages of purchases by what became of them", "result")
        purchases = EventConsumer(
            "selling",
            PurchaseEvent,
            Selling(database, working_off).handle,
            lambda result, number: bought.labels(result).inc(number),
            self._standby.suspect,
            together=settings.request_threads,
        )
        self._consumers: dict[str, EventConsumer[Any]] = {REQUEST_TOPIC: consumer}
        if flash is not None:
            self._consumers[PURCHASE_TOPIC] = purchases
        grace = min(settings.sweep_grace, settings.request_expires / 2)  # there must be time to place what is found
        rescue = partial(rescue_once, working_off, grace)
        self._rescuing = Periodic(
            "rescue of requests", settings.sweep_interval, tracing.rooted("rescue of requests", rescue)
        )

    def start(self, broker: Broker) -> None:
        """Consume requests, and look for those that no message names any more. Raise `BrokerError`."""
        for topic, consumer in self._consumers.items():
            group = BY_NAME["order"].group(topic)
            broker.consumer(group, topic, consumer, batch=_MESSAGES, ready=self._standby.ready)
        self._rescuing.start()

    def close(self) -> None:
        """Stop, after the work in hand."""
        self._rescuing.close()
        self._resolving.close()
        self._placing.close()
