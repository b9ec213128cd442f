"""The edge of a service process: reads the settings, builds the service, serves it until told to stop."""

import gc
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import structlog
from pydantic import ValidationError

from common import consistency, failpoints, lifeline, tracing
from common.config import Settings, explain
from common.cores import at_hand, keep_to
from common.periodic import Periodic
from common.telemetry import configure_logging
from common.web import Api, serve
from common.web.bodies import LOOK_EVERY
from common.workers import Workers, clear_metrics
from halfmessage.errors import HalfMessageError


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is wired together: its API, what starts with it, and what is closed after it, in order."""

    api: Api
    start: Sequence[Callable[[], None]]
    stop: Sequence[Callable[[], None]]
    waiting: int = 0
    """Requests that may wait inside, beside those that are worked on: each has a thread of its own."""


def _next_cores(settings: Settings) -> list[int]:
    """Return the cores for this service's further processes, in turn; none where processes are not kept to cores."""
    cores = at_hand()
    if settings.core not in cores:
        return []
    here = cores.index(settings.core) + 1
    return cores[here:] + cores[:here]


def _refuse(name: str, faults: Sequence[str]) -> NoReturn:
    sys.exit("\n".join(f"{name}: can't start: {fault}" for fault in faults))


def run(name: str, build: Callable[[Settings], Service]) -> None:
    """Run the service until SIGTERM or SIGINT. Exits with status 1 and one log line when it can't start."""
    try:
        settings = Settings()
    except ValidationError as error:
        _refuse(name, explain(error))
    if contradictions := consistency.faults_of(name, settings):
        _refuse(name, contradictions)
    try:
        tracing.start(name, settings)
    except HalfMessageError as error:
        _refuse(name, [error.detail])
    configure_logging(name, settings.log_level, settings.log)
    cores = _next_cores(settings)
    if settings.core is not None:
        keep_to(settings.core)
    lifeline.watch(os.environ)
    workers = Workers(name, settings.workers - 1, cores)
    try:
        if not settings.share_port:
            clear_metrics()
        if settings.takes_hs256:
            structlog.get_logger().warning("tokens are taken that any service can make", see="ORDERS_HS256_TOKENS")
        failpoints.arm(settings.failpoints, production=settings.environment == "production")
        service = build(settings)
        bodies = Periodic("bodies", LOOK_EVERY, service.api.bodies.cut_overdue)
        for start in (*service.start, bodies.start):
            start()
        workers.start()
    except HalfMessageError as error:
        structlog.get_logger().error("can't start", reason=error.detail, cause=repr(error.__cause__))
        sys.exit(1)
    gc.freeze()  # what is here by now stays: to look at it all again takes 80 ms, every few seconds under load
    serve(
        service.api.app,
        host=settings.host,
        port=settings.port,
        threads=settings.threads + service.waiting,
        max_connections=settings.max_connections,
        share_port=settings.share_port or settings.workers > 1,
        ending=service.api.ending.set,
        on_stop=[workers.close, bodies.close, *service.stop, tracing.stop],
    )
