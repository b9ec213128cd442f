"""Wires the sandbox provider together; nothing else does."""

import hmac
from functools import partial
from typing import Final

from common import sandbox as agreed
from common import schema_version
from common.auth import Identity, Verifier, means_of
from common.config import Settings
from common.db import Database
from common.heartbeat import Heartbeat
from common.process import Service
from common.registry import SANDBOX
from common.telemetry import Metrics
from common.web import Api
from halfmessage.ids import LeasedIds
from sandbox import api as rest
from sandbox import page
from sandbox.clients.callbacks import Poster
from sandbox.service.asking import Asking
from sandbox.service.books import Books
from sandbox.service.faults import Faults
from sandbox.service.reading import Reader
from sandbox.service.refunding import Refunding
from sandbox.service.telling import Telling
from sandbox.service.together import Together
from sandbox.service.worker import SENDERS, Worker

_MERCHANT: Final = Identity("merchant", frozenset({"service"}))


class ApiKey(Verifier):
    """Takes the merchant's key, beside the tokens that every service of ours takes."""

    def __init__(self, settings: Settings) -> None:
        """Derive the key from the settings' secret."""
        super().__init__(*means_of(settings, SANDBOX))
        self._header = f"Bearer {agreed.api_key(settings.jwt_secret)}".encode()

    def verify(self, header: str | None) -> Identity:
        """Return whom an Authorization header names. Raise `Unauthenticated`."""
        if header is not None and hmac.compare_digest(header.encode(), self._header):
            return _MERCHANT
        return super().verify(header)


def build(settings: Settings) -> Service:
    """Return the service, not started yet. Raise `OrdersError` where something it needs can't be had."""
    database = Database(settings.database_url, pool_size=settings.pool_size)
    ids = LeasedIds(database, "sandbox")
    books = Books(ids)
    poster = Poster(agreed.callback_key(settings.jwt_secret), SENDERS)
    worker = Worker(Telling(database, books), poster.post)
    together = Together(database)
    asking, reader = Asking(together, books, worker.wake), Reader(database)
    api = Api(
        "sandbox",
        title="Sandbox provider",
        description="Takes no real money, keeps books of it all the same, and fails as it is told to.",
        max_body=settings.max_body,
        body_timeout=settings.body_timeout,
        slow_bodies=settings.threads // 2,
        verifier=ApiKey(settings),
        metrics=Metrics("sandbox"),
        checks={"database": Heartbeat(database).ask, "ids": ids.ask},
    )
    where = settings.url(SANDBOX).split(",")[0].strip().rstrip("/")
    refunding = Refunding(together, ids, books, worker.wake)
    rest.install(api, asking, refunding, reader, Faults(database), lambda reference: f"{where}/page/{reference}")
    page.install(api, asking, reader)
    return Service(
        api,
        start=[partial(schema_version.require, "sandbox", database), ids.start, worker.start],
        stop=[worker.close, poster.close, ids.close, database.close],
    )
