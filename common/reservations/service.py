"""A participant's process, wired here for all of them: what is its own, its `build` brings."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Table

from common import idempotency, schema_version, tracing
from common.auth import verifier_of
from common.config import Settings
from common.db import Database
from common.heartbeat import Heartbeat
from common.periodic import Periodic
from common.process import Service
from common.registry import ROLLBACK_TOPIC
from common.reservations.routes import install_reservations
from common.reservations.schema import DecisionOut, ReservationOut, WantIn
from common.standby import Standby
from common.telemetry import Metrics
from common.web import Api
from halfmessage.clock import now_ms
from halfmessage.ids import LeasedIds
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import Broker
from halfmessage.participant.consumer import RollbackConsumer
from halfmessage.participant.reservations import Reservations

_FORGET_EVERY = 3600.0  # seconds: it reads all reservations that are old enough, kept ones too
_NONE: Final[Mapping[str, Callable[[], object]]] = MappingProxyType({})


def participant_service(
    settings: Settings,
    database: Database,
    reservations: Reservations[Any],
    *,
    title: str,
    description: str,
    want: type[WantIn],
    decision: type[DecisionOut],
    reservation: type[ReservationOut],
    routes: Callable[[Api], None] = lambda _: None,
    keys: Table | None = None,
    ids: LeasedIds | None = None,
    broker: Broker | None = None,
    metrics: Metrics | None = None,
    checks: Mapping[str, Callable[[], object]] = _NONE,
    start: Sequence[Callable[[], None]] = (),
    stop: Sequence[Callable[[], None]] = (),
) -> Service:
    """Return the service of the participant that has these reservations, not started yet.

    `title` and `description` are its API's; what goes over its internal calls are `want`, `decision` and
    `reservation`. Its own parts: `routes` beside those calls; `keys`, the table of the idempotency keys of its routes;
    `ids` that it leases; `broker` and `metrics`, where it has more to do with them, and closes the broker itself;
    `checks` without which it isn't ready; what `start`s before messages come, and what `stop`s after them.
    Raise `OrdersError` where something it needs can't be had.
    """
    name = reservations.name
    heartbeat = Heartbeat(database)
    own = [] if broker is not None else [tracing.broker(open_broker(settings.broker_url, settings.broker_options))]
    link = broker or own[0]
    metrics = metrics or Metrics(name)
    standby = Standby(heartbeat.beat)
    handled = metrics.counter("rollbacks", "Rollback messages by what became of them", "result")
    consumer = RollbackConsumer(
        reservations, lambda result, number: handled.labels(result).inc(number), standby.suspect
    )

    def forget() -> None:
        if keys is not None:
            idempotency.purge_older(database, keys, settings.idempotency_retention)
        reservations.purge(now_ms() - int(settings.released_retention * 1000))

    forgetting = Periodic("forgetting", max(_FORGET_EVERY, settings.sweep_interval), forget)
    api = Api(
        name,
        title=title,
        description=description,
        max_body=settings.max_body,
        body_timeout=settings.body_timeout,
        slow_bodies=settings.threads // 2,
        verifier=verifier_of(settings, name),
        metrics=metrics,
        checks={"database": heartbeat.ask, "broker": link.ping, **({"ids": ids.ask} if ids else {}), **checks},
    )
    routes(api)
    install_reservations(api, reservations, want=want, decision=decision, reservation=reservation)
    leased, returned = ([ids.start], [ids.close]) if ids else ([], [])
    subscribe = partial(consumer.subscribe, link, ROLLBACK_TOPIC, standby.ready)
    return Service(
        api,
        start=[partial(schema_version.require, name, database), *leased, *start, subscribe, forgetting.start],
        stop=[forgetting.close, *(one.close for one in own), *stop, *returned, database.close],
    )
