"""Wires the user service together; nothing else does."""

from dataclasses import dataclass
from functools import partial
from typing import Final

from common import schema_version
from common.auth import verifier_of
from common.config import Settings
from common.db import Database
from common.heartbeat import Heartbeat
from common.limits import ProcessLimiter, SharedLimiter
from common.optional_redis import open_redis
from common.periodic import Periodic
from common.process import Service
from common.telemetry import Metrics
from common.web import Api
from halfmessage.ids import IdSource, LeasedIds
from user import api as rest
from user.instruments import Instruments
from user.service.accounts import Accounts, Parts
from user.service.attempts import Attempts
from user.service.audit import Audit
from user.service.breached import Breached
from user.service.hashing import Hashing
from user.service.keys import SigningKeys
from user.service.sessions import Lifetimes, Sessions

_PURGED_EVERY: Final = 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class Wired:
    """Users and their tokens on one database: for the service, and for the command line."""

    keys: SigningKeys
    attempts: Attempts
    audit: Audit
    sessions: Sessions
    accounts: Accounts

    def purge(self) -> None:
        """Delete what is kept no longer. Raise as `purging.purge` does."""
        for part in (self.attempts, self.audit, self.sessions, self.keys):
            part.purge()


def accounts_of(settings: Settings, database: Database, ids: IdSource) -> Wired:
    """Wire them. Raise `OrdersError` where the list of breached passwords can't be read."""
    keys = SigningKeys(database, settings.access_token_lifetime)
    attempts, audit = Attempts(database), Audit(database, ids, kept=settings.log_ins_kept)
    lifetimes = Lifetimes(settings.access_token_lifetime, settings.refresh_token_lifetime)
    sessions = Sessions(database, ids, keys, audit, lifetimes)
    hashing = Hashing(settings.hashers, settings.hashes_waiting)
    parts = Parts(ids, hashing, Breached(settings.breached_passwords), attempts, audit, sessions)
    return Wired(keys, attempts, audit, sessions, Accounts(database, parts))


def build(settings: Settings) -> Service:
    """Return the service, not started yet. Raise `OrdersError` where something it needs can't be had."""
    database = Database(settings.database_url, pool_size=settings.pool_size)
    redis = open_redis(settings.redis_url)
    ids = LeasedIds(database, "user")
    wired = accounts_of(settings, database, ids)
    keys, metrics = wired.keys, Metrics("user")
    api = Api(
        "user",
        title="Users",
        description="Who may order: names and passwords, and the tokens that all other services take.",
        max_body=settings.max_body,
        body_timeout=settings.body_timeout,
        slow_bodies=settings.threads // 2,
        verifier=verifier_of(settings, "user", keys),
        metrics=metrics,
        checks={"database": Heartbeat(database).ask, "ids": ids.ask, "keys": keys.signer},
    )
    rates = rest.Rates(
        settings.registration_rate,
        settings.log_in_rate,
        settings.log_in_rate_of_name,
        settings.proxies,
        settings.trusted_networks,
    )
    limiter = SharedLimiter(redis) if redis else ProcessLimiter()
    rest.install(api, wired.accounts, wired.sessions, keys, rest.Doors(limiter, rates), Instruments(metrics, keys))

    forgetting = Periodic("forgetting", max(_PURGED_EVERY, settings.sweep_interval), wired.purge)
    return Service(
        api,
        start=[partial(schema_version.require, "user", database), ids.start, keys.ensure, forgetting.start],
        stop=[forgetting.close, ids.close, database.close, *([redis.close] if redis else [])],
        waiting=settings.hashers + settings.hashes_waiting,
    )
