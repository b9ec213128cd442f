"""Wires the goods service together; nothing else does."""

from functools import partial

from common import idempotency, schema_version
from common.auth import verifier_of
from common.config import Settings
from common.db import Database
from common.heartbeat import Heartbeat
from common.periodic import Periodic
from common.process import Service
from common.telemetry import Metrics
from common.web import Api
from goods import api as rest
from goods.model import idempotency_keys
from goods.service import Catalogue, Rooms
from halfmessage.ids import LeasedIds


def build(settings: Settings) -> Service:
    """Return the service, not started yet. Raise `OrdersError` where something it needs can't be had."""
    database = Database(settings.database_url, pool_size=settings.pool_size)
    ids = LeasedIds(database, "goods")
    api = Api(
        "goods",
        title="Goods",
        description="The catalogue, and the goods lists of live rooms.",
        max_body=settings.max_body,
        body_timeout=settings.body_timeout,
        slow_bodies=settings.threads // 2,
        verifier=verifier_of(settings, "goods"),
        metrics=Metrics("goods"),
        checks={"database": Heartbeat(database).ask, "ids": ids.ask},
    )
    rest.install(api, Catalogue(database, ids), Rooms(database))
    forget = partial(idempotency.purge_older, database, idempotency_keys, settings.idempotency_retention)
    forgetting = Periodic("forgetting", settings.sweep_interval, forget)
    return Service(
        api,
        start=[partial(schema_version.require, "goods", database), ids.start, forgetting.start],
        stop=[forgetting.close, ids.close, database.close],
    )
